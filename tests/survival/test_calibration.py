"""The slope of risks that several models foretold: each stratum by its own model."""

from __future__ import annotations

import numpy as np
import pytest
from support.r_oracle import r_data, run_r

from pathoml.survival.calibration import calibration_slope


def folds(n=120):
    rng = np.random.default_rng(4)
    log_risk, fold = rng.normal(0, 0.7, n), rng.integers(1, 4, n)
    time = np.round(rng.exponential(15 * np.exp(-log_risk)) + 0.2, 1)
    return log_risk, time, rng.uniform(size=n) < 0.7, fold


@pytest.mark.ci
def test_the_slope_with_strata_is_that_of_coxph():
    log_risk, time, event, fold = folds()
    found = run_r(
        r_data(
            {"x": log_risk, "time": time, "event": event.astype(float), "fold": fold.astype(float)}
        )
        + """
        f <- coxph(Surv(time, event) ~ x + strata(fold), ties = "efron")
        show("slope", c(coef(f), sqrt(vcov(f))))
        """
    )["slope"]
    slope = calibration_slope(log_risk, time, event, stratum=fold)
    assert slope.estimate == pytest.approx(found[0], rel=1e-7)
    assert slope.high == pytest.approx(found[0] + 1.959964 * found[1], rel=1e-5)


def test_the_constant_of_a_stratum_does_not_matter_and_errors_are_widened_as_asked():
    log_risk, time, event, fold = folds()
    one = calibration_slope(log_risk, time, event, stratum=fold)
    shifted = calibration_slope(log_risk + fold, time, event, stratum=fold, widening=2.0)
    assert shifted.estimate == pytest.approx(one.estimate)
    assert shifted.high - shifted.low == pytest.approx(2 * (one.high - one.low))
