"""Every survival statistic against R on seven cohorts: ties, delayed entry, strata, competing
risks, n = 30 and n = 5,000.

One R process computes all of it; a test compares one quantity on one cohort with the tolerance of
docs/statisticians.md.
"""

from __future__ import annotations

import subprocess

import numpy as np
import pytest
from support.r_oracle import r_data, r_survival_is_there, run_r, unavailable

from pathoml.survival.absolute_risk import baseline_hazard
from pathoml.survival.brier import brier_score, integrated_brier_score
from pathoml.survival.calibration import (
    calibration_curve,
    calibration_slope,
    observed_risk,
    observed_to_expected,
)
from pathoml.survival.competing_risks import cumulative_incidence, incidence_at
from pathoml.survival.concordance import harrell_c, stratified_harrell_c, uno_c
from pathoml.survival.cox import fit_cox, influences, robust_covariance
from pathoml.survival.decision_curve import net_benefit, net_benefit_of_treating_all
from pathoml.survival.interaction import treatment_interaction
from pathoml.survival.kaplan_meier import kaplan_meier, survival_at
from pathoml.survival.multiplicity import benjamini_hochberg
from pathoml.survival.propensity import overlap_weights, propensity, standardised_differences
from pathoml.survival.proportional_hazards import proportional_hazards_test
from pathoml.survival.restricted_mean import restricted_mean
from pathoml.survival.spline import spline_basis, spline_form
from pathoml.survival.subgroups import membership, subgroup_effect
from pathoml.survival.time_dependent_auc import time_dependent_auc

pytestmark = pytest.mark.ci  # a minute of R
HORIZON = 12.0
GRID = (3.0, 6.0, 12.0)
THRESHOLDS = (0.1, 0.3, 0.5, 0.7)


def cohort(n: int, seed: int, *, ties: bool, centres: str = "ABCD") -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    score, age = rng.normal(size=n), rng.normal(60, 10, size=n)
    treated = (rng.uniform(size=n) < 1 / (1 + np.exp(0.8 * score + 0.05 * (age - 60)))).astype(
        float
    )
    effect = 0.6 * score + 0.02 * (age - 60) - 0.4 * treated * (score > 0)
    progressed, died, left = (
        rng.exponential(20 * np.exp(-effect)),
        rng.exponential(60, size=n),
        rng.uniform(2, 60, size=n),
    )
    time = np.minimum.reduce([progressed, died, left])
    code = np.where(time == left, 0, np.where(time == progressed, 1, 2))
    time = np.ceil(time) if ties else time + 0.01
    return {
        "time": time,
        "event": (code == 1).astype(int),
        "code": code,
        "entry": np.maximum(0.0, np.minimum(rng.uniform(-10, 20, size=n), np.floor(time) - 1))
        if ties
        else time * rng.uniform(0, 0.7, size=n),
        "score": np.round(score, 1) if ties else score,  # ties of the score as well
        "age": np.round(age),
        "treated": treated,
        "centre": rng.choice(list(centres), size=n),
        "weight": (weight := rng.uniform(0.2, 2, size=n)),
        "known": 2 * weight,  # a log-risk
        "risk": 1 / (1 + np.exp(-(0.8 * score + rng.normal(size=n) * 0.3))),
    }


COHORTS = {
    "n30": cohort(30, 1, ties=True, centres="AB"),
    "n246_ties": cohort(246, 2, ties=True),
    "n246": cohort(246, 3, ties=False),
    "n500_many_centres": cohort(500, 4, ties=True, centres="ABCDEFGHIJ"),
    "n400_one_centre": cohort(400, 6, ties=False, centres="A"),
    "n1000_ties": cohort(1000, 7, ties=True),
    "n5000": cohort(5000, 5, ties=False),
}

