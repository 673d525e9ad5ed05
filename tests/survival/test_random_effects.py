"""A mean over hospitals, and where the next would lie, are those of R's metafor."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest
from support.r_oracle import PRELUDE, r_survival_is_there, r_vector, run_r, unavailable

from pathoml.errors import CohortError
from pathoml.survival.random_effects import (
    pool_concordance,
    pool_hospitals,
    pool_observed_to_expected,
    reml_tau2,
)

HOSPITALS = {
    "six": ([0.2, 0.9, 0.5, -0.1, 0.7, 0.4], [0.15, 0.3, 0.2, 0.25, 0.4, 0.1]),
    "far apart": ([-1.0, 1.2, 0.1, 2.0], [0.1, 0.12, 0.3, 0.2]),
    "alike": ([0.5, 0.52, 0.48, 0.51], [0.2, 0.1, 0.3, 0.15]),
    "three": ([0.3, 0.9, 0.1], [0.2, 0.25, 0.1]),
    "twenty": (np.linspace(-1, 1, 20) ** 3 + 0.4, np.linspace(0.05, 0.5, 20)),
}


def test_equally_sure_hospitals_by_hand():
    """Values 0, 1, 2 with variance 0.2: their variance 1 is tau^2 + 0.2; error sqrt(1/3)."""
    pooled = pool_hospitals([0.0, 1.0, 2.0], [0.2**0.5] * 3)
    assert pooled.estimate == pytest.approx(1.0)
    assert pooled.tau2 == pytest.approx(0.8)
    assert pooled.i2 == pytest.approx(0.8)
    assert pooled.standard_error == pytest.approx(3**-0.5)
    assert pooled.high - 1 == pytest.approx(4.302652729749464 / 3**0.5)  # t with 2 df
    ahead = 12.706204736174694 * (1 / 3 + 0.8) ** 0.5  # t with 1 df
    assert pooled.prediction_high - 1 == pytest.approx(ahead)


def test_the_next_hospital_is_less_sure_than_the_mean():
    for values, errors in HOSPITALS.values():
        pooled = pool_hospitals(values, errors)
        assert pooled.prediction_low < pooled.low < pooled.estimate
        assert pooled.estimate < pooled.high < pooled.prediction_high


def test_the_order_of_the_hospitals_and_the_sign_change_nothing():
    values, errors = (np.array(x) for x in HOSPITALS["six"])
    order = [3, 1, 5, 0, 2, 4]
    one, other = pool_hospitals(values, errors), pool_hospitals(-values[order], errors[order])
    assert other.estimate == pytest.approx(-one.estimate)
    assert other.tau2 == pytest.approx(one.tau2)
    assert other.prediction_low == pytest.approx(-one.prediction_high)


def test_tau_has_the_unit_of_the_values():
    values, errors = (np.array(x) for x in HOSPITALS["six"])
    assert reml_tau2(1e-4 * values, (1e-4 * errors) ** 2) == pytest.approx(
        1e-8 * reml_tau2(values, errors**2)
    )


def test_a_concordance_is_pooled_on_the_logit_and_comes_back():
    pooled = pool_concordance([0.55, 0.7, 0.62, 0.9], [0.05, 0.08, 0.04, 0.06])
    assert 0 < pooled.prediction_low < pooled.low < pooled.estimate < pooled.high < 1
    assert pooled.prediction_high < 1
    flipped = pool_concordance([0.45, 0.3, 0.38, 0.1], [0.05, 0.08, 0.04, 0.06])
    assert flipped.estimate == pytest.approx(1 - pooled.estimate)


def test_observed_over_expected_of_one_hospital_counts_by_its_events():
    pooled = pool_observed_to_expected([100, 4], [50, 4])
    assert pooled.estimate > 1
    assert pool_observed_to_expected([10, 20, 40], [10, 20, 40]).estimate == pytest.approx(1)


def test_hospitals_that_are_alike_by_luck_do_not_make_the_mean_surer_than_their_own_errors():
    values, errors = HOSPITALS["alike"]
    alone = sum(1 / np.square(errors)) ** -0.5
    assert pool_hospitals(values, errors).standard_error == pytest.approx(alone)
    assert pool_hospitals(values, errors, at_least_fixed=False).standard_error < alone / 10


def test_two_hospitals_have_a_mean_and_no_prediction_interval():
    pooled = pool_hospitals([0.2, 0.4], [0.1, 0.1])
    assert pooled.estimate == pytest.approx(0.3)
    assert pooled.prediction_low is None
    assert pooled.prediction_high is None


@pytest.mark.parametrize(
    ("pool", "values", "errors"),
    [
        (pool_hospitals, [0.5], [0.1]),
        (pool_hospitals, [], []),
        (pool_hospitals, [0.5, 0.6], [0.1, 0.0]),
        (pool_hospitals, [0.5, np.nan], [0.1, 0.1]),
        (pool_concordance, [0.5, 1.0], [0.1, 0.1]),
        (pool_observed_to_expected, [3, 0], [2, 2]),
    ],
)
def test_what_cannot_be_pooled_is_refused(pool, values, errors):
    with pytest.raises(CohortError, match="not estimable"):
        pool(values, errors)


@pytest.mark.ci
@pytest.mark.parametrize("test", ["adhoc", "knha"])
def test_all_numbers_are_those_of_metafor(test):
    has_metafor = (
        r_survival_is_there()
        and not subprocess.run(
            ["Rscript", "-e", "library(metafor)"], capture_output=True, check=False
        ).returncode
    )
    if not has_metafor:
        unavailable("needs R's package metafor (apt-get install r-cran-metafor)")
    scripts = [
        f"y <- {r_vector(values)}; se <- {r_vector(errors)}\n"
        f"fit <- rma(yi = y, sei = se, method = 'REML', test = '{test}',"
        " control = list(threshold = 1e-14, maxiter = 10000))\n"
        "at <- predict(fit, pi.type = 'riley')\n"
        f"show('mean{k}', c(fit$beta, fit$se, fit$ci.lb, fit$ci.ub))\n"
        f"show('spread{k}', c(fit$tau2, fit$I2 / 100, fit$QE, fit$QEp))\n"
        f"show('next{k}', c(at$pi.lb, at$pi.ub))\n"
        for k, (values, errors) in enumerate(HOSPITALS.values())
    ]
    library = "suppressWarnings(suppressMessages(library(metafor)))\n"
    of_r = run_r(PRELUDE + library + "".join(scripts))
    near = {"rtol": 1e-6, "atol": 1e-9}
    for k, (values, errors) in enumerate(HOSPITALS.values()):
        ours = pool_hospitals(values, errors, at_least_fixed=test == "adhoc")
        mean = [ours.estimate, ours.standard_error, ours.low, ours.high]
        np.testing.assert_allclose(mean, of_r[f"mean{k}"], **near)
        spread = [ours.tau2, ours.i2, ours.q, ours.q_p_value]
        np.testing.assert_allclose(spread, of_r[f"spread{k}"], **near)
        ahead = [ours.prediction_low, ours.prediction_high]
        np.testing.assert_allclose(ahead, of_r[f"next{k}"], **near)
