"""Decision curves under censoring: is treating those above a risk threshold worth more than
treating all, or none?

Net benefit = P(event, risk >= threshold) - P(no event, risk >= threshold) * threshold / (1 -
threshold), the event probability of those above the threshold by Kaplan-Meier. Treating nobody has
0.

Source: Vickers & Elkin, Med Decis Making 26 (2006) 565-574; Vickers et al., BMC Med Inform Decis
Mak 8 (2008) 53 (censoring). Checked against R in tests/survival/test_agreement_with_r.py.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pathoml.errors import CohortError
from pathoml.survival.brier import require_at_risk
from pathoml.survival.kaplan_meier import kaplan_meier, survival_at
from pathoml.survival.outcome import checked_outcome, checked_score
from pathoml.types import Array

THRESHOLDS = tuple(k / 20 for k in range(1, 20))  # 5 % to 95 %
FEWEST_DRAWS = 0.5  # share of the draws that have a number; of fewer there is no interval


def net_benefit(
    risk: npt.ArrayLike,
    time_months: npt.ArrayLike,
    event: npt.ArrayLike,
    *,
    months: float,
    thresholds: npt.ArrayLike = THRESHOLDS,
) -> Array:
    """Return the net benefit of treating the patients at or above each threshold, (K,).

    NaN where those above the threshold are not followed until the horizon.

    Args:
        risk: (B,) predicted probability of an event by the horizon.
        time_months: (B,) months to the event or the last visit.
        event: (B,) bool or 0/1.
        months: the horizon.
        thresholds: (K,) between 0 and 1.

    All are found, none in vain:

    >>> risk, time, event = [0.9] * 10 + [0.1] * 10, [1.0] * 10 + [9.0] * 10, [1] * 10 + [0] * 10
    >>> net_benefit(risk, time, event, months=5.0, thresholds=[0.5])
    array([0.5])
    """
    time, seen = checked_outcome(time_months, event)
    probability, asked = (
        checked_score(risk, len(time), "risk"),
        np.asarray(thresholds, dtype=np.float64),
    )
    if not ((asked > 0) & (asked < 1)).all():
        raise CohortError("Thresholds of a decision curve lie between 0 and 1.")
    require_at_risk(time, months)
    benefit = np.zeros(len(asked))
    for k, threshold in enumerate(asked):
        treated = probability >= threshold
        if treated.any():
            event_free = float(survival_at(kaplan_meier(time[treated], seen[treated]), months))
            benefit[k] = treated.mean() * (
                (1 - event_free) - event_free * threshold / (1 - threshold)
            )
    return benefit


def net_benefit_of_treating_all(
    time_months: npt.ArrayLike, event: npt.ArrayLike, months: float, *, thresholds: npt.ArrayLike
) -> Array:
    """Return the net benefit of treating everyone, (K,)."""
    return net_benefit(
        np.ones(len(np.asarray(event))), time_months, event, months=months, thresholds=thresholds
    )


def net_benefit_draws(
    risk: npt.ArrayLike,
    time_months: npt.ArrayLike,
    event: npt.ArrayLike,
    *,
    months: float,
    counts: Array,
    thresholds: npt.ArrayLike = THRESHOLDS,
) -> Array:
    """Return the net benefit at each threshold in each bootstrap draw of patients, (R, K); NaN
    where those above the threshold are not followed until the horizon.

    Args:
        risk, time_months, event, months, thresholds: as net_benefit.
        counts: (R, B) how often each patient is in each draw (concordance.draw_counts).

    A draw that takes everybody once is the cohort:

    >>> risk, time, event = [0.9, 0.8, 0.2, 0.1], [1.0, 9.0, 2.0, 9.0], [1, 0, 1, 0]
    >>> asked = {"months": 5.0, "thresholds": [0.5], "counts": np.ones((1, 4))}
    >>> net_benefit_draws(risk, time, event, **asked)  # half are treated, half of these in vain
    array([[0.]])
    """
    time, seen = checked_outcome(time_months, event)
    probability = checked_score(risk, len(time), "risk")
    asked = np.asarray(thresholds, dtype=np.float64)
    order = np.argsort(time, kind="stable")
    time, seen, probability = time[order], seen[order], probability[order]
    drawn = np.asarray(counts, dtype=np.float64)[:, order]  # (R, B)
    total = drawn.sum(axis=1)
    benefit = np.zeros((len(drawn), len(asked)))
    alike: dict[bytes, Array] = {}  # thresholds above which the same patients lie
    for k, threshold in enumerate(asked):
        treated = probability >= threshold
        if not treated.any():
            continue
        key = treated.tobytes()
        if key not in alike:
            alike[key] = _event_free(drawn[:, treated], time[treated], seen[treated], months)
        share = drawn[:, treated].sum(axis=1) / total
        weight = threshold / (1 - threshold)
        free = np.where(share > 0, alike[key], 1.0)
        benefit[:, k] = share * ((1 - free) - free * weight)
        benefit[share == 0, k] = 0.0
    return benefit


def benefit_interval(draws: Array) -> tuple[Array, Array]:
    """Return the ends of the 95 % percentile interval of (R, K) draws, (K,) each; NaN where too few
    draws have a number.
    """
    low, high = np.full((2, draws.shape[1]), np.nan)
    enough = np.isfinite(draws).mean(axis=0) > FEWEST_DRAWS
    if enough.any():
        low[enough], high[enough] = np.nanquantile(draws[:, enough], (0.025, 0.975), axis=0)
    return low, high


def _event_free(counts: Array, time: Array, event: npt.NDArray[np.bool_], months: float) -> Array:
    """Return Kaplan-Meier survival at the horizon in every draw, (R,), of patients by ascending
    time; NaN where nobody is followed so long and the curve has not reached 0.
    """
    times, first = np.unique(time, return_index=True)
    risk = counts[:, ::-1].cumsum(axis=1)[:, ::-1][:, first]  # (R, T)
    events = np.add.reduceat(counts * event, first, axis=1)  # (R, T)
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = np.where(risk > 0, 1 - events / risk, 1.0)
    survival: Array = factor[:, times <= months].prod(axis=1)
    followed = counts[:, time >= months].sum(axis=1) > 0
    return np.where(followed | (survival <= 0), survival, np.nan)
