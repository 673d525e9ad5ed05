"""Kaplan-Meier curves with log-log intervals, the log-rank test, numbers at risk and follow-up.

Source: Kaplan & Meier, JASA 53 (1958) 457-481; Kalbfleisch & Prentice, The Statistical Analysis of
Failure Time Data (1980) for the log(-log) interval; Schemper & Smith, Control Clin Trials 17 (1996)
343-346 for follow-up. Checked against R survival::survfit(conf.type = "log-log") and survdiff in
tests/survival/test_kaplan_meier.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from pathoml.errors import CohortError
from pathoml.survival.outcome import checked_entry, checked_groups, checked_outcome
from pathoml.types import Array

HALF_TOLERANCE = 1e-9  # a product of fractions that should be 0.5 may miss it by rounding


@dataclass(frozen=True, kw_only=True)
class KaplanMeierCurve:
    """Survival after each time at which follow-up ended; 1 before the first. Intervals are NaN at
    survival 1 and 0.
    """

    times: Array  # (T,) ascending, of events and of censorings
    survival: Array  # (T,)
    low: Array  # (T,)
    high: Array  # (T,)
    at_risk: npt.NDArray[np.int64]  # (T,) just before the time
    events: npt.NDArray[np.int64]  # (T,)


class LogRank(NamedTuple):
    """The log-rank statistic and its p value."""

    chi2: float
    p: float


def kaplan_meier(
    time_months: npt.ArrayLike,
    event: npt.ArrayLike,
    *,
    entry_months: npt.ArrayLike | None = None,
    level: float = 0.95,
) -> KaplanMeierCurve:
    """Return the Kaplan-Meier curve with its pointwise log(-log) interval (Greenwood's variance).

    Args:
        time_months: (B,) months to the event or the last visit.
        event: (B,) bool or 0/1.
        entry_months: (B,) when observation began; None: at time zero for all.
        level: coverage of the interval.

    >>> curve = kaplan_meier([1, 2, 2, 3], [1, 1, 0, 0])
    >>> curve.survival  # 3/4, then 2/3 of it
    array([0.75, 0.5 , 0.5 ])
    >>> curve.at_risk
    array([4, 3, 1])
    """
    time, seen = checked_outcome(time_months, event)
    times, at = np.unique(time, return_inverse=True)
    left = np.bincount(at)  # (T,)
    events = np.bincount(at, weights=seen).astype(np.int64)
    risk = left[::-1].cumsum()[::-1]
    entry = checked_entry(entry_months, time)
    if entry is not None:  # whoever enters at this time or later is not at risk yet
        risk = risk - (len(entry) - np.searchsorted(np.sort(entry), times, side="left"))
    survival = np.cumprod(1 - events / risk)
    with np.errstate(
        divide="ignore", invalid="ignore"
    ):  # at survival 1 and 0 this is 0 / 0 and inf / inf: NaN, as in R
        log_survival = np.log(survival)
        error = np.sqrt(np.cumsum(events / (risk * (risk - events)))) / np.abs(log_survival)
        reach = stats.norm.ppf((1 + level) / 2) * error
        low, high = np.exp(log_survival * np.exp(reach)), np.exp(log_survival * np.exp(-reach))
    return KaplanMeierCurve(
        times=times, survival=survival, low=low, high=high, at_risk=risk, events=events
    )


def survival_at(curve: KaplanMeierCurve, months: npt.ArrayLike) -> Array:
    """Return survival at the given months; after the last follow-up it is unknown, NaN, unless the
    curve has reached 0.

    >>> survival_at(kaplan_meier([1, 2, 2, 3], [1, 1, 0, 0]), [0.5, 1, 2.5, 4])
    array([1.  , 0.75, 0.5 ,  nan])
    """
    asked = np.asarray(months, dtype=np.float64)
    value = np.append(1.0, curve.survival)[np.searchsorted(curve.times, asked, side="right")]
    return np.where((asked > curve.times[-1]) & (value > 0), np.nan, value)


def median_survival(curve: KaplanMeierCurve) -> float | None:
    """Return the first time with survival of one half or less, or None if the curve stays above.

    Where the curve runs along one half, it is the middle of that stretch, as in R.

    >>> median_survival(kaplan_meier([1, 2, 3, 4], [1, 1, 1, 1]))
    2.5
    """
    reached = np.flatnonzero(curve.survival <= 0.5 + HALF_TOLERANCE)
    if len(reached) == 0:
        return None
    first = reached[0]
    if curve.survival[first] < 0.5 - HALF_TOLERANCE:
        return float(curve.times[first])
    below = np.flatnonzero(curve.survival < 0.5 - HALF_TOLERANCE)
    end = curve.times[below[0]] if len(below) else curve.times[-1]
    return float((curve.times[first] + end) / 2)


def emptied_at(curve: KaplanMeierCurve) -> float | None:
    """Return the months at which everybody at risk had the event while others came under
    observation or were followed later; None where that never was.

    The curve is 0 from there on, however many enter afterwards: with delayed entry that may rest on
    a single early patient.

    >>> emptied_at(kaplan_meier([1, 5, 6], [1, 1, 0], entry_months=[0, 2, 2]))
    1.0
    >>> emptied_at(kaplan_meier([1, 5, 6], [1, 1, 1])) is None
    True
    """
    zero = np.flatnonzero(curve.survival <= 0)
    return float(curve.times[zero[0]]) if len(zero) and zero[0] < len(curve.times) - 1 else None


def median_follow_up(
    time_months: npt.ArrayLike,
    event: npt.ArrayLike,
    *,
    entry_months: npt.ArrayLike | None = None,
) -> float | None:
    """Return the median follow-up by the reverse Kaplan-Meier estimate, in which an event censors;
    None if not reached.

    >>> median_follow_up([1, 2, 3, 4], [1, 0, 0, 0])  # 2/3 still followed after 2, 1/3 after 3
    3.0
    """
    time, seen = checked_outcome(time_months, event)
    return median_survival(kaplan_meier(time, ~seen, entry_months=entry_months))


def at_risk(
    time_months: npt.ArrayLike,
    months: npt.ArrayLike,
    *,
    entry_months: npt.ArrayLike | None = None,
) -> npt.NDArray[np.int64]:
    """Return how many patients are under observation just before each of the given months.

    >>> at_risk([1, 2, 2, 3], [0, 2, 2.5])
    array([4, 3, 1])
    >>> at_risk([1, 2, 2, 3], [2, 2.5], entry_months=[0, 0, 1, 2.2])
    array([2, 1])
    """
    ascending = np.sort(np.asarray(time_months, dtype=np.float64))
    asked = np.asarray(months, dtype=np.float64)
    followed = len(ascending) - np.searchsorted(ascending, asked, side="left")
    entry = checked_entry(entry_months, np.asarray(time_months, dtype=np.float64))
    if entry is not None:  # whoever enters at this time or later is not at risk yet
        followed = followed - (len(entry) - np.searchsorted(np.sort(entry), asked, side="left"))
    return followed


def log_rank(
    time_months: npt.ArrayLike,
    event: npt.ArrayLike,
    group: npt.ArrayLike,
    *,
    entry_months: npt.ArrayLike | None = None,
) -> LogRank:
    """Test whether two or more groups have the same survival (Mantel-Haenszel), as R survdiff, or
    with delayed entry, which survdiff refuses, as the score test of coxph(ties = "exact").

    Raises:
        CohortError: one group only, or no event while two groups are at risk.

    >>> round(log_rank([1, 2, 3, 4], [1, 1, 1, 1], ["A", "A", "B", "B"]).chi2, 4)
    2.8824
    """
    time, seen = checked_outcome(time_months, event)
    number = checked_groups(group, len(time), "group")
    member = np.eye(number.max() + 1)[number]  # (B, G)
    event_times, at = np.unique(time[seen], return_inverse=True)
    observed = np.zeros((len(event_times), member.shape[1]))  # (T, G)
    np.add.at(observed, at, member[seen])
    under_risk = time >= event_times[:, None]  # (T, B)
    entry = checked_entry(entry_months, time)
    if entry is not None:
        under_risk &= entry < event_times[:, None]
    risk = under_risk.astype(np.float64) @ member  # (T, G)
    all_observed, all_risk = observed.sum(axis=1), risk.sum(axis=1)  # (T,)
    share = risk / all_risk[:, None]  # (T, G)
    expected = (share * all_observed[:, None]).sum(axis=0)  # (G,)
    spread = (
        all_observed * (all_risk - all_observed) / np.maximum(all_risk - 1, 1)
    )  # (T,) hypergeometric; 0 if one is left
    covariance = (
        np.diag((spread[:, None] * share).sum(axis=0)) - (spread[:, None] * share).T @ share
    )  # (G, G)
    kept = np.flatnonzero(expected > 0)[
        :-1
    ]  # differences sum to zero over the groups: one of them is redundant
    difference = (observed.sum(axis=0) - expected)[kept]
    if len(kept) == 0 or not np.diag(covariance)[kept].all():
        raise CohortError(
            f"A log-rank test needs two groups at risk at an event: {len(time)} patients, "
            f"{int(seen.sum())} events, {member.shape[1]} groups."
        )
    chi2 = float(difference @ np.linalg.solve(covariance[np.ix_(kept, kept)], difference))
    return LogRank(chi2=chi2, p=float(stats.chi2.sf(chi2, len(kept))))
