"""Step `discover`: from tiles to named candidate features with the evidence for and against them;
writes runs/RUN/features/.

One codebook is learned without outcomes on the whole cohort, so it may be tested on it. Shares are
compositions: log-ratios.
"""

from .codebook import Codebook, learn_codebook
from .labels import read_labels, weigh_labels
from .spots import weigh_spots
from .step import discover_study

__all__ = [
    "Codebook",
    "discover_study",
    "learn_codebook",
    "read_labels",
    "weigh_labels",
    "weigh_spots",
]