SCRIPT = """
y <- Surv(time, event); ye <- Surv(entry, time, event)
strict <- coxph.control(eps = 1e-14, iter.max = 100, timefix = FALSE)
show("{n}.harrell", concordance(y ~ score, reverse = TRUE)$concordance)
show("{n}.stratified", concordance(y ~ score + strata(centre), reverse = TRUE)$concordance)
show("{n}.uno", concordance(y ~ score, reverse = TRUE, timewt = "n/G2", ymax = 24)$concordance)
for (kind in c("plain", "entry", "strata", "offset", "weighted")) {{
  fit <- switch(kind,
    plain = coxph(y ~ score + age, control = strict, x = TRUE),
    entry = coxph(ye ~ score + age, control = strict),
    strata = coxph(y ~ score + age + strata(centre), control = strict),
    offset = coxph(y ~ score + age + offset(2 * weight), control = strict),
    weighted = coxph(y ~ score + age, weights = weight, robust = TRUE, control = strict))
  covariance <- if (is.null(fit$naive.var)) vcov(fit) else fit$naive.var
  show(paste0("{n}.cox.", kind), c(coef(fit), covariance, fit$loglik))
  show(paste0("{n}.dfbeta.", kind), head(residuals(fit, type = "dfbeta", weighted = TRUE), 20))
  show(paste0("{n}.robust.", kind), crossprod(residuals(fit, type = "dfbeta", weighted = TRUE)))
  if (kind != "weighted") show(paste0("{n}.zph.", kind), cox.zph(fit)$table)
}}
fit <- coxph(y ~ score + age, control = strict, x = TRUE)
zero <- survfit(fit, data.frame(score = 0, age = 0))
show("{n}.baseline", summary(zero, times = c(3, 6, 12))$cumhaz)
km <- survfit(ye ~ 1, conf.type = "log-log", timefix = FALSE)
show("{n}.km_entry", summary(km, times = {grid})$surv)
km <- survfit(y ~ 1, conf.type = "log-log")
at <- summary(km, times = 12)
show("{n}.observed", 1 - c(at$surv, at$upper, at$lower))
show("{n}.rmst", summary(km, rmean = 12)$table[c("rmean", "se(rmean)")])
cif <- survfit(Surv(time, factor(code, 0:2)) ~ 1)
at <- summary(cif, times = {grid})
for (k in 1:2) show(paste0("{n}.cif.", k), c(at$pstate[, k + 1], at$std.err[, k + 1]))
gray <- cmprsk::cuminc(time, code)
show("{n}.cuminc", cmprsk::timepoints(gray, {grid})$est[1, ])
slope <- coxph(y ~ score, control = strict)
show("{n}.slope", c(coef(slope), confint(slope)))
base <- basehaz(fit, centered = FALSE)
expected <- 0.8 * c(0, base$hazard)[findInterval(time, base$time) + 1] *
  exp(cbind(score, age) %*% coef(fit))
show("{n}.oe", exp(log(sum(event) / sum(expected)) + c(0, -1, 1) * qnorm(.975) / sqrt(sum(event))))
basis <- Hmisc::rcspline.eval(score, knots = quantile(score, c(.05, .35, .65, .95)), inclx = TRUE)
show("{n}.basis", head(basis, 10))
bent <- coxph(y ~ basis, control = strict)
show("{n}.spline", c(2 * (bent$loglik[2] - slope$loglik[2]), coef(bent)))
link <- log(-log(1 - risk)); knots <- quantile(link, c(.1, .5, .9))
curved <- coxph(y ~ Hmisc::rcspline.eval(link, knots = knots, inclx = TRUE), control = strict)
hazard <- basehaz(curved, centered = FALSE); last <- max(which(hazard$time <= 12))
bends <- Hmisc::rcspline.eval(link, knots = knots, inclx = TRUE)
observed <- 1 - exp(-hazard$hazard[last] * exp(bends %*% coef(curved)))
show("{n}.curve", c(mean(abs(observed - risk)), observed[order(risk)][1:10]))
for (p in {thresholds}) {{
  rows <- risk >= p
  s <- function(r) summary(survfit(y[r] ~ 1), times = 12, extend = TRUE)$surv
  nb <- function(r) mean(r) * ((1 - s(r)) - s(r) * p / (1 - p))
  show(paste0("{n}.nb.", p), c(nb(rows), nb(rep(TRUE, length(rows)))))
}}
e <- fitted(glm(treated ~ age + score, family = binomial, control = glm.control(epsilon = 1e-14)))
w <- ifelse(treated == 1, 1 - e, e)
show("{n}.propensity", e[1:20])
weighted <- coxph(y ~ treated * score, weights = w, robust = TRUE, control = strict)
full <- coxph(y ~ age + treated * score, control = strict)
main <- coxph(y ~ age + treated + score, control = strict)
se <- sqrt(diag(vcov(weighted)))[3]
show("{n}.interaction", c(2 * (full$loglik[2] - main$loglik[2]), exp(coef(full)[["treated:score"]]),
                          exp(coef(weighted)[3] + c(0, -1, 1) * qnorm(.975) * se)))
s5 <- quantile(score, .05); v <- vcov(weighted)
reach <- qnorm(.975) * sqrt(v[1, 1] + 2 * s5 * v[1, 3] + s5^2 * v[3, 3])
show("{n}.effect", exp(coef(weighted)[1] + coef(weighted)[3] * s5 + c(0, -1) * reach))
g <- as.numeric(age <= 60)
full <- coxph(y ~ score * g, control = strict); main <- coxph(y ~ score + g, control = strict)
inside <- coxph(y ~ score, subset = g == 1, control = strict)
outside <- coxph(y ~ score, subset = g == 0, control = strict)
chi2 <- 2 * (full$loglik[2] - main$loglik[2])
show("{n}.subgroup", c(exp(coef(inside)), exp(coef(outside)), chi2))
"""
RISK_SCRIPT = """
suppressWarnings(suppressMessages(library(riskRegression)))
d <- data.frame(time = time, event = event, score = score)
m <- list(risk = cbind(risk * .3, risk * .6, risk))
r <- suppressMessages(Score(m, formula = Surv(time, event) ~ 1, data = d, times = {grid},
           metrics = c("auc", "brier"), null.model = FALSE, se.fit = FALSE, cens.model = "km"))
show("{n}.brier", r$Brier$score$Brier); show("{n}.auc", r$AUC$score$AUC)
"""


