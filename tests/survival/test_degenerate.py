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
from pathoml.survival.propensity import propensity
from pathoml.survival.proportional_hazards import proportional_hazards_test
from pathoml.survival.restricted_mean import restricted_mean
from pathoml.survival.spline import spline_form
from pathoml.survival.subgroups import membership, parse_expression, subgroup_effect
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
    "locked": lambda s, t, e: validate_locked_score(s, s, t, event=e, bootstraps=50),
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


def test_a_treatment_that_a_covariate_decides_is_a_sentence():
    with pytest.raises(CohortError, match="decides who was treated"):
        propensity(TREATED[:, None] + 0.01 * SCORE[:, None], TREATED)


def test_a_treatment_that_all_got_is_a_sentence():
    with pytest.raises(CohortError, match="60 of 60 are treated"):
        propensity(NO_COVARIATES, np.ones(N))


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


@pytest.mark.parametrize(
    "text", ["age 60", "age = 60", "age <= 60 <= 70", "60", "", "subtype < LMS"]
)
def test_an_expression_that_does_not_state_one_comparison_is_refused(text):
    with pytest.raises(CohortError, match="Subgroup"):
        parse_expression(text)


def test_text_in_a_column_that_is_compared_with_a_number_is_refused():
    with pytest.raises(CohortError, match="holds 'old', which is no number"):
        membership("age <= 60", {"age": [50.0, "old"]})


def test_a_pair_of_specimens_that_agree_and_do_not_shift_is_told_from_strangers():
    result = paired_heterogeneity(SCORE, SCORE + 0.1 * RNG.normal(size=N), np.arange(N) % 3)
    assert result.agreement_p < 0.001 < 0.05 < result.shift_p


def test_a_shift_between_primary_and_metastasis_is_found_and_stranger_pairs_agree_by_chance():
    result = paired_heterogeneity(SCORE, RNG.permutation(SCORE) + 2, np.arange(N) % 3)
    assert result.shift_p < 0.001
    assert result.shift.estimate == pytest.approx(2, abs=1e-12)


def test_the_sign_flip_p_of_six_equal_shifts_is_two_of_64_in_the_long_run():
    result = paired_heterogeneity(
        [0.0] * 6, [1.0, 1.1, 1.2, 1.3, 1.4, 1.5], ["A"] * 6, permutations=20_000
    )
    assert result.shift_p == pytest.approx(2 / 64, abs=0.004)
