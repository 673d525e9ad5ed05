"""The Brier score of an absolute risk under censoring, at a horizon and integrated over time.

Source: Graf et al., Stat Med 18 (1999) 2529-2545; Gerds & Schumacher, Biom J 48 (2006) 1029-1040.
Checked against R riskRegression::Score in tests/survival/test_agreement_with_r.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import integrate

from pathoml.errors import CohortError
from pathoml.survival.censoring import uncensored_at, uncensored_before
from pathoml.survival.estimate import Estimate, percentile_estimate
from pathoml.survival.outcome import checked_outcome, checked_score
from pathoml.types import Array

# fewer patients still followed at the horizon: "not estimable", since a few weights decide
MIN_AT_RISK = 10


def brier_score(
    risk: npt.ArrayLike,
    time_months: npt.ArrayLike,
    event: npt.ArrayLike,
    *,
    months: float,
    counts: Array | None = None,
) -> Estimate:
    """Return the mean squared distance of the predicted risk from what happened by the horizon, 0
    (best) to 1.

    Args:
        risk: (B,) predicted probability of an event by the horizon.
        time_months: (B,) months to the event or the last visit.
        event: (B,) bool or 0/1.
        months: the horizon.
        counts: (R, B) bootstrap draws (concordance.draw_counts); None: no interval.

    Raises:
        CohortError: no event by the horizon, or fewer than 10 patients are followed beyond it.

    >>> brier_score([0.9, 0.2, 0.1], [1, 5, 5], [1, 0, 0], months=2.0)
    Traceback (most recent call last):
    pathoml.errors.CohortError: not estimable: 2 patients are followed beyond 2 months; it needs 10.
    """
    time, seen = checked_outcome(time_months, event)
    probability = checked_score(risk, len(time), "risk")
    require_at_risk(time, months)
    if not (seen & (time <= months)).any():
        raise CohortError(f"not estimable: no event by {months:g} months.")
    value = float(_brier(probability, time, seen, months, np.ones((1, len(time))))[0])
    draws = None if counts is None else _brier(probability, time, seen, months, counts)
    return percentile_estimate(
        value, draws, n=len(time), events=int((seen & (time <= months)).sum())
    )


def integrated_brier_score(
    risk: npt.ArrayLike,
    time_months: npt.ArrayLike,
    event: npt.ArrayLike,
    *,
    months: Sequence[float],
    counts: Array | None = None,
) -> Estimate:
    """Return the Brier score averaged over time from 0 to the last of the months, by the trapezoid
    rule; at 0 it is 0.

    Args:
        risk: (B, M) predicted probability of an event by each of the months.
        months: M ascending, evenly spaced or not.
    """
    time, seen = checked_outcome(time_months, event)
    probability, grid = np.asarray(risk, dtype=np.float64), np.asarray(months, dtype=np.float64)
    require_at_risk(time, float(grid[-1]))

    def integrated(draws: Array) -> Array:
        scores = [np.zeros(len(draws))] + [
            _brier(probability[:, m], time, seen, float(t), draws) for m, t in enumerate(grid)
        ]
        value: Array = (
            integrate.trapezoid(np.stack(scores), np.append(0.0, grid), axis=0) / grid[-1]
        )
        return value

    value = float(integrated(np.ones((1, len(time))))[0])
    draws = None if counts is None else integrated(counts)
    return percentile_estimate(
        value, draws, n=len(time), events=int((seen & (time <= grid[-1])).sum())
    )


def require_at_risk(time: Array, months: float) -> None:
    """Raise CohortError if fewer than 10 patients are still followed after the horizon."""
    at_risk = int((time > months).sum())
    if at_risk < MIN_AT_RISK:
        noun = "patient is" if at_risk == 1 else "patients are"
        raise CohortError(
            f"not estimable: {at_risk} {noun} followed beyond {months:g} months; it needs"
            f" {MIN_AT_RISK}."
        )


def _brier(
    risk: Array, time: Array, event: npt.NDArray[np.bool_], months: float, counts: Array
) -> Array:
    """Return the Brier score of every draw, (R,); each estimates its censoring weights anew."""
    case, control = event & (time <= months), time > months
    lost = (1 - risk[case]) ** 2 / uncensored_before(counts, time, event)[:, case]  # (R, cases)
    kept = risk[control] ** 2  # (controls,)
    of_cases = (counts[:, case] * lost).sum(axis=1)
    of_controls = counts[:, control] @ kept / uncensored_at(counts, time, event, months=months)
    value: Array = (of_cases + of_controls) / counts.sum(axis=1)
    return value
