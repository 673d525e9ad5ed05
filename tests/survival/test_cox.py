"""Cox models against R survival::coxph (Efron), with ties, strata, offset and ridge, and against
hand-worked cases.
"""

from __future__ import annotations

import time as clock

import numpy as np
import pytest
from support.r_oracle import r_data, run_r

from pathoml.errors import CohortError
from pathoml.survival.cox import (
    fit_cox,
    hazard_ratio,
    likelihood_ratio_test,
    partial_log_likelihood,
    wald_test,
)


def synthetic_cohort(n: int, seed: int, *, ties: bool) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3)) * [1.0, 20.0, 0.01] + [
        0.0,
        60.0,
        3.0,
    ]  # as different in scale as age and a proportion
    effect = x @ [0.5, 0.02, -30.0]
    died, left = (
        rng.exponential(24 * np.exp(-(effect - effect.mean()))),
        rng.exponential(40, size=n),
    )
    time = np.minimum(died, left)
    return {
        "time": np.ceil(time / 3) if ties else time + 0.01,
        "event": (died <= left).astype(int),
        "a": x[:, 0],
        "b": x[:, 1],
        "c": x[:, 2],
        "centre": rng.choice(list("ABCD"), size=n),
        "shift": rng.normal(size=n),
    }


COHORTS = {
    "n12": {
        "time": np.array([1, 2, 2, 2, 3, 3, 4, 5, 5, 6, 7, 8], dtype=float),
        "event": np.array([1, 1, 1, 0, 1, 1, 0, 1, 0, 1, 1, 0]),
        "a": np.array([5, 3, 3, 1, 2, 6, 4, 4, 1, 0, 2, 1], dtype=float),
        "b": np.array([0, 1, 0, 1, 1, 0, 0, 1, 1, 0, 1, 0], dtype=float),
        "c": np.array([0.1, 0.3, 0.2, 0.7, 0.4, 0.3, 0.6, 0.2, 0.9, 0.5, 0.8, 0.3]),
        "centre": np.array(list("ABABABABABAB")),
        "shift": np.linspace(-1, 1, 12),
    },
    "n30": synthetic_cohort(30, 1, ties=True),
    "n500": synthetic_cohort(500, 2, ties=True),
    "n500_continuous": synthetic_cohort(500, 3, ties=False),
}
VARIANTS = {
    "plain": ("a + b + c", {}),
    "stratified": ("a + b + c + strata(centre)", {"stratum": "centre"}),
    "offset": ("a + b + c + offset(shift)", {"offset": "shift"}),
    "ridge": ("ridge(a, b, c, theta = 2.5, scale = FALSE)", {"ridge": 2.5}),
}
CASES = [(cohort, variant) for cohort in COHORTS for variant in VARIANTS]


def columns(cohort: dict[str, np.ndarray]) -> np.ndarray:
    return np.stack([cohort[name] for name in "abc"], axis=1)


def fitted(cohort: dict[str, np.ndarray], variant: str):
    options = {
        key: cohort[value] if isinstance(value, str) else value
        for key, value in VARIANTS[variant][1].items()
    }
    return fit_cox(columns(cohort), cohort["time"], cohort["event"], **options)


@pytest.fixture(scope="module")
def answers_of_r():
    script = ""
    for name, cohort in COHORTS.items():
        script += r_data(cohort) + "y <- Surv(time, event)\n"
        for variant, (formula, _) in VARIANTS.items():
            script += f"""
            strict <- coxph.control(eps = 1e-14, iter.max = 100, toler.inf = 1e-30, outer.max = 100)
            fit <- coxph(y ~ {formula}, ties = "efron", control = strict)
            show("{name}.{variant}.coefficients", coef(fit))
            show("{name}.{variant}.covariance", vcov(fit))
            show("{name}.{variant}.log_likelihood", fit$loglik)
            """
        script += f"""
        strict <- coxph.control(eps = 1e-14, iter.max = 100)
        fit <- coxph(y ~ a + b + c, ties = "efron", control = strict)
        reduced <- coxph(y ~ a, ties = "efron", control = strict)
        chi2 <- 2 * (fit$loglik[2] - reduced$loglik[2])
        show("{name}.lr", c(chi2, 2, pchisq(chi2, 2, lower.tail = FALSE)))
        show("{name}.wald_p", summary(fit)$coefficients[, "Pr(>|z|)"])
        show("{name}.hr", summary(fit)$conf.int[1, c(1, 3, 4)])
        """
    return run_r(script)


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_coefficients_equal_r(name, variant, answers_of_r):
    ours = fitted(COHORTS[name], variant).coefficients
    assert ours == pytest.approx(answers_of_r[f"{name}.{variant}.coefficients"], rel=1e-8, abs=1e-8)


