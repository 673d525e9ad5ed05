"""Synthetic multi-centre sarcoma cohorts with known truth: slides that pass for H&E at a first
glance, and an outcome.
"""

from .cohort import write_cohort
from .sts import write_sts
from .truth import map_agreement

__all__ = [
    "map_agreement",
    "write_cohort",
    "write_sts",
]
