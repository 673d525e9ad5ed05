"""Statistics with delayed entry against R, which counts a patient in (entry, time]: myeloma whole
and its late part, and two cohorts on the scale of age, whose first patients are few.
"""

from __future__ import annotations

import numpy as np
import pytest
from support.delayed_entry import COHORTS, columns, r_results

from pathoml.errors import CohortError
from pathoml.survival.absolute_risk import baseline_hazard, cross_fitted_hazard
from pathoml.survival.calibration import calibration_slope, observed_risk
from pathoml.survival.competing_risks import cumulative_incidence
from pathoml.survival.cox import fit_cox, partial_log_likelihood
from pathoml.survival.interaction import treatment_interaction
from pathoml.survival.kaplan_meier import (
    at_risk,
    emptied_at,
    kaplan_meier,
    log_rank,
    median_follow_up,
    median_survival,
    survival_at,
)
from pathoml.survival.locked_score import validate_locked_score
from pathoml.survival.martingale import martingale_residuals
from pathoml.survival.power import c_standard_error
from pathoml.survival.proportional_hazards import proportional_hazards_test
from pathoml.survival.restricted_mean import restricted_mean
from pathoml.survival.ridge_cox import choose_ridge
from pathoml.survival.spline import spline_form
from pathoml.survival.subgroups import subgroup_effect

R = """
y <- with(d, Surv(entry, time, code == 1))
at <- quantile(d$time[d$code == 1], c(0.25, 0.5, 0.75))
put("at", at)
curve <- survfit(y ~ 1, conf.type = "log-log", timefix = FALSE)
put("times", curve$time); put("survival", curve$surv); put("n.risk", curve$n.risk)
put("low", curve$lower); put("high", curve$upper)
put("median", summary(curve)$table["median"])
put("survival_at", summary(curve, times = at)$surv)
reversed <- survfit(with(d, Surv(entry, time, code != 1)) ~ 1)
put("follow_up", quantile(reversed, 0.5, conf.int = FALSE))
# survdiff refuses delayed entry
parts <- sapply(sort(unique(d$time[d$code == 1])), function(t) {
  risk <- d$entry < t & d$time >= t; dead <- d$time == t & d$code == 1
  n <- sum(risk); k <- sum(dead); p <- mean(d$g[risk])
  c(sum(d$g[dead]) - k * p, if (n > 1) k * p * (1 - p) * (n - k) / (n - 1) else 0)
})
put("log_rank", sum(parts[1, ])^2 / sum(parts[2, ]))
put("rmst", summary(curve, rmean = at[2])$table[c("rmean", "se(rmean)")])
strict <- coxph.control(eps = 1e-12, iter.max = 100, timefix = FALSE)
fit <- coxph(y ~ score + x, d, control = strict)
put("cox", c(coef(fit), sqrt(diag(vcov(fit))), fit$loglik))
put("zph", cox.zph(fit)$table["GLOBAL", "chisq"])
base <- survfit(fit, newdata = data.frame(score = 0, x = 0), timefix = FALSE)
put("baseline", summary(base, times = at)$cumhaz)
breslow <- coxph(y ~ score + strata(g), d, control = strict, ties = "breslow")
put("breslow", coef(breslow)); put("martingale", residuals(breslow))
k <- quantile(d$score, c(0.05, 0.35, 0.65, 0.95))
bent <- coxph(y ~ Hmisc::rcspline.eval(d$score, knots = k, inclx = TRUE), control = strict)
put("spline", 2 * (bent$loglik[2] - coxph(y ~ score, d, control = strict)$loglik[2]))
sub <- coxph(y ~ x * g, d, control = strict)
put("subgroup", 2 * (sub$loglik[2] - coxph(y ~ x + g, d, control = strict)$loglik[2]))
e <- fitted(glm(g ~ x + score, binomial, d, control = glm.control(epsilon = 1e-14)))
w <- ifelse(d$g == 1, 1 - e, e)
weighted <- coxph(y ~ g * score, d, weights = w, cluster = seq_len(nrow(d)), control = strict)
put("weighted", c(coef(weighted)[3], sqrt(vcov(weighted)[3, 3])))
states <- with(d, Surv(entry, time, factor(code, 0:2)))
aj <- survfit(states ~ 1, id = seq_len(nrow(d)), timefix = FALSE)
jumps <- rowSums(aj$n.event[, -1, drop = FALSE]) > 0
put("aj", aj$pstate[jumps, 2]); put("aj_se", aj$std.err[jumps, 2])
"""
CLOSE = {"rtol": 1e-6, "atol": 1e-8}


