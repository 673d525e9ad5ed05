"""The AUC at a horizon: does the score order those with an event by then above those still without?

Cumulative cases, dynamic controls; a case is weighted by 1 / G(T-). Equal scores count one half.
Source: Uno et al., JASA 102 (2007) 527-537; Blanche et al., Biom J 55 (2013) 687-704.
Checked against R riskRegression::Score in tests/survival/test_agreement_with_r.py.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pathoml.errors import CohortError
from pathoml.survival.brier import require_at_risk
from pathoml.survival.censoring import uncensored_before
from pathoml.survival.estimate import Estimate, percentile_estimate
from pathoml.survival.outcome import checked_outcome, checked_score
from pathoml.types import Array


def time_dependent_auc(
    log_risk: npt.ArrayLike,
    time_months: npt.ArrayLike,
    event: npt.ArrayLike,
    *,
    months: float,
    counts: Array | None = None,
) -> Estimate:
    """Return the AUC at the horizon, with a percentile interval if bootstrap draws are given.

    Args:
        log_risk: (B,) higher means earlier event.
        time_months: (B,) months to the event or the last visit.
        event: (B,) bool or 0/1.
        months: the horizon.
        counts: (R, B) bootstrap draws (concordance.draw_counts); None: no interval.

    Raises:
        CohortError: no event by the horizon, or fewer than 10 patients followed beyond it.
    """
    time, seen = checked_outcome(time_months, event)
    score = checked_score(log_risk, len(time))
    require_at_risk(time, months)
    case, control = np.flatnonzero(seen & (time <= months)), np.flatnonzero(time > months)
    if len(case) == 0:
        raise CohortError(f"not estimable: no event by {months:g} months.")
    lower = score[control] < score[case, None]
    credit = (lower + 0.5 * (score[control] == score[case, None])).astype(
        np.float32
    )  # (cases, controls)

    def auc(draws: Array) -> Array:
        weight = draws[:, case] / uncensored_before(draws, time, seen)[:, case]  # (R, cases)
        won = (weight * (draws[:, control].astype(np.float32) @ credit.T)).sum(axis=1)
        pairs = weight.sum(axis=1) * draws[:, control].sum(axis=1)
        value: Array = np.divide(won, pairs, out=np.full(len(draws), np.nan), where=pairs > 0)
        return value

    value = float(auc(np.ones((1, len(time))))[0])
    return percentile_estimate(
        value, None if counts is None else auc(counts), n=len(time), events=len(case)
    )
