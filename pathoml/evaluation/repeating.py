"""The permutation test of a cross-validation that was made in a notebook: all of it again, with the
bags permuted.
"""

from __future__ import annotations

import numpy as np

from pathoml.errors import ConfigError
from pathoml.evaluation.permutation import PermutationTest, RepeatedValidation, Statistics
from pathoml.training.validation import Validation
from pathoml.types import SILENT, Progress


def permutation_test(
    validation: Validation, permutations: int = 200, *, progress: Progress = SILENT
) -> PermutationTest:
    """Return the test of the centre-stratified C by repeating the whole cross-validation, every
    fold, repeat and seed of it, with the bags permuted within centres.

    Args:
        validation: what `cross_validate` returned.
        permutations: how often; p is at least 1 / (permutations + 1).

    Raises:
        ConfigError: permutations is less than 1.
    """
    if permutations < 1:
        raise ConfigError(f"permutations = {permutations}: a p value needs at least one.")
    repeated = RepeatedValidation(
        cohort=validation.cohort,
        bags=validation.bags,
        splits=validation.splits,
        clinical=np.zeros((len(validation.cohort.patients), 0)),
        config=validation.config,
        permutations=permutations,
        seed=validation.seed,
        device=validation.device,
    )
    each, null = validation.config.epochs * repeated.models_each, list[Statistics]()
    with progress.bar("permute", "model epochs") as bar:
        for block in repeated.blocks():
            null += repeated.null(block)
            bar(each * block.stop, each * permutations)
    return repeated.tests(validation.folds, null)[0]
