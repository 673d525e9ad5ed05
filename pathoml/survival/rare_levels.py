"""Which coefficients of a Cox model the data can say anything of: a rare level costs that level,
not the whole model.

The likelihood of a level none of whose patients had an event is largest at a hazard ratio of 0, and
that of a level all of whose patients had theirs before anybody else at infinity: the fit to all
never converges. Its limit is, exactly, the fit in which the patients of that level are a stratum of
their own, where they are compared with one another only. A column that others determine is left
out, the later of them as in R coxph; the model is the same. Whatever else has no coefficient is
merged with the reference of its covariate, the rarest level first.

Source: Heinze & Schemper, Biometrics 57 (2001) 114-119 (monotone likelihood). Checked against R
coxph in tests/survival/test_rare_levels.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pathoml.survival.cox import NotIdentified, fit_cox
from pathoml.survival.outcome import checked_entry, checked_groups, checked_outcome
from pathoml.types import Array

# share of a column's length that no earlier column explains: less is rounding
ALIASED = 1e-9


@dataclass(frozen=True, kw_only=True)
class Estimable:
    """The columns that a Cox model can have, and what became of the others."""

    columns: npt.NDArray[np.bool_]  # (p,) that stay
    stratum: npt.NDArray[np.int64]  # (B,) each has its own baseline hazard
    extreme: npt.NDArray[np.int64]  # (B,) -1: a hazard of 0, 1: before everybody else, 0: neither
    left_out: tuple[tuple[str, str], ...]  # (name, why)

    @property
    def said(self) -> str:
        """A sentence on what was left out, "" if nothing was."""
        if not self.left_out:
            return ""
        return "Left out: " + "; ".join(f"{name} ({why})" for name, why in self.left_out) + "."


def estimable_columns(
    x: npt.ArrayLike,
    time_months: npt.ArrayLike,
    event: npt.ArrayLike,
    *,
    names: Sequence[str],
    stratum: npt.ArrayLike | None = None,
    entry_months: npt.ArrayLike | None = None,
) -> Estimable:
    """Return the columns of a matrix that a Cox model of these patients can have.

    Args:
        x: (B, p) of survival/design.py: numbers, and a 0 or 1 for each level.
        time_months: (B,) months to the event or the last visit.
        event: (B,) bool or 0/1.
        names: (p,) of the columns.
        stratum: (B,) labels of the model, if it has any.
        entry_months: (B,) when observation began; None: at time zero for all.

    Raises:
        CohortError: no event, or a number that separates events from the rest: no level of it can
            be left out.

    >>> x = np.array([[1.0, 0.3], [0.0, -0.2], [0.0, 0.9], [0.0, 0.1]])
    >>> found = estimable_columns(x, [1, 2, 3, 4], [0, 1, 1, 0], names=["stage=IV", "age"])
    >>> found.said, found.extreme.tolist()
    ('Left out: stage=IV (no event among its 1 patient).', [-1, 0, 0, 0])
    """
    time, seen = checked_outcome(time_months, event)
    given, n = np.asarray(x, dtype=np.float64), len(time)
    entry = checked_entry(entry_months, time)
    strata = (
        np.zeros(n, dtype=np.int64) if stratum is None else checked_groups(stratum, n, "stratum")
    )
    kept, extreme = np.ones(given.shape[1], dtype=bool), np.zeros(n, dtype=np.int64)
    left_out: list[tuple[str, str]] = []

    def leave_out(column: int, why: str) -> None:
        kept[column] = False
        left_out.append((names[column], why))

    levels = is_level(given)
    for column in np.flatnonzero(levels).tolist():
        mine = given[:, column] == 1
        size = f"{int(mine.sum())} patient{'s' if mine.sum() != 1 else ''}"
        if not mine.any():
            leave_out(column, "nobody has it")
        elif not (mine & seen).any():
            leave_out(column, f"no event among its {size}")
            extreme[mine], strata = -1, strata * 2 + mine
        elif not mine.all() and _is_before_all_others(mine, time, seen, strata, entry):
            leave_out(column, f"all events of its {size} came before those of all others")
            extreme[mine & (extreme == 0)], strata = 1, strata * 2 + mine
        strata = checked_groups(strata, n, "stratum")
    for column in _aliased(given, strata, kept):
        leave_out(column, "other columns determine it")
    while kept.any():
        try:
            fit_cox(
                given[:, kept],
                time,
                seen,
                stratum=strata,
                entry_months=entry,
                names=[name for name, stays in zip(names, kept) if stays],
            )
            break
        except NotIdentified as error:
            blamed = [int(np.flatnonzero(kept)[k]) for k in error.columns]
            candidates = [k for k in blamed if levels[k]]
            if not candidates:
                raise
            rarest = min(candidates, key=lambda k: (given[:, k].sum(), -k))
            leave_out(rarest, "too few patients and events to tell it from the others")
    return Estimable(columns=kept, stratum=strata, extreme=extreme, left_out=tuple(left_out))


def is_level(x: Array) -> npt.NDArray[np.bool_]:
    """Return which columns (p,) hold 0 and 1 only."""
    return np.asarray(((x == 0) | (x == 1)).all(axis=0), dtype=bool)


def independent_columns(x: Array) -> npt.NDArray[np.bool_]:
    """Return which columns (p,) those before them, and a constant, do not determine.

    >>> independent_columns(np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])).tolist()
    [True, True, False]
    """
    basis = np.zeros((len(x), 0))
    kept = np.zeros(x.shape[1], dtype=bool)
    for column in range(x.shape[1]):
        own = x[:, column] - x[:, column].mean()
        length = float(np.linalg.norm(own))
        for _ in range(2):  # twice is enough (Giraud et al. 2005)
            own = own - basis @ (basis.T @ own)
        rest = float(np.linalg.norm(own))
        kept[column] = rest > ALIASED**0.5 * length and length > 0
        if kept[column]:
            basis = np.column_stack([basis, own / rest])
    return kept


def _aliased(x: Array, strata: npt.NDArray[np.int64], kept: npt.NDArray[np.bool_]) -> list[int]:
    """Return the kept columns that those before them determine within every stratum."""
    within = x[:, kept].copy()
    for value in np.unique(strata):
        rows = strata == value
        within[rows] -= within[rows].mean(axis=0)
    found = independent_columns(within)
    return [int(k) for k in np.flatnonzero(kept)[~found]]


def _is_before_all_others(
    mine: npt.NDArray[np.bool_],
    time: Array,
    event: npt.NDArray[np.bool_],
    strata: npt.NDArray[np.int64],
    entry: Array | None,
) -> bool:
    """Return whether nobody of a level is at risk when anybody else has an event, and others are
    when one of the level has.
    """
    compared = False
    for value in np.unique(strata[mine]):
        inside = strata == value
        others = time[inside & ~mine & event]  # (E,)
        members = inside & mine
        under = time[members] >= others[:, None]
        if entry is not None:
            under &= entry[members] < others[:, None]
        if under.any():
            return False
        own = time[members & event]
        beside = time[inside & ~mine] >= own[:, None]
        if entry is not None:
            beside &= entry[inside & ~mine] < own[:, None]
        compared |= bool(beside.any())
    return compared
