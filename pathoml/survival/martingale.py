"""Martingale residuals of a Cox model (Breslow), by stratum: what is left to explain, and a
permutation test of whatever may explain it.

Source: Therneau, Grambsch & Fleming, Biometrika 77 (1990) 147-160.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pathoml.survival.outcome import checked_entry, checked_groups, checked_outcome, checked_score
from pathoml.types import Array


def martingale_residuals(
    log_risk: npt.ArrayLike,
    time_months: npt.ArrayLike,
    event: npt.ArrayLike,
    *,
    stratum: npt.ArrayLike,
    entry_months: npt.ArrayLike | None = None,
) -> Array:
    """Return (B,) event minus expected events under a linear predictor; they sum to zero in each
    stratum.

    Args:
        log_risk: (B,) the linear predictor.
        entry_months: (B,) when observation began: what is expected before is not counted; None: at
            time zero for all.

    >>> martingale_residuals([0.0, 0.0], [1, 2], [1, 1], stratum=["A", "A"])  # hazards 1/2, 1
    array([ 0.5, -0.5])
    """
    time, seen = checked_outcome(time_months, event)
    hazard = np.exp(checked_score(log_risk, len(time)))
    group = checked_groups(stratum, len(time), "stratum")
    entry = checked_entry(entry_months, time)
    residual = np.zeros(len(time))
    for value in np.unique(group):
        rows = np.flatnonzero(group == value)
        at = np.unique(time[rows][seen[rows]])  # event times
        events = np.array([(seen[rows] & (time[rows] == t)).sum() for t in at])
        under = time[rows] >= at[:, None]  # (T, b)
        if entry is not None:
            under &= entry[rows] < at[:, None]
        at_risk = under @ hazard[rows]
        run_up = np.concatenate([[0.0], np.cumsum(events / at_risk)])
        residual[rows] = (
            seen[rows] - hazard[rows] * run_up[np.searchsorted(at, time[rows], side="right")]
        )
        if entry is not None:
            residual[rows] += hazard[rows] * run_up[np.searchsorted(at, entry[rows], side="right")]
    return residual


def permutation_p(
    residual: Array, values: Array, group: npt.ArrayLike, *, permutations: int, seed: int
) -> Array:
    """Return (K,) two-sided p values of sum(residual x value) when values are permuted among the
    patients of a group.

    Args:
        residual: (B,) martingale residuals of the model without the values.
        values: (B, K); the columns are permuted together.
        group: (B,) labels; patients change places within them only.
    """
    rng = np.random.default_rng(seed)
    labels = checked_groups(group, len(residual), "group")
    rows_of = [np.flatnonzero(labels == value) for value in np.unique(labels)]
    observed = np.abs(residual @ values)
    as_large = np.zeros(values.shape[1])
    order = np.arange(len(residual))
    for _ in range(permutations):
        for rows in rows_of:
            order[rows] = rng.permutation(rows)
        as_large += np.abs(residual @ values[order]) >= observed - 1e-12
    return np.asarray((1 + as_large) / (permutations + 1))
