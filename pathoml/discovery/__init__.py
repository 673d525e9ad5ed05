"""Step `discover`: from tiles to named candidate features with the evidence for and against them;
writes runs/RUN/features/.

One codebook is learned without outcomes on the whole cohort, so it may be tested on it. Shares are
compositions: log-ratios.
"""

from pathoml import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
