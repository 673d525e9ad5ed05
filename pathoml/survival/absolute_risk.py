"""Absolute risks from a Cox model: the baseline hazard, and predictions for patients whom the model
has not seen.

Source: Breslow's estimator with Efron's ties, as R survfit(coxph(ties = "efron")).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pathoml.errors import CohortError
from pathoml.survival.cox import RiskSets
from pathoml.survival.outcome import at_rows, checked_entry, checked_outcome, checked_score
from pathoml.types import Array

FitLinear = Callable[
    [npt.NDArray[np.bool_]], Array
]  # training rows -> (B,) linear predictor of everyone


@dataclass(frozen=True, kw_only=True)
class BaselineHazard:
    """The cumulative hazard where the linear predictor is zero; 0 before the first event."""

    times: Array  # (K,) months, ascending, of events
    cumulative: Array  # (K,)

    def at(self, months: npt.ArrayLike) -> Array:
        """Return the cumulative hazard at the given months."""
        value: Array = np.append(0.0, self.cumulative)[
            np.searchsorted(self.times, np.asarray(months, dtype=np.float64), side="right")
        ]
        return value


def baseline_hazard(
    predictor: npt.ArrayLike,
    time_months: npt.ArrayLike,
    event: npt.ArrayLike,
    *,
    entry_months: npt.ArrayLike | None = None,
) -> BaselineHazard:
    """Return the baseline of a Cox model from its linear predictor on the rows it was fitted to.

    >>> baseline_hazard([0.0, 0.0, 0.0], [1, 2, 3], [1, 1, 0]).cumulative  # 1/3, and 1/2 more
    array([0.33333333, 0.83333333])
    """
    time, seen = checked_outcome(time_months, event)
    if not seen.any():
        raise CohortError(f"No event among {len(time)} patients: there is no baseline hazard.")
    given = checked_score(predictor, len(time), "predictor")
    part = RiskSets(
        time, seen, np.zeros(len(time), dtype=np.int64), entry=checked_entry(entry_months, time)
    ).strata[0]
    _, weight = part.weights(given)
    jump = np.exp(-given.max()) / part.at_risk(
        weight
    )  # (E,) from late to early; weights() had removed the maximum
    times, at = np.unique(part.event_time, return_inverse=True)
    return BaselineHazard(times=times, cumulative=np.cumsum(np.bincount(at, weights=jump)))


def cross_fitted_hazard(
    fit: FitLinear,
    time_months: npt.ArrayLike,
    event: npt.ArrayLike,
    *,
    fold: npt.ArrayLike,
    months: Sequence[float],
    entry_months: npt.ArrayLike | None = None,
) -> tuple[Array, Array]:
    """Return the cumulative hazard that models of the other folds foretell each patient.

    Args:
        fit: fits a model to the training rows and returns the linear predictor of everyone; all
            zero gives Kaplan-Meier's like.
        fold: (B,) labels; a fold's patients are predicted by a model and a baseline of all the
            other patients.
        months: M horizons.
        entry_months: (B,) when observation began; None: at time zero for all.

    Returns:
        (B, M) from time zero to the horizons, and (B,) from each patient's entry to the patient's
        own time.
    """
    time, seen = checked_outcome(time_months, event)
    entry, label = checked_entry(entry_months, time), np.asarray(fold)
    at_months, at_own = np.empty((len(time), len(months))), np.empty(len(time))
    for name in np.unique(label):
        test, train = label == name, label != name
        predictor = fit(train)
        baseline = baseline_hazard(
            predictor[train], time[train], seen[train], entry_months=at_rows(entry, train)
        )
        relative = np.exp(predictor[test])
        at_months[test] = relative[:, None] * baseline.at(months)
        before = 0.0 if entry is None else baseline.at(entry[test])
        at_own[test] = relative * (baseline.at(time[test]) - before)
    return at_months, at_own


def patterned_folds(event: npt.ArrayLike, folds: int = 5) -> npt.NDArray[np.str_]:
    """Return folds for scores that came without: events and the others are dealt out in turn, in
    the order of the table.

    >>> patterned_folds([1, 1, 0, 0, 0], folds=2).tolist()
    ['1', '2', '1', '2', '1']
    """
    seen = np.asarray(event).astype(bool)
    turn = np.where(seen, np.cumsum(seen), np.cumsum(~seen)) - 1
    return (turn % folds + 1).astype(str)
