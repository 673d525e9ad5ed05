"""Competing risks: how many have had which event by when (Aalen-Johansen), where one minus
Kaplan-Meier would count too many.

Cause-specific hazards are Cox models in which the other cause is a censoring; cox.py fits them. The
subdistribution model of Fine and Gray has no Python implementation that equals R's: analysis.R fits
it with cmprsk::crr.

Source: Aalen & Johansen, Scand J Stat 5 (1978) 141-150; standard errors by the infinitesimal
jackknife, as R survfit. Checked against R survival::survfit and cmprsk::cuminc in
tests/survival/test_agreement_with_r.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from pathoml.errors import CohortError
from pathoml.survival.estimate import Estimate
from pathoml.survival.kaplan_meier import at_risk
from pathoml.survival.outcome import checked_entry, checked_score
from pathoml.types import Array

ROWS_AT_ONCE = 500  # patients whose influence is held in memory together, (500, T) floats


@dataclass(frozen=True, kw_only=True)
class CumulativeIncidence:
    """The share of patients who have had one cause of event by each time."""

    cause: int
    times: Array  # (T,) ascending, of events of any cause
    incidence: Array  # (T,)
    standard_error: Array  # (T,)
    n: int
    events: int  # of this cause

    def at(self, months: float) -> tuple[float, float]:
        """Return the incidence and its standard error at a horizon."""
        last = int(np.searchsorted(self.times, months, side="right")) - 1
        return (
            (float(self.incidence[last]), float(self.standard_error[last]))
            if last >= 0
            else (0.0, 0.0)
        )


def cumulative_incidence(
    time_months: npt.ArrayLike,
    event_code: npt.ArrayLike,
    cause: int,
    *,
    entry_months: npt.ArrayLike | None = None,
) -> CumulativeIncidence:
    """Return the Aalen-Johansen estimate of one cause; events before censorings at the same time,
    ties as they are.

    Args:
        time_months: (B,) months to the first event or the last visit.
        event_code: (B,) whole numbers: 0 censored, 1, 2, ... the cause.
        cause: the code asked for.
        entry_months: (B,) when observation began; None: at time zero for all.

    Raises:
        CohortError: a code is not a whole number of at least 0, or nobody had the event.

    >>> cumulative_incidence([1, 2, 3, 4], [1, 2, 1, 0], 1).incidence  # 1/4; half of 1/2 more
    array([0.25, 0.25, 0.5 ])
    """
    time, code = _checked(time_months, event_code)
    events = int((code == cause).sum())
    if events == 0:
        raise CohortError(f"not estimable: no event of cause {cause} among {len(time)} patients.")
    entry = checked_entry(entry_months, time)
    times, _, of_cause, risk, before = _tables(time, code, cause, entry)
    incidence = np.cumsum(before * of_cause / risk)
    return CumulativeIncidence(
        cause=cause,
        times=times,
        incidence=incidence,
        standard_error=_standard_error(time, code, cause, entry),
        n=len(time),
        events=events,
    )


def incidence_at(curve: CumulativeIncidence, months: float, level: float = 0.95) -> Estimate:
    """Return the incidence at a horizon with its log(-log) interval, as cmprsk's users and
    Kalbfleisch & Prentice draw it.
    """
    value, error = curve.at(months)
    low, high = incidence_interval(np.array([value]), np.array([error]), level)
    return Estimate(
        estimate=value,
        low=float(low[0]),
        high=float(high[0]),
        n=curve.n,
        events=curve.events,
        level=level,
    )


def incidence_interval(incidence: Array, error: Array, level: float = 0.95) -> tuple[Array, Array]:
    """Return both ends of the log(-log) interval on the incidence, NaN where it is 0 or 1."""
    with np.errstate(divide="ignore", invalid="ignore"):
        log_value = np.log(incidence)
        reach = stats.norm.ppf((1 + level) / 2) * error / (incidence * np.abs(log_value))
        return np.exp(log_value * np.exp(reach)), np.exp(log_value * np.exp(-reach))


def _checked(
    time_months: npt.ArrayLike, event_code: npt.ArrayLike
) -> tuple[Array, npt.NDArray[np.int64]]:
    given = np.asarray(event_code)
    time = checked_score(time_months, len(given), "time_months")
    if len(given) == 0 or not np.isin(given, np.arange(100)).all():
        raise CohortError(
            "event_code must be 0 censored, 1 event, 2 competing event; one for each patient."
        )
    return time, given.astype(np.int64)


def _tables(
    time: Array, code: npt.NDArray[np.int64], cause: int, entry: Array | None
) -> tuple[Array, Array, Array, Array, Array]:
    """Return event times and, at each: events of any cause, of the cause, patients at risk,
    survival just before.
    """
    times, at = np.unique(time[code > 0], return_inverse=True)
    of_any = np.bincount(at, minlength=len(times)).astype(np.float64)
    of_cause = np.bincount(at, weights=code[code > 0] == cause, minlength=len(times)).astype(
        np.float64
    )
    risk = at_risk(time, times, entry_months=entry).astype(np.float64)
    after = np.cumprod(1 - of_any / risk)
    return times, of_any, of_cause, risk, np.append(1.0, after[:-1])


def _standard_error(
    time: Array, code: npt.NDArray[np.int64], cause: int, entry: Array | None
) -> Array:
    """Return sqrt of the sum over patients of squared influence, (T,): how the curve moves when a
    patient's weight does.
    """
    times, of_any, of_cause, risk, before = _tables(time, code, cause, entry)
    variance = np.zeros(len(times))
    left = np.where(
        risk > of_any, risk - of_any, np.inf
    )  # the last step to zero has nobody left to be influenced
    for start in range(0, len(time), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        under = time[rows, None] >= times  # (b, T)
        if entry is not None:
            under &= entry[rows, None] < times
        own = (time[rows, None] == times) & (code[rows, None] > 0)
        own_cause = own & (code[rows, None] == cause)
        shift = np.cumsum((own - under * (of_any / risk)) / left, axis=1)  # minus d log S(t)
        shift_before = np.concatenate([np.zeros((len(shift), 1)), shift[:, :-1]], axis=1)
        influence = np.cumsum(
            before / risk * (own_cause - under * (of_cause / risk) - shift_before * of_cause),
            axis=1,
        )
        variance += (influence**2).sum(axis=0)
    return np.sqrt(variance)