@pytest.fixture(scope="module")
def r():
    return r_results(R)


@pytest.fixture(params=COHORTS)
def case(request, r):
    data = columns(r, request.param)
    found = {k.removeprefix(f"{request.param}."): v for k, v in r.items() if request.param in k}
    data["event"] = (data["code"] == 1).astype(int)
    return data, {k: v for k, v in found.items() if f"{request.param}.{k}" in r}


@pytest.mark.ci
def test_the_median_of_myeloma_is_that_of_patients_under_observation(r):
    d = columns(r, "myeloma")
    curve = kaplan_meier(d["time"], d["code"], entry_months=d["entry"])
    months = median_survival(curve) / 30.4375
    assert round(months, 1) == 25.1  # 33.0 where entry is ignored
    assert months * 30.4375 == pytest.approx(r["myeloma.median"][0])


@pytest.mark.ci
def test_curves_and_tests_equal_r(case):
    d, r = case
    outcome = d["time"], d["event"]
    entry = d["entry"]
    curve = kaplan_meier(*outcome, entry_months=entry)
    np.testing.assert_allclose(curve.times, r["times"], **CLOSE)
    np.testing.assert_allclose(curve.survival, r["survival"], **CLOSE)
    np.testing.assert_array_equal(curve.at_risk, r["n.risk"])
    inside = (curve.survival > 0) & (curve.survival < 1)
    np.testing.assert_allclose(curve.low[inside], r["low"][inside], **CLOSE)
    np.testing.assert_allclose(curve.high[inside], r["high"][inside], **CLOSE)
    np.testing.assert_allclose(survival_at(curve, r["at"]), r["survival_at"], **CLOSE)
    np.testing.assert_array_equal(at_risk(d["time"], curve.times, entry_months=entry), r["n.risk"])
    follow_up = median_follow_up(*outcome, entry_months=entry)
    assert np.isnan(r["follow_up"][0]) if follow_up is None else follow_up == r["follow_up"][0]
    test = log_rank(*outcome, d["g"], entry_months=entry)
    assert test.chi2 == pytest.approx(r["log_rank"][0], rel=1e-6)
    mean = restricted_mean(*outcome, r["at"][1], entry_months=entry)
    np.testing.assert_allclose([mean.months, mean.standard_error], r["rmst"], **CLOSE)
    observed = observed_risk(*outcome, r["at"][1], entry_months=entry)
    assert observed.estimate == pytest.approx(1 - r["survival_at"][1], rel=1e-6)


@pytest.mark.ci
def test_cox_models_equal_r(case):
    d, r = case
    time, event, entry = d["time"], d["event"], d["entry"]
    x = np.column_stack([d["score"], d["x"]])
    fit = fit_cox(x, time, event, entry_months=entry)
    found = [*fit.coefficients, *np.sqrt(np.diag(fit.covariance))]
    np.testing.assert_allclose(
        [*found, fit.null_log_likelihood, fit.log_likelihood], r["cox"], **CLOSE
    )
    predictor = x @ fit.coefficients
    own = partial_log_likelihood(predictor, time, event, entry_months=entry)
    assert own == pytest.approx(r["cox"][-1], rel=1e-9)
    test = proportional_hazards_test(fit, x, time, event=event, entry_months=entry)[1]
    assert test.chi2 == pytest.approx(r["zph"][0], rel=1e-6)
    baseline = baseline_hazard(predictor, time, event, entry_months=entry)
    np.testing.assert_allclose(baseline.at(r["at"]), r["baseline"], **CLOSE)
    alone = calibration_slope(predictor, time, event, entry_months=entry)
    assert alone.estimate == pytest.approx(1.0, abs=1e-6)  # fitted to the same patients
    form = spline_form(d["score"], time, event, entry_months=entry)
    assert form.test.chi2 == pytest.approx(r["spline"][0], rel=1e-5, abs=1e-8)
    effect = subgroup_effect(d["x"], d["g"], time, event=event, entry_months=entry)
    assert effect.test.chi2 == pytest.approx(r["subgroup"][0], rel=1e-6)
    residual = martingale_residuals(
        d["score"] * r["breslow"][0], time, event, stratum=d["g"], entry_months=entry
    )
    np.testing.assert_allclose(residual, r["martingale"], rtol=1e-6, atol=1e-7)