def filled(template: str, name: str) -> str:
    vectors = {"grid": "c(3, 6, 12)", "thresholds": "c(0.1, 0.3, 0.5, 0.7)"}
    return (
        template.replace("{n}", name)
        .replace("{grid}", vectors["grid"])
        .replace("{thresholds}", vectors["thresholds"])
        .replace("{{", "{")
        .replace("}}", "}")
    )


def answers(template: str, packages: tuple[str, ...]) -> dict[str, np.ndarray]:
    if r_survival_is_there():
        for package in packages:
            if subprocess.run(
                ["Rscript", "-e", f"library({package})"], capture_output=True, check=False
            ).returncode:
                unavailable(
                    f"needs R's package {package} (apt-get install r-cran-{package.lower()})"
                )
    return run_r("".join(r_data(data) + filled(template, name) for name, data in COHORTS.items()))


@pytest.fixture(scope="module")
def of_r():
    return answers(SCRIPT, ("cmprsk", "Hmisc"))


@pytest.fixture(scope="module")
def of_risk_regression():
    return answers(RISK_SCRIPT, ("riskRegression",))


@pytest.fixture(params=COHORTS, scope="module")
def named(request):
    return request.param, COHORTS[request.param]


def covariates(data):
    return np.column_stack([data["score"], data["age"]])


COX = {
    "plain": {},
    "entry": {"entry_months": "entry"},
    "strata": {"stratum": "centre"},
    "offset": {"offset": "known"},
    "weighted": {"weight": "weight"},
}


def options(kind, data):
    return {key: data[column] for key, column in COX[kind].items()}


def test_concordances_equal_r(named, of_r):
    name, d = named
    ours = [
        harrell_c(d["score"], d["time"], d["event"]),
        stratified_harrell_c(d["score"], d["time"], d["event"], stratum=d["centre"]),
        uno_c(d["score"], d["time"], d["event"], tau=24),
    ]
    assert ours == pytest.approx(
        [of_r[f"{name}.{key}"][0] for key in ("harrell", "stratified", "uno")], abs=1e-10
    )


