"""Martingale residuals, and the permutation test that they allow."""

from __future__ import annotations

import numpy as np
import pytest
from support.tissues import cohort_of

from pathoml.survival.cox import fit_cox
from pathoml.survival.martingale import martingale_residuals, permutation_p


def test_permutation_p_is_uniform_under_the_null() -> None:
    rng = np.random.default_rng(1)
    cohort = cohort_of(np.zeros(40), 2)
    residual = martingale_residuals(
        np.zeros(40), cohort.time_months, cohort.event, stratum=cohort.centre
    )
    p = permutation_p(residual, rng.normal(size=(40, 400)), cohort.centre, permutations=199, seed=1)
    assert 0.02 < (p <= 0.05).mean() < 0.085
    assert abs(p.mean() - 0.5) < 0.05


def test_martingale_residuals_are_the_score_of_a_cox_model_without_ties() -> None:
    cohort = cohort_of(np.zeros(30), 3)
    x = np.random.default_rng(3).normal(size=30)
    residual = martingale_residuals(
        np.zeros(30), cohort.time_months, cohort.event, stratum=cohort.centre
    )
    assert [residual[cohort.centre == c].sum() for c in "AB"] == pytest.approx([0, 0], abs=1e-12)
    step = 1e-5  # the score at zero is the slope of the log-likelihood there
    ends = [
        fit_cox(
            np.empty((30, 0)),
            cohort.time_months,
            cohort.event,
            stratum=cohort.centre,
            offset=sign * step * x,
        ).log_likelihood
        for sign in (1, -1)
    ]
    assert residual @ x == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-5)
