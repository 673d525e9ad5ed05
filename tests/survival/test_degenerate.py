"""Constant scores, missing values, tiny cohorts, no events, one centre, separation: a sentence,
never a number that looks right.
"""

from __future__ import annotations

import numpy as np
import pytest

from pathoml.errors import CohortError
from pathoml.survival.absolute_risk import baseline_hazard, cross_fitted_hazard
from pathoml.survival.brier import brier_score
from pathoml.survival.calibration import calibration_curve, calibration_slope, observed_to_expected
from pathoml.survival.competing_risks import cumulative_incidence
from pathoml.survival.cox import fit_cox
from pathoml.survival.decision_curve import net_benefit
from pathoml.survival.heterogeneity import paired_heterogeneity
from pathoml.survival.interaction import treatment_interaction
from pathoml.survival.locked_score import validate_locked_score
from pathoml.survival.power import detectable_hazard_ratio, planned_follow_up
from pathoml.survival.proportional_hazards import proportional_hazards_test
from pathoml.survival.restricted_mean import restricted_mean
from pathoml.survival.spline import spline_form
from pathoml.survival.subgroups import subgroup_effect
from pathoml.survival.time_dependent_auc import time_dependent_auc

RNG = np.random.default_rng(1)


N = 60


SCORE, TIME, EVENT = RNG.normal(size=N), RNG.exponential(20, size=N), RNG.uniform(size=N) < 0.5


FIRST = np.arange(N) == np.argmin(TIME)


NO_EVENT, CONSTANT = np.zeros(N, dtype=bool), np.zeros(N)


WITH_NAN = np.where(np.arange(N) == 3, np.nan, SCORE)


TREATED = (np.arange(N) % 2).astype(float)


NO_COVARIATES = np.empty((N, 0))


OF_A_SCORE = {
    "auc": lambda s, t, e: time_dependent_auc(s, t, e, months=12.0),
    "brier": lambda s, t, e: brier_score(s, t, e, months=12.0),
    "slope": calibration_slope,
    "spline": spline_form,
    "net benefit": lambda s, t, e: net_benefit(s, t, e, months=12.0),
    "calibration curve": lambda s, t, e: calibration_curve(1 / (1 + np.exp(-s)), t, e, months=12.0),
    "interaction": lambda s, t, e: treatment_interaction(
        s, TREATED[: len(s)], NO_COVARIATES[: len(s)], time_months=t, event=e
    ),
    "subgroup": lambda s, t, e: subgroup_effect(s, TREATED[: len(s)], t, event=e),
    "locked": lambda s, t, e: validate_locked_score(s, s, t, event=e),
}


@pytest.mark.parametrize("name", OF_A_SCORE)
def test_a_missing_score_is_named_with_its_row(name):
    with pytest.raises(CohortError, match=r"row 3|NaN|nan"):
        OF_A_SCORE[name](WITH_NAN, TIME, EVENT)


@pytest.mark.parametrize(
    "name", ["auc", "slope", "spline", "calibration curve", "interaction", "subgroup", "locked"]
)
def test_no_events_is_a_sentence(name):
    with pytest.raises(CohortError):
        OF_A_SCORE[name](SCORE, TIME, NO_EVENT)


@pytest.mark.parametrize(
    "name", ["slope", "spline", "calibration curve", "interaction", "subgroup", "locked"]
)
def test_a_constant_score_is_a_sentence(name):
    with pytest.raises(CohortError):
        OF_A_SCORE[name](CONSTANT, TIME, EVENT)


@pytest.mark.parametrize(
    "name", ["auc", "brier", "calibration curve", "interaction", "net benefit", "locked"]
)
def test_fewer_than_ten_patients_is_a_sentence(name):
    with pytest.raises(CohortError):
        OF_A_SCORE[name](SCORE[:9], TIME[:9], EVENT[:9])


def test_a_constant_score_has_an_auc_of_one_half():
    assert time_dependent_auc(CONSTANT, TIME, EVENT, months=12.0).estimate == pytest.approx(
        0.5, abs=1e-12
    )


def test_a_fold_that_holds_all_events_leaves_no_baseline():
    with pytest.raises(CohortError, match="no baseline hazard"):
        cross_fitted_hazard(
            lambda train: np.zeros(len(train)), TIME, EVENT, fold=EVENT.astype(str), months=[12.0]
        )


@pytest.mark.parametrize(
    "compute",
    [
        lambda: baseline_hazard(SCORE, TIME, NO_EVENT),
        lambda: cumulative_incidence(TIME, EVENT.astype(int), 2),
        lambda: observed_to_expected(CONSTANT, EVENT),
        lambda: restricted_mean([1.0, 2.0], [1, 0], 12.0),
        lambda: detectable_hazard_ratio(0),
        lambda: planned_follow_up(10, 11),
        lambda: proportional_hazards_test(
            fit_cox(SCORE[:, None], TIME, FIRST), SCORE[:, None], TIME, event=FIRST
        ),
        lambda: paired_heterogeneity([1.0] * 3, [2.0] * 3, ["A"] * 3),
        lambda: paired_heterogeneity(SCORE, SCORE, np.arange(N)),
        lambda: fit_cox(SCORE[:, None], TIME, EVENT, entry_months=TIME),
        lambda: fit_cox(SCORE[:, None], TIME, EVENT, weight=-TIME),
    ],
)
def test_what_cannot_be_computed_says_so(compute):
    with pytest.raises(CohortError):
        compute()
