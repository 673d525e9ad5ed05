"""Kaplan-Meier, log-log intervals, log-rank and follow-up against R survfit and survdiff, and
hand-worked cases.
"""

from __future__ import annotations

import numpy as np
import pytest
from support.r_oracle import r_data, run_r

from pathoml.errors import CohortError
from pathoml.survival.kaplan_meier import (
    at_risk,
    kaplan_meier,
    log_rank,
    median_follow_up,
    median_survival,
    survival_at,
)


def synthetic_cohort(n: int, seed: int, *, ties: bool) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    group = rng.choice(list("ABC"), size=n)
    died, left = rng.exponential(24 * (1 + (group == "A"))), rng.exponential(40, size=n)
    time = np.minimum(died, left)
    return {
        "time": np.ceil(time / 3) if ties else time + 0.01,
        "event": (died <= left).astype(int),
        "group": group,
    }


COHORTS = {
    "n4": {  # the curve runs along one half from 2 to 6
        "time": np.array([1.0, 2.0, 6.0, 7.0]),
        "event": np.array([1, 1, 1, 1]),
        "group": np.array(list("ABAB")),
    },
    "n12": {
        "time": np.array([1, 2, 2, 2, 3, 3, 4, 5, 5, 6, 7, 8], dtype=float),
        "event": np.array([1, 1, 1, 0, 1, 1, 0, 1, 0, 1, 1, 1]),  # the curve ends at zero
        "group": np.array(list("ABABABABABAB")),
    },
    "n30": synthetic_cohort(30, 1, ties=True),
    "n500": synthetic_cohort(500, 2, ties=True),
    "n500_continuous": synthetic_cohort(500, 3, ties=False),
}
MONTHS = np.array([0.5, 1.0, 2.0, 4.5, 6.0])


@pytest.fixture(scope="module")
def answers_of_r():
    script = ""
    for name, cohort in COHORTS.items():
        script += r_data(cohort)
        script += f"""
        fit <- survfit(Surv(time, event) ~ 1, conf.type = "log-log")
        for (part in c("time", "surv", "lower", "upper", "n.risk", "n.event"))
          show(paste0("{name}.", part), fit[[part]])
        show("{name}.median", quantile(fit, 0.5, conf.int = FALSE))
        reverse <- survfit(Surv(time, 1 - event) ~ 1)
        show("{name}.follow_up", quantile(reverse, 0.5, conf.int = FALSE))
        test <- survdiff(Surv(time, event) ~ group)
        show("{name}.log_rank",
             c(test$chisq, pchisq(test$chisq, length(test$n) - 1, lower.tail = FALSE)))
        at <- summary(fit, times = c(0.5, 1, 2, 4.5, 6))
        show("{name}.at", at$surv)
        show("{name}.at_risk", at$n.risk)
        """
    return run_r(script)


@pytest.mark.parametrize("name", COHORTS)
def test_the_curve_and_its_numbers_equal_r(name, answers_of_r):
    curve = kaplan_meier(COHORTS[name]["time"], COHORTS[name]["event"])
    for ours, theirs in (
        (curve.times, "time"),
        (curve.survival, "surv"),
        (curve.at_risk, "n.risk"),
        (curve.events, "n.event"),
    ):
        assert ours == pytest.approx(answers_of_r[f"{name}.{theirs}"], abs=1e-12), theirs


@pytest.mark.parametrize("name", COHORTS)
def test_the_log_log_interval_equals_r(name, answers_of_r):
    curve = kaplan_meier(COHORTS[name]["time"], COHORTS[name]["event"])
    inside = (curve.survival > 0) & (curve.survival < 1)
    assert curve.low[inside] == pytest.approx(answers_of_r[f"{name}.lower"][inside], abs=1e-11)
    assert curve.high[inside] == pytest.approx(answers_of_r[f"{name}.upper"][inside], abs=1e-11)
    assert np.isnan(curve.low[~inside]).all()


@pytest.mark.parametrize("name", COHORTS)
def test_medians_equal_r(name, answers_of_r):
    time, event = COHORTS[name]["time"], COHORTS[name]["event"]
    ours = [median_survival(kaplan_meier(time, event)), median_follow_up(time, event)]
    theirs = [answers_of_r[f"{name}.{key}"][0] for key in ("median", "follow_up")]
    assert [np.nan if value is None else value for value in ours] == pytest.approx(
        theirs, abs=1e-12, nan_ok=True
    )


@pytest.mark.parametrize("name", COHORTS)
def test_the_log_rank_test_equals_r(name, answers_of_r):
    ours = log_rank(COHORTS[name]["time"], COHORTS[name]["event"], COHORTS[name]["group"])
    assert tuple(ours) == pytest.approx(
        tuple(answers_of_r[f"{name}.log_rank"]), rel=1e-9, abs=1e-10
    )


@pytest.mark.parametrize("name", COHORTS)
def test_survival_and_numbers_at_risk_at_given_months_equal_r(name, answers_of_r):
    time, event = COHORTS[name]["time"], COHORTS[name]["event"]
    assert survival_at(kaplan_meier(time, event), MONTHS) == pytest.approx(
        answers_of_r[f"{name}.at"], abs=1e-12
    )
    assert at_risk(time, MONTHS).tolist() == answers_of_r[f"{name}.at_risk"].tolist()


def test_a_median_that_is_not_reached_is_none():
    assert median_survival(kaplan_meier([1, 2, 3, 4], [1, 0, 0, 0])) is None


def test_survival_after_the_last_follow_up_is_unknown():
    assert np.isnan(survival_at(kaplan_meier([1, 2, 3], [1, 1, 0]), [3.1])).all()


def test_survival_after_the_last_event_of_all_is_zero():
    assert survival_at(kaplan_meier([1, 2, 3], [1, 1, 1]), [3.1]) == 0.0


def test_a_censored_patient_is_at_risk_for_an_event_at_the_same_time():
    assert kaplan_meier([1, 1], [1, 0]).survival.tolist() == [0.5]


def test_one_group_has_no_log_rank_test():
    with pytest.raises(CohortError, match="needs two groups"):
        log_rank([1, 2, 3], [1, 1, 0], ["A", "A", "A"])


def test_no_event_has_no_log_rank_test():
    with pytest.raises(CohortError, match="3 patients, 0 events"):
        log_rank([1, 2, 3], [0, 0, 0], ["A", "A", "B"])
