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
