"""Several Cox models of the same patients as one: stacked by weights that are not negative, chosen
inside the training rows.

Each branch brings what it foretold of every training row by inner folds that had not seen the row
(prevalidated scores), so that a branch that only remembers its training rows gets no weight.

Source: Breiman, Machine Learning 24 (1996) 49-64 (stacked regressions, weights not negative); van
der Laan, Polley & Hubbard, Stat Appl Genet Mol Biol 6 (2007) 25 (super learner); Tibshirani &
Efron, Stat Appl Genet Mol Biol 1 (2002) 1 (pre-validation).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pathoml.survival.cox import fit_cox
from pathoml.types import Array

RIDGE = 1.0  # an event's worth, on log-risks in SD: two branches that say the same share the weight
LEAST = 0.1  # of the first branch where no inner fold supports any: kept small, not silenced


def stacking_weights(
    prevalidated: npt.ArrayLike,
    time_months: npt.ArrayLike,
    event: npt.ArrayLike,
    *,
    entry_months: npt.ArrayLike | None = None,
    stratum: npt.ArrayLike | None = None,
    offset: npt.ArrayLike | None = None,
) -> Array:
    """Return (K,) weights, none negative, with which the log-risks of K branches are added.

    The branch with the most negative coefficient is left out and the rest fitted again, until none
    is negative. The sum is calibrated, as the weights are a Cox model of the prevalidated scores.

    Args:
        prevalidated: (B, K) log-risk of each training row by inner folds that did not see it; the
            first branch is the one to fall back on.
        time_months: (B,) months to the event or the last visit.
        event: (B,) bool or 0/1.
        entry_months: (B,) when observation began; None: at time zero for all.
        stratum: (B,) labels; each has its own baseline hazard, and no risk set crosses it.
        offset: (B,) log-risk that is known already and is added with coefficient 1.

    Raises:
        CohortError: no event.

    >>> time, event = [1.0, 2.0, 3.0, 4.0], [1, 1, 1, 1]
    >>> stacking_weights([[2, 2], [0, 1], [1, 0], [-1, 3]], time, event).round(2)
    array([0.67, 0.05])
    """
    scores = np.asarray(prevalidated, dtype=np.float64)
    spread = scores.std(axis=0)
    unit = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)  # (K,)
    weights = np.zeros(scores.shape[1])
    active = np.flatnonzero(unit > 0)
    while len(active):
        fit = fit_cox(
            scores[:, active] * unit[active],
            time_months,
            event,
            ridge=RIDGE,
            entry_months=entry_months,
            stratum=stratum,
            offset=offset,
        )
        if (fit.coefficients >= 0).all():
            weights[active] = fit.coefficients * unit[active]
            break
        active = np.delete(active, int(np.argmin(fit.coefficients)))
    if not (weights > 0).any():
        weights[0] = LEAST
    return weights
