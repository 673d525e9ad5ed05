"""The permutation test of a cross-validation from Python is the one that `evaluate` makes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.learning import planted_cohort

from pathoml.errors import ConfigError
from pathoml.evaluation.permutation import RepeatedValidation, permutation_tests
from pathoml.evaluation.repeating import permutation_test
from pathoml.study.splits import make_splits
from pathoml.training.validation import cross_validate

FEW = {"epochs": 8, "seeds": 1, "tiles_per_patient": 12, "projection": 8, "hidden": 8}


@pytest.fixture(scope="module")
def validation():
    cohort, bags, _ = planted_cohort(40, effect=5.0)
    splits = make_splits(cohort, folds=2, repeats=1)
    return cross_validate("mean_pool", cohort, bags, splits, learning_rate=0.02, **FEW)


def test_a_planted_effect_is_found_more_often_than_by_chance(validation):
    found = permutation_test(validation, permutations=19)
    assert (found.p_value, len(found.null)) == (0.05, 19)


def test_bags_that_say_nothing_have_no_small_p(validation):
    rng = np.random.default_rng(3)
    sizes = [bag.features.shape for bag in validation.bags]
    drawn = [rng.normal(size=size).astype(np.float16) for size in sizes]
    noise = [replace(bag, features=one) for bag, one in zip(validation.bags, drawn)]
    blind = cross_validate("mean_pool", validation.cohort, noise, validation.splits, **FEW)
    assert permutation_test(blind, permutations=9).p_value > 0.1


def test_null_and_observed_are_those_of_evaluate(validation):
    repeated = RepeatedValidation(
        cohort=validation.cohort,
        bags=validation.bags,
        splits=validation.splits,
        clinical=np.zeros((40, 0)),
        config=validation.config,
        permutations=12,
        seed=validation.seed,
        device="cpu",
    )
    assert permutation_test(validation, 12) == permutation_tests(repeated, validation.folds)[0]


def test_no_permutation_is_no_test(validation):
    with pytest.raises(ConfigError, match="at least one"):
        permutation_test(validation, permutations=0)
