"""Calibration: do the predicted risks come true, and does the score spread patients as far as it
claims?

Source: van Houwelingen, Stat Med 19 (2000) 3401-3415 (slope, in the large); Austin et al., Stat Med
39 (2020) 2714-2742 (curve, ICI); Crowson et al., Stat Methods Med Res 25 (2016) 1692-1706 (observed
to expected events). Checked against R in tests/survival/test_agreement_with_r.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pathoml.errors import CohortError
from pathoml.survival.absolute_risk import baseline_hazard
from pathoml.survival.brier import require_at_risk
from pathoml.survival.cox import fit_cox
from pathoml.survival.estimate import Estimate, normal_estimate
from pathoml.survival.kaplan_meier import kaplan_meier, survival_at
from pathoml.survival.outcome import checked_outcome, checked_score
from pathoml.survival.spline import spline_basis, spline_knots
from pathoml.types import Array

# of log hazards: below, one SD changes a hazard by less than a thousandth; above, 20,000-fold
LOG_HAZARD_SD = (1e-3, 10.0)
LARGEST_RISK = 1 - 1e-9  # the complementary log-log of 1 is infinite


@dataclass(frozen=True, kw_only=True)
class CalibrationCurve:
    """Observed against predicted risk by a horizon, smoothed by a spline hazard model."""

    predicted: Array
    observed: Array
    integrated_index: float  # mean absolute distance over the patients (ICI)


def calibration_slope(
    log_risk: npt.ArrayLike,
    time_months: npt.ArrayLike,
    event: npt.ArrayLike,
    *,
    entry_months: npt.ArrayLike | None = None,
    stratum: npt.ArrayLike | None = None,
    widening: float = 1.0,
) -> Estimate:
    """Return the Cox coefficient of the log-risk as the models gave it: 1 is right, below 1 is
    overfitted, 0 is worthless.

    Args:
        log_risk: (B,) log hazards up to a constant; of each stratum its own constant.
        stratum: (B,) labels with baseline hazards of their own, such as folds of several models.
        widening: of the standard error, where the cohort's other patients trained the models.

    Raises:
        CohortError: the SD of the values cannot be that of log hazards (LOG_HAZARD_SD), so that a
            slope would say nothing but their unit.
    """
    time, seen = checked_outcome(time_months, event)
    given = checked_score(log_risk, len(time))
    sd = float(given.std(ddof=1)) if len(given) > 1 else 0.0
    if not LOG_HAZARD_SD[0] <= sd <= LOG_HAZARD_SD[1]:
        raise CohortError(
            f"not estimable: the SD of the log-risks is {sd:.2g}, which is not on the scale of a"
            " log hazard; a slope would say nothing but their unit."
        )
    fit = fit_cox(
        given[:, None],
        time,
        seen,
        stratum=stratum,
        entry_months=entry_months,
        names=["log_risk"],
    )
    error = widening * float(np.sqrt(fit.covariance[0, 0]))
    return normal_estimate(float(fit.coefficients[0]), error, n=fit.n, events=fit.events)


def observed_to_expected(expected_hazard: npt.ArrayLike, event: npt.ArrayLike) -> Estimate:
    """Return events seen over events foretold, over all follow-up; Poisson interval. 1 is right,
    below 1 risks are too high.

    Args:
        expected_hazard: (B,) cumulative hazard foretold to each patient from the patient's entry to
            the patient's own time.
        event: (B,) bool or 0/1.
    """
    seen = np.asarray(event).astype(bool)
    expected = float(checked_score(expected_hazard, len(seen), "expected_hazard").sum())
    events = int(seen.sum())
    if events == 0 or expected <= 0:
        raise CohortError(f"not estimable: {events} events seen, {expected:.3g} foretold.")
    return normal_estimate(
        float(np.log(events / expected)), events**-0.5, n=len(seen), events=events, exponential=True
    )


def observed_risk(
    time_months: npt.ArrayLike,
    event: npt.ArrayLike,
    months: float,
    *,
    entry_months: npt.ArrayLike | None = None,
) -> Estimate:
    """Return one minus Kaplan-Meier at the horizon with its log-log interval."""
    time, seen = checked_outcome(time_months, event)
    curve = kaplan_meier(time, seen, entry_months=entry_months)
    survival = float(survival_at(curve, months))
    last = int(np.searchsorted(curve.times, months, side="right")) - 1
    low, high = (1 - curve.high[last], 1 - curve.low[last]) if last >= 0 else (np.nan, np.nan)
    events = int((seen & (time <= months)).sum())
    if not np.isfinite(survival):
        raise CohortError(
            f"not estimable: nobody of {len(time)} is followed for {months:g} months."
        )
    return Estimate(
        estimate=1 - survival, low=float(low), high=float(high), n=len(time), events=events
    )


def risk_groups(risk: npt.ArrayLike, groups: int) -> npt.NDArray[np.int64]:
    """Return each patient's group by quantiles of the predicted risk, 0 the lowest; equal risks
    stay together.

    >>> risk_groups([0.1, 0.2, 0.3, 0.4], 2)
    array([0, 0, 1, 1])
    """
    values = np.asarray(risk, dtype=np.float64)
    edges = np.quantile(values, np.arange(1, groups) / groups)
    return np.searchsorted(edges, values, side="left").astype(np.int64)


def calibration_curve(
    risk: npt.ArrayLike,
    time_months: npt.ArrayLike,
    event: npt.ArrayLike,
    *,
    months: float,
    entry_months: npt.ArrayLike | None = None,
) -> CalibrationCurve:
    """Return the smooth curve: a Cox model on a 3-knot spline of cloglog(risk), read off at the
    horizon.

    Raises:
        CohortError: fewer than 10 patients followed beyond the horizon, or risks that do not
            differ.
    """
    time, seen = checked_outcome(time_months, event)
    require_at_risk(time, months)
    given = np.clip(checked_score(risk, len(time), "risk"), 1 - LARGEST_RISK, LARGEST_RISK)
    link = np.log(-np.log1p(-given))
    knots = spline_knots(link, 3)
    basis = spline_basis(link, knots)
    names = ["the foretold risk", "the bend of the foretold risk"]
    fit = fit_cox(basis, time, seen, entry_months=entry_months, names=names)
    baseline = baseline_hazard(basis @ fit.coefficients, time, seen, entry_months=entry_months)
    hazard = float(baseline.at(months))
    order = np.argsort(given)
    observed = -np.expm1(-hazard * np.exp(basis @ fit.coefficients))  # (B,)
    return CalibrationCurve(
        predicted=given[order],
        observed=observed[order],
        integrated_index=float(np.abs(observed - given).mean()),
    )