@pytest.mark.parametrize(("name", "variant"), [case for case in CASES if case[1] != "ridge"])
def test_the_covariance_equals_r(name, variant, answers_of_r):
    # R's ridge() reports the sandwich variance, ours is the inverse of the penalised information:
    # not compared.
    ours = fitted(COHORTS[name], variant).covariance
    assert ours.ravel() == pytest.approx(
        answers_of_r[f"{name}.{variant}.covariance"], rel=1e-7, abs=1e-10
    )


@pytest.mark.parametrize(("name", "variant"), [case for case in CASES if case[1] != "ridge"])
def test_log_likelihoods_equal_r(name, variant, answers_of_r):
    fit = fitted(COHORTS[name], variant)
    ours = (fit.null_log_likelihood, fit.log_likelihood)
    assert ours == pytest.approx(tuple(answers_of_r[f"{name}.{variant}.log_likelihood"]), abs=1e-8)


@pytest.mark.parametrize("name", COHORTS)
def test_likelihood_ratio_wald_and_hazard_ratio_equal_r(name, answers_of_r):
    cohort = COHORTS[name]
    full = fitted(cohort, "plain")
    reduced = fit_cox(columns(cohort)[:, :1], cohort["time"], cohort["event"])
    ratio = hazard_ratio(full, 0)
    assert tuple(likelihood_ratio_test(full, reduced)) == pytest.approx(
        tuple(answers_of_r[f"{name}.lr"]), abs=1e-8
    )
    assert [wald_test(full, k) for k in range(3)] == pytest.approx(
        list(answers_of_r[f"{name}.wald_p"]), abs=1e-8
    )
    assert (ratio.estimate, ratio.low, ratio.high) == pytest.approx(
        tuple(answers_of_r[f"{name}.hr"]), rel=1e-8
    )


def test_the_hazard_ratio_of_four_patients_is_the_root_of_the_score_equation():
    # Events in the order x = 1, 0, 1, 0; with r = exp(coefficient) the score is zero where r**2 - r
    # - 4 = 0.
    fit = fit_cox([[0.0], [1.0], [0.0], [1.0]], [4, 1, 2, 3], [1, 1, 1, 1])
    assert np.exp(fit.coefficients[0]) == pytest.approx((1 + np.sqrt(17)) / 2, rel=1e-12)


def test_tied_events_follow_efron():
    # Two of three have the event together: log of 1 / (3 * (3 - 1)) at coefficient zero; Breslow
    # would give 1 / 9.
    assert partial_log_likelihood([0.0, 0.0, 0.0], [1, 1, 2], [1, 1, 0]) == pytest.approx(
        -np.log(6), abs=1e-14
    )


def test_ridge_is_the_derivative_of_the_penalised_likelihood():
    cohort = COHORTS["n30"]
    x, ridge = columns(cohort), 2.5
    best = fit_cox(x, cohort["time"], cohort["event"], ridge=ridge).coefficients

    def penalised(coefficients):
        likelihood = partial_log_likelihood(x @ coefficients, cohort["time"], cohort["event"])
        return likelihood - 0.5 * ridge * (coefficients**2).sum()

    for direction in np.eye(3) * 1e-4:
        assert penalised(best) > max(penalised(best + direction), penalised(best - direction))


def test_a_strong_ridge_shrinks_to_zero_and_a_weak_one_changes_nothing():
    cohort = COHORTS["n500"]
    strong, weak, none = (
        fit_cox(columns(cohort), cohort["time"], cohort["event"], ridge=ridge).coefficients
        for ridge in (1e12, 1e-12, 0.0)
    )
    assert np.abs(strong).max() < 1e-6
    assert weak == pytest.approx(none, rel=1e-9)


@pytest.mark.parametrize("start", [[3.0, -0.2, 100.0], [500.0, 0.0, 0.0]])
def test_the_answer_does_not_depend_on_where_newton_starts(start):
    cohort = COHORTS["n500"]
    far = fit_cox(columns(cohort), cohort["time"], cohort["event"], start=start)
    assert far.coefficients == pytest.approx(fitted(cohort, "plain").coefficients, rel=1e-10)


def test_units_of_a_covariate_only_rescale_its_coefficient():
    cohort = COHORTS["n500"]
    scaled = fit_cox(columns(cohort) * [1.0, 1e-9, 1e9], cohort["time"], cohort["event"])
    assert scaled.coefficients * [1.0, 1e-9, 1e9] == pytest.approx(
        fitted(cohort, "plain").coefficients, rel=1e-8
    )


def test_the_order_of_patients_changes_nothing():
    cohort = COHORTS["n500"]
    order = np.random.default_rng(4).permutation(500)
    shuffled = {name: column[order] for name, column in cohort.items()}
    assert fitted(shuffled, "stratified").coefficients == pytest.approx(
        fitted(cohort, "stratified").coefficients, rel=1e-10
    )