@pytest.mark.parametrize("kind", COX)
def test_cox_models_equal_r_with_delayed_entry_strata_and_weights(named, kind, of_r):
    name, d = named
    fit = fit_cox(covariates(d), d["time"], d["event"], **options(kind, d))
    ours = [*fit.coefficients, *fit.covariance.ravel(), fit.null_log_likelihood, fit.log_likelihood]
    assert ours == pytest.approx(of_r[f"{name}.cox.{kind}"], rel=1e-9, abs=1e-10)


@pytest.mark.parametrize("kind", COX)
def test_influences_and_the_robust_covariance_equal_r(named, kind, of_r):
    name, d = named
    x, outcome, given = covariates(d), (d["time"], d["event"]), options(kind, d)
    fit = fit_cox(x, *outcome, **given)
    first = influences(fit, x, outcome[0], event=outcome[1], **given)[:20].T.ravel()
    assert first == pytest.approx(of_r[f"{name}.dfbeta.{kind}"], rel=1e-6, abs=1e-10)
    assert robust_covariance(
        fit, x, outcome[0], event=outcome[1], **given
    ).ravel() == pytest.approx(of_r[f"{name}.robust.{kind}"], rel=1e-8, abs=1e-12)


@pytest.mark.parametrize("kind", ["plain", "entry", "strata"])
def test_the_proportional_hazards_test_equals_cox_zph(named, kind, of_r):
    name, d = named
    fit = fit_cox(covariates(d), d["time"], d["event"], **options(kind, d))
    each, together = proportional_hazards_test(
        fit, covariates(d), d["time"], event=d["event"], **options(kind, d)
    )
    tests = [*each, together]
    ours = [t.chi2 for t in tests] + [t.df for t in tests] + [t.p for t in tests]
    assert ours == pytest.approx(of_r[f"{name}.zph.{kind}"], rel=1e-7, abs=1e-8)


def test_the_baseline_hazard_equals_survfit_of_coxph(named, of_r):
    name, d = named
    fit = fit_cox(covariates(d), d["time"], d["event"])
    baseline = baseline_hazard(covariates(d) @ fit.coefficients, d["time"], d["event"])
    assert baseline.at(GRID) == pytest.approx(of_r[f"{name}.baseline"], rel=1e-8)


def test_kaplan_meier_with_delayed_entry_equals_survfit(named, of_r):
    name, d = named
    curve = kaplan_meier(d["time"], d["event"], entry_months=d["entry"])
    assert survival_at(curve, GRID) == pytest.approx(of_r[f"{name}.km_entry"], abs=1e-10)


def test_the_restricted_mean_and_its_error_equal_survfit(named, of_r):
    name, d = named
    ours = restricted_mean(d["time"], d["event"], HORIZON)
    assert [ours.months, ours.standard_error] == pytest.approx(of_r[f"{name}.rmst"], abs=1e-8)


@pytest.mark.parametrize("cause", [1, 2])
def test_cumulative_incidence_and_its_error_equal_survfit_with_ties(named, cause, of_r):
    name, d = named
    curve = cumulative_incidence(d["time"], d["code"], cause)
    points = [curve.at(months) for months in GRID]
    assert [p[0] for p in points] + [p[1] for p in points] == pytest.approx(
        of_r[f"{name}.cif.{cause}"], abs=1e-9
    )


def test_cumulative_incidence_equals_cmprsk(named, of_r):
    name, d = named
    curve = cumulative_incidence(d["time"], d["code"], 1)
    assert [curve.at(months)[0] for months in GRID] == pytest.approx(
        of_r[f"{name}.cuminc"], abs=1e-10
    )


def test_auc_at_horizons_equals_riskregression(named, of_risk_regression):
    name, d = named
    horizons = [h for h in GRID if (d["time"] > h).sum() >= 10]
    ours = [
        time_dependent_auc(d["risk"], d["time"], d["event"], months=months).estimate
        for months in horizons
    ]
    assert ours == pytest.approx(of_risk_regression[f"{name}.auc"][: len(horizons)], abs=1e-9)


