"""The probability of not being censored yet, by which those who are seen stand for those who are
not.

G is the Kaplan-Meier estimate with censoring as the event; at one and the same time events come
before censorings. A patient with an event at T is weighted by 1 / G(T-), one who is still followed
at a horizon t by 1 / G(t). Taking G(T) instead is off by 1e-4 and more.

Source: Graf et al., Stat Med 18 (1999) 2529-2545; Gerds & Schumacher, Biom J 48 (2006) 1029-1040.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pathoml.types import Array

Bools = npt.NDArray[np.bool_]


def uncensored_before(counts: Array, time: Array, event: Bools) -> Array:
    """Return G(T-) at each patient's time for every draw: (R, B) from counts (R, B), how often a
    patient is in a draw.

    A patient who is not drawn may get 1 in place of 0 / 0.

    >>> time, event = np.array([1.0, 2.0, 2.0, 3.0]), np.array([True, False, True, True])
    >>> uncensored_before(np.ones((1, 4)), time, event).round(3)
    array([[1. , 1. , 1. , 0.5]])
    """
    unique, at = np.unique(time, return_inverse=True)
    after = _censoring_curve(counts, at, event, len(unique))
    before = np.ones_like(after)
    before[:, 1:] = after[:, :-1]
    # Zero only where nobody of the draw is left: such patients are not in the draw, and count 0
    # times.
    before[before <= 0] = 1.0
    at_patient: Array = before[:, at]  # (R, B)
    return at_patient


def uncensored_at(counts: Array, time: Array, event: Bools, *, months: float) -> Array:
    """Return G(t) at one horizon for every draw, (R,); 1 where it would be 0 and nobody is left."""
    unique, at = np.unique(time, return_inverse=True)
    last = int(np.searchsorted(unique, months, side="right")) - 1
    if last < 0:
        return np.ones(len(counts))
    value = _censoring_curve(counts, at, event, len(unique))[:, last]
    return np.where(value > 0, value, 1.0)


def _censoring_curve(counts: Array, at: npt.NDArray[np.intp], event: Bools, times: int) -> Array:
    """Return G after each unique time, (R, T)."""
    order = np.argsort(at, kind="stable")
    start = np.searchsorted(at[order], np.arange(times))
    sorted_counts = counts[:, order]
    left = np.add.reduceat(
        sorted_counts, start, axis=1
    )  # (R, T) everyone whose follow-up ends at this time
    died = np.add.reduceat(sorted_counts * event[order], start, axis=1)  # (R, T)
    at_risk = (
        left[:, ::-1].cumsum(axis=1)[:, ::-1] - died
    )  # (R, T) an event comes before a censoring at the same time
    stays = np.divide(
        at_risk - (left - died), at_risk, out=np.ones_like(at_risk), where=at_risk > 0
    )
    curve: Array = np.cumprod(stays, axis=1)
    return curve