def test_no_event_is_refused():
    with pytest.raises(CohortError, match="No event among 3 patients"):
        fit_cox([[1.0], [2.0], [3.0]], [1, 2, 3], [0, 0, 0])


def test_a_constant_covariate_is_named_without_ridge_and_gets_zero_with_it():
    x = np.stack([COHORTS["n30"]["a"], np.full(30, 0.1)], axis=1)
    outcome = (COHORTS["n30"]["time"], COHORTS["n30"]["event"])
    with pytest.raises(CohortError, match="Covariate 'dose' is the same for all"):
        fit_cox(x, *outcome, names=["age", "dose"])
    assert fit_cox(x, *outcome, ridge=1.0).coefficients[1] == 0.0


def test_a_covariate_that_only_tells_the_strata_apart_is_named():
    cohort = COHORTS["n30"]
    x = np.stack([cohort["a"], (cohort["centre"] == "A").astype(float)], axis=1)
    with pytest.raises(CohortError, match="column 1"):
        fit_cox(x, cohort["time"], cohort["event"], stratum=cohort["centre"])


def test_collinear_covariates_are_named():
    cohort = COHORTS["n30"]
    x = np.column_stack([cohort["a"], cohort["b"], 2 * cohort["a"] - 1])
    with pytest.raises(CohortError, match="column 0, column 2 determine one another"):
        fit_cox(x, cohort["time"], cohort["event"])


@pytest.mark.parametrize("ties", [True, False])
def test_a_covariate_that_separates_is_named(ties):
    cohort = synthetic_cohort(100, 5, ties=ties)
    rare = np.zeros(100)
    rare[np.flatnonzero(cohort["event"] == 0)[:4]] = (
        1.0  # no event among the four: the coefficient is minus infinity
    )
    with pytest.raises(CohortError, match="covariate 'rare' runs to infinity"):
        fit_cox(
            np.stack([cohort["a"], rare], axis=1),
            cohort["time"],
            cohort["event"],
            names=["age", "rare"],
        )


def test_separation_is_cured_by_ridge():
    x = np.arange(20, 0, -1.0)[:, None]  # the risk order is the order of events
    fit = fit_cox(x, np.arange(20), np.ones(20), ridge=0.1)
    assert fit.converged
    assert fit.coefficients[0] > 0


def test_a_missing_covariate_is_named():
    with pytest.raises(CohortError, match="Covariate 'age' of row 1 is nan"):
        fit_cox([[1.0], [np.nan], [3.0]], [1, 2, 3], [1, 1, 0], names=["age"])


def test_models_of_different_rows_are_not_compared():
    cohort = COHORTS["n30"]
    full = fitted(cohort, "plain")
    reduced = fit_cox(columns(cohort)[:29, :1], cohort["time"][:29], cohort["event"][:29])
    with pytest.raises(CohortError, match="Fit both to the same rows"):
        likelihood_ratio_test(full, reduced)


def test_246_patients_and_64_covariates_take_less_than_50_ms():
    rng = np.random.default_rng(6)
    x, time, event = rng.normal(size=(246, 64)), rng.exponential(size=246), rng.random(246) < 0.45
    fit_cox(x, time, event, ridge=10.0)
    seconds = []
    for _ in range(5):
        start = clock.process_time()
        fit_cox(x, time, event, ridge=10.0)
        seconds.append(clock.process_time() - start)
    assert min(seconds) < 0.05


@pytest.mark.parametrize("seed", range(8))
def test_separation_is_named_also_beside_other_covariates_and_rounded_times(seed):
    rng = np.random.default_rng(seed)
    died, left = rng.exponential(10, size=246), rng.exponential(30, size=246)
    event = died <= left
    covariates = np.column_stack([rng.normal(size=246), event, rng.integers(2, size=246)])
    with pytest.raises(CohortError, match="'tell_tale' runs to infinity"):
        fit_cox(
            covariates,
            np.ceil(10 * np.minimum(died, left)) / 10,
            event,
            names=["age", "tell_tale", "treated"],
        )


@pytest.mark.parametrize("seed", [10, 22, 25, 37, 67])
def test_separation_within_small_centres_is_named_before_exp_overflows(seed):
    rng, n = np.random.default_rng(seed), 12
    covariates = np.column_stack(
        [rng.normal(size=n), rng.integers(0, 2, n), rng.integers(0, 2, n), rng.normal(size=n)]
    )
    time, event, centre = (
        rng.exponential(size=n).round(1) + 0.1,
        rng.random(n) < 0.7,
        rng.choice(list("abc"), n),
    )
    with pytest.raises(CohortError, match="runs to infinity"):
        fit_cox(covariates, time, event, stratum=centre)