def test_the_brier_score_equals_riskregression(named, of_risk_regression):
    name, d = named
    horizons = [
        (h, share) for h, share in zip(GRID, (0.3, 0.6, 1.0)) if (d["time"] > h).sum() >= 10
    ]
    ours = [
        brier_score(d["risk"] * share, d["time"], d["event"], months=months).estimate
        for months, share in horizons
    ]
    assert ours == pytest.approx(of_risk_regression[f"{name}.brier"][: len(horizons)], abs=1e-9)


def test_the_integrated_brier_score_is_the_trapezoid_of_riskregressions(named, of_risk_regression):
    name, d = named
    if (d["time"] > HORIZON).sum() < 10:
        pytest.skip("fewer than 10 at risk: not estimable, see the test of that")
    b = of_risk_regression[f"{name}.brier"]
    risk = d["risk"][:, None] * np.array([0.3, 0.6, 1.0])
    expected = (3 * b[0] / 2 + 3 * (b[0] + b[1]) / 2 + 6 * (b[1] + b[2]) / 2) / 12
    assert integrated_brier_score(
        risk, d["time"], d["event"], months=GRID
    ).estimate == pytest.approx(expected, abs=1e-9)


def test_calibration_equals_r(named, of_r):
    name, d = named
    slope, observed = (
        calibration_slope(d["score"], d["time"], d["event"]),
        observed_risk(d["time"], d["event"], HORIZON),
    )
    assert [slope.estimate, slope.low, slope.high] == pytest.approx(of_r[f"{name}.slope"], abs=1e-8)
    assert [observed.estimate, observed.low, observed.high] == pytest.approx(
        of_r[f"{name}.observed"], abs=1e-9
    )


def test_observed_to_expected_events_equal_r(named, of_r):
    name, d = named
    x = covariates(d)
    predictor = x @ fit_cox(x, d["time"], d["event"]).coefficients
    expected = (
        0.8 * baseline_hazard(predictor, d["time"], d["event"]).at(d["time"]) * np.exp(predictor)
    )
    ours = observed_to_expected(expected, d["event"])
    assert [ours.estimate, ours.low, ours.high] == pytest.approx(of_r[f"{name}.oe"], rel=1e-7)


def test_the_calibration_curve_equals_r(named, of_r):
    name, d = named
    if (d["time"] > HORIZON).sum() < 10:
        pytest.skip("fewer than 10 at risk: not estimable, see the test of that")
    curve = calibration_curve(d["risk"], d["time"], d["event"], months=HORIZON)
    assert [curve.integrated_index, *curve.observed[:10]] == pytest.approx(
        of_r[f"{name}.curve"], abs=1e-8
    )


def test_the_spline_equals_rcs(named, of_r):
    name, d = named
    form = spline_form(d["score"], d["time"], d["event"])
    basis = spline_basis(d["score"][:10], form.knots)
    assert basis.T.ravel() == pytest.approx(of_r[f"{name}.basis"], abs=1e-10)
    assert form.test.chi2 == pytest.approx(of_r[f"{name}.spline"][0], abs=1e-8)


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_net_benefit_equals_r(named, threshold, of_r):
    name, d = named
    if (d["time"] > HORIZON).sum() < 10:
        pytest.skip("fewer than 10 at risk: not estimable, see the test of that")
    ours = [
        net_benefit(d["risk"], d["time"], d["event"], months=HORIZON, thresholds=[threshold])[0],
        net_benefit_of_treating_all(d["time"], d["event"], HORIZON, thresholds=[threshold])[0],
    ]
    assert ours == pytest.approx(of_r[f"{name}.nb.{threshold}"], abs=1e-10)


def test_the_propensity_equals_glm_and_its_weights_balance_the_covariates(named, of_r):
    name, d = named
    reasons = np.column_stack([d["age"], d["score"]])
    chance = propensity(reasons, d["treated"])
    assert chance[:20] == pytest.approx(of_r[f"{name}.propensity"], abs=1e-9)
    assert standardised_differences(
        reasons, d["treated"], overlap_weights(chance, d["treated"])
    ) == pytest.approx([0, 0], abs=1e-8)


