"""Step `evaluate`: how good the scores are, against what, how often by chance, what leaks;
writes metrics.json and permutation.json.
"""

from .permutation import PermutationTest, RepeatedValidation, permutation_tests
from .repeating import permutation_test
from .step import Evaluated, evaluate_study

__all__ = [
    "Evaluated",
    "PermutationTest",
    "RepeatedValidation",
    "evaluate_study",
    "permutation_test",
    "permutation_tests",
]
