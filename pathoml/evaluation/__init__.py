"""Step `evaluate`: how good the scores are, against what, how often by chance, what leaks;
writes metrics.json and permutation.json.
"""

from pathoml import face

__getattr__, __dir__, __all__ = face(__name__, __file__)