def test_the_treatment_interaction_equals_r(named, of_r, monkeypatch):
    name, d = named
    monkeypatch.setattr("pathoml.survival.interaction.MIN_PER_ARM", 1)
    ours = treatment_interaction(
        d["score"], d["treated"], d["age"][:, None], time_months=d["time"], event=d["event"]
    )
    w = ours.overlap_weighted
    assert [ours.test.chi2, ours.interaction.estimate, w.estimate, w.low, w.high] == pytest.approx(
        of_r[f"{name}.interaction"], rel=1e-6, abs=1e-8
    )
    assert [ours.hazard_ratio[0], ours.low[0]] == pytest.approx(of_r[f"{name}.effect"], rel=1e-6)


def test_a_subgroups_effects_and_interaction_equal_r(named, of_r):
    name, d = named
    ours = subgroup_effect(
        d["score"], membership("age <= 60", {"age": d["age"].tolist()}), d["time"], event=d["event"]
    )
    assert [ours.inside.estimate, ours.outside.estimate, ours.test.chi2] == pytest.approx(
        of_r[f"{name}.subgroup"], rel=1e-7, abs=1e-8
    )


def test_start_stop_rows_of_a_time_varying_treatment_reproduce_coxph():
    d = COHORTS["n246"]
    start, stop, event, given, patient = [], [], [], [], []
    for k, (time, seen) in enumerate(zip(d["time"], d["event"])):
        at = (
            d["entry"][k] if d["treated"][k] and 0 < d["entry"][k] < time else None
        )  # treatment begins here
        for begin, end, last, on in (
            [(0.0, at, False, 0), (at, time, True, 1)] if at else [(0.0, time, True, 0)]
        ):
            start, stop, event = [*start, begin], [*stop, end], [*event, int(seen and last)]
            given, patient = [*given, float(on)], [*patient, k]
    rows = {
        "start": np.array(start),
        "stop": np.array(stop),
        "seen": np.array(event),
        "given": np.array(given),
        "id": np.array(patient),
    }
    script = """
    fit <- coxph(Surv(start, stop, seen) ~ given, cluster = id,
                 control = coxph.control(eps = 1e-14), timefix = FALSE)
    show("answer", c(coef(fit), fit$naive.var, vcov(fit)))
    """
    theirs = run_r(r_data(rows) + script)["answer"]
    x, outcome = rows["given"][:, None], (rows["stop"], rows["seen"])
    fit = fit_cox(x, *outcome, entry_months=rows["start"])
    robust = robust_covariance(
        fit, x, outcome[0], event=outcome[1], entry_months=rows["start"], cluster=rows["id"]
    )
    assert [fit.coefficients[0], fit.covariance[0, 0], robust[0, 0]] == pytest.approx(
        theirs, rel=1e-8
    )


def test_false_discovery_rates_equal_p_adjust():
    p = [0.001, 0.2, 0.03, 0.03, 0.9]
    theirs = run_r('cat("bh", p.adjust(c(0.001, 0.2, 0.03, 0.03, 0.9), "BH", n = 12), "\\n")')["bh"]
    assert benjamini_hochberg(p, family_size=12) == pytest.approx(theirs, abs=1e-6)


def test_the_interval_of_an_incidence_is_log_log():
    d = COHORTS["n246"]
    ours = incidence_at(cumulative_incidence(d["time"], d["code"], 1), HORIZON)
    script = """
    at <- summary(survfit(Surv(time, factor(code, 0:2)) ~ 1, conf.type = "log-log"), times = 12)
    f <- at$pstate[, 2]; reach <- qnorm(.975) * at$std.err[, 2] / (f * abs(log(f)))
    show("interval", c(f^exp(reach), f^exp(-reach)))
    """
    assert [ours.low, ours.high] == pytest.approx(run_r(r_data(d) + script)["interval"], abs=1e-9)
