"""Synthetic multi-centre sarcoma cohorts with known truth: slides that pass for H&E at a first
glance, and an outcome.
"""

from pathoml import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
