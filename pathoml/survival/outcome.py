"""What every statistic here takes in: follow-up times and events of the same patients, checked
once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pathoml.errors import CohortError


def checked_outcome(
    time_months: npt.ArrayLike, event: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return times as float64 and events as bool, or say what is wrong with them.

    >>> checked_outcome([3, 5], [1, 0])
    (array([3., 5.]), array([ True, False]))
    """
    time = np.asarray(time_months, dtype=np.float64)
    seen = np.asarray(event)
    if time.ndim != 1 or seen.shape != time.shape:
        raise CohortError(
            f"time_months has shape {time.shape}, event {seen.shape}; give one of each for every"
            " patient."
        )
    if len(time) == 0:
        raise CohortError("No patients: nothing to estimate. Check which rows were kept.")
    if not np.isfinite(time).all():
        row = int(np.flatnonzero(~np.isfinite(time))[0])
        raise CohortError(f"time_months of row {row} is {time[row]}. Correct it or drop the row.")
    if not np.isin(seen, (0, 1)).all():
        row = int(np.flatnonzero(~np.isin(seen, (0, 1)))[0])
        raise CohortError(
            f"event of row {row} is {seen[row]!r}, expected 0 or 1. "
            "Count a competing event as censored for a cause-specific analysis, or drop the row."
        )
    return time, seen.astype(bool)


def checked_score(
    log_risk: npt.ArrayLike, n: int, name: str = "log_risk"
) -> npt.NDArray[np.float64]:
    """Return one finite score for each of n patients as float64, or say which row has none."""
    score = np.asarray(log_risk, dtype=np.float64)
    if score.shape != (n,):
        raise CohortError(
            f"{name} has shape {score.shape}, but there are {n} patients; give one value for each."
        )
    if not np.isfinite(score).all():
        row = int(np.flatnonzero(~np.isfinite(score))[0])
        raise CohortError(
            f"{name} of row {row} is {score[row]}. Every patient needs a finite score; drop the"
            " others first."
        )
    return score


def checked_entry(
    entry_months: npt.ArrayLike | None, time: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64] | None:
    """Return entry times as float64, each before its follow-up ends; None stays None."""
    if entry_months is None:
        return None
    entry = checked_score(entry_months, len(time), "entry_months")
    if not (entry < time).all():
        row = int(np.flatnonzero(~(entry < time))[0])
        raise CohortError(
            f"Row {row} enters at {entry[row]:g} months and leaves at {time[row]:g}: exit must come"
            " after entry."
        )
    return entry


def at_rows(values: npt.NDArray[Any] | None, rows: Any) -> npt.NDArray[Any] | None:
    """Return the values of some rows; None stays None, as entry times may be.

    >>> at_rows(np.array([0.0, 3.0]), [1]), at_rows(None, [1])
    (array([3.]), None)
    """
    return None if values is None else values[rows]


def checked_weight(weight: npt.ArrayLike | None, n: int) -> npt.NDArray[np.float64] | None:
    """Return weights as float64, none negative and one at least positive; None stays None."""
    if weight is None:
        return None
    checked = checked_score(weight, n, "weight")
    if (checked < 0).any() or not checked.any():
        raise CohortError("Weights must not be negative, and not all zero.")
    return checked


def checked_groups(group: npt.ArrayLike, n: int, name: str) -> npt.NDArray[np.int64]:
    """Return group numbers 0, 1, ... in sorted order of the labels.

    >>> checked_groups(["B", "A", "B"], 3, "stratum")
    array([1, 0, 1])
    """
    label: npt.NDArray[Any] = np.asarray(group)
    if label.shape != (n,):
        raise CohortError(
            f"{name} has shape {label.shape}, but there are {n} patients; give one label for each."
        )
    if label.dtype == object:
        label = label.astype(str)  # a centre may be 1 in one row and "1" in another
    return np.unique(label, return_inverse=True)[1].astype(np.int64)
