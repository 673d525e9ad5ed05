"""Weights of stacked Cox models: none negative, and none for what does not foretell."""

from __future__ import annotations

import numpy as np
import pytest

from pathoml.survival.cox import fit_cox
from pathoml.survival.stacked_cox import LEAST, RIDGE, stacking_weights


def outcomes(risk: np.ndarray, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    time, left = rng.exponential(np.exp(-risk)), rng.exponential(2.0, len(risk))
    return np.minimum(time, left), time <= left


def test_where_both_branches_help_the_weights_are_the_cox_model_of_both():
    x = np.random.default_rng(2).normal(size=(200, 2)) * [1.0, 3.0]
    time, event = outcomes(x @ [0.8, 0.3])
    ours = stacking_weights(x, time, event)
    unit = x.std(axis=0)
    theirs = fit_cox(x / unit, time, event, ridge=RIDGE).coefficients / unit
    assert ours == pytest.approx(theirs, abs=1e-10)


def test_a_branch_that_is_wrong_on_unseen_rows_gets_no_weight():
    x = np.random.default_rng(3).normal(size=(200, 2))
    weights = stacking_weights(x, *outcomes(x @ [0.8, -0.4]))
    assert weights[0] > 0
    assert weights[1] == 0


def test_two_branches_that_say_the_same_share_the_weight():
    x = np.random.default_rng(4).normal(size=200)
    first, second = stacking_weights(np.column_stack([x, x]), *outcomes(0.8 * x))
    assert first == pytest.approx(second)
    assert first + second == pytest.approx(0.8, abs=0.25)


def test_where_no_branch_helps_the_first_stays_with_little_weight():
    x = np.random.default_rng(5).normal(size=(200, 2))
    assert stacking_weights(x, *outcomes(x @ [-0.8, -0.8])).tolist() == [LEAST, 0.0]


def test_a_branch_that_says_nothing_is_left_out():
    x = np.random.default_rng(6).normal(size=(200, 2)) * [1.0, 0.0]
    assert stacking_weights(x, *outcomes(x[:, 0]))[1] == 0


def test_what_is_known_already_gets_no_second_weight():
    x = np.random.default_rng(7).normal(size=(400, 1))
    time, event = outcomes(x[:, 0])
    assert stacking_weights(x, time, event)[0] > 0.7
    assert stacking_weights(x, time, event, offset=x[:, 0])[0] < 0.3
