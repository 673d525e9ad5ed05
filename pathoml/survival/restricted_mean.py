"""Restricted mean survival time: the months without an event that a patient can expect up to a
horizon; needs no proportional hazards.

Source: Royston & Parmar, BMC Med Res Methodol 13 (2013) 152; variance: Greenwood's, as R
print(survfit, rmean = ). Checked against R in tests/survival/test_agreement_with_r.py.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from pathoml.errors import CohortError
from pathoml.survival.estimate import Estimate, normal_estimate
from pathoml.survival.kaplan_meier import kaplan_meier
from pathoml.survival.outcome import checked_outcome


class RestrictedMean(NamedTuple):
    """Months and their standard error."""

    months: float
    standard_error: float
    n: int
    events: int

    def estimate(self) -> Estimate:
        """Return it with its normal interval."""
        return normal_estimate(self.months, self.standard_error, n=self.n, events=self.events)


def restricted_mean(
    time_months: npt.ArrayLike,
    event: npt.ArrayLike,
    until_months: float,
    *,
    entry_months: npt.ArrayLike | None = None,
) -> RestrictedMean:
    """Return the area under the Kaplan-Meier curve up to until_months.

    Raises:
        CohortError: follow-up ends before, so that the curve is unknown there.

    >>> restricted_mean([1, 2, 3, 4], [1, 1, 1, 1], 4).months
    2.5
    """
    time, seen = checked_outcome(time_months, event)
    curve = kaplan_meier(time, seen, entry_months=entry_months)
    if until_months > curve.times[-1] and curve.survival[-1] > 0:
        raise CohortError(
            f"not estimable: the longest follow-up is {curve.times[-1]:g} months, asked for are"
            f" {until_months:g}."
        )
    inside = curve.times < until_months
    edges = np.concatenate([[0.0], curve.times[inside], [until_months]])
    area = np.append(1.0, curve.survival[inside]) * np.diff(edges)  # (T + 1,)
    after = area[::-1].cumsum()[::-1][1:]  # (T,) area to the right of each time
    events, risk = curve.events[inside].astype(np.float64), curve.at_risk[inside].astype(np.float64)
    hazard = np.divide(events, risk * (risk - events), out=np.zeros_like(risk), where=risk > events)
    return RestrictedMean(
        float(area.sum()), float(np.sqrt((after**2 * hazard).sum())), len(time), int(seen.sum())
    )


def restricted_mean_difference(
    first: RestrictedMean, second: RestrictedMean
) -> tuple[Estimate, float]:
    """Return first minus second in months, and the two-sided p value."""
    error = float(np.hypot(first.standard_error, second.standard_error))
    difference = normal_estimate(
        first.months - second.months,
        error,
        n=first.n + second.n,
        events=first.events + second.events,
    )
    return difference, float(
        2 * stats.norm.sf(abs(difference.estimate) / error)
    ) if error > 0 else float("nan")