@pytest.mark.ci
def test_the_weighted_interaction_equals_r(case):
    d, r = case
    found = treatment_interaction(
        d["score"],
        d["g"],
        d["x"][:, None],
        time_months=d["time"],
        event=d["event"],
        entry_months=d["entry"],
    )
    weighted = found.overlap_weighted
    error = np.log(weighted.high / weighted.low) / (2 * 1.959963984540054)
    np.testing.assert_allclose([np.log(weighted.estimate), error], r["weighted"], **CLOSE)


@pytest.mark.ci
def test_the_incidence_and_its_standard_error_equal_r(case):
    d, r = case
    curve = cumulative_incidence(d["time"], d["code"], 1, entry_months=d["entry"])
    np.testing.assert_allclose(curve.incidence, r["aj"], **CLOSE)
    np.testing.assert_allclose(curve.standard_error, r["aj_se"], **CLOSE)


def test_an_entry_of_zero_for_all_changes_nothing():
    rng = np.random.default_rng(3)
    time, event = rng.exponential(10, 50) + 0.1, rng.uniform(size=50) < 0.6
    none = np.zeros(50)
    score = rng.normal(size=50)
    for compute in (
        lambda **late: log_rank(time, event, score > 0, **late),
        lambda **late: restricted_mean(time, event, 5.0, **late),
        lambda **late: median_follow_up(time, event, **late),
        lambda **late: c_standard_error(time, event, **late),
        lambda **late: choose_ridge(score[:, None], time, event, seed=1, **late),
        lambda **late: partial_log_likelihood(score, time, event, **late),
    ):
        assert compute(entry_months=none) == compute()


def test_who_enters_at_the_time_of_an_event_is_not_at_risk_at_it():
    curve = kaplan_meier([2, 5, 6], [1, 1, 0], entry_months=[0, 2, 0])
    assert curve.at_risk.tolist() == [2, 2, 1]
    assert curve.survival.tolist() == [0.5, 0.25, 0.25]


def test_a_patient_who_enters_when_they_leave_is_refused():
    with pytest.raises(CohortError, match=r"Row 1 enters at 5 months and leaves at 5"):
        log_rank([2, 5], [1, 1], ["a", "b"], entry_months=[0, 5])


def test_a_curve_that_one_early_patient_brings_to_zero_is_known_for_it():
    curve = kaplan_meier([1, 5, 6], [1, 1, 0], entry_months=[0, 2, 2])
    assert curve.survival.tolist() == [0, 0, 0]
    assert emptied_at(curve) == 1.0


def test_what_is_foretold_to_a_patient_counts_from_entry():
    time, event = np.array([1.0, 2, 3, 4, 5, 6]), np.array([1, 1, 1, 1, 0, 1])
    entry = np.array([0, 1, 0, 2, 0, 3.0])
    fold = np.array(["a", "b"] * 3)
    _, own = cross_fitted_hazard(
        lambda _: np.zeros(6), time, event, fold=fold, months=[2.0], entry_months=entry
    )
    # fold b has events at 2, 4 and 6 of patients who entered at 1, 2 and 3: at 2 the first of them
    # is alone at risk, at 4 the two others are
    assert own[0] == 0.0  # followed to month 1, before the others' first event
    assert own[2] == pytest.approx(1.0)  # to 3: the jump at 2, 1/1
    assert own[4] == pytest.approx(1.5)  # to 5: and 1/2 at 4


def test_a_locked_score_is_not_charged_with_events_before_entry():
    rng = np.random.default_rng(1)
    score = rng.normal(size=4000)
    time = rng.exponential(np.exp(-score))
    entry = rng.uniform(0, 1.5, size=4000)
    seen = time > entry
    predictor = score[seen]
    baseline = baseline_hazard(score, time, np.ones(4000))  # of everybody, the truth
    shared = {"event": np.ones(seen.sum()), "baseline": baseline}
    late = validate_locked_score(
        predictor, predictor, time[seen], entry_months=entry[seen], **shared
    )
    assert late.in_the_large is not None
    assert late.slope.estimate == pytest.approx(1, abs=0.06)
    assert late.in_the_large.estimate == pytest.approx(1, abs=0.06)


def test_a_pair_counts_only_if_the_later_one_was_there_at_the_event():
    # events at 1 and 2; the third came after both: one pair, (1, 2), whose variance is 1/4
    assert c_standard_error([1, 2, 3], [1, 1, 0], entry_months=[0, 0, 2]) == pytest.approx(0.5)
