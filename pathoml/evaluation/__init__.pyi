"""Step `evaluate`: how good the scores are, against what, how often by chance, what leaks;
writes metrics.json and permutation.json.
"""

from .permutation import PermutationTest, RepeatedValidation, permutation_tests
from .repeating import permutation_test

__all__ = [
    "PermutationTest",
    "RepeatedValidation",
    "permutation_test",
    "permutation_tests",
]
