"""Clinical covariates as a matrix, learned on training rows: standardised numbers, one-hot
categories, nothing missing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np

from pathoml.errors import CohortError
from pathoml.types import Array

MISSING = "missing"  # the level of a category that is not there


def parameters_with_score(columns: Mapping[str, Sequence[object]]) -> int:
    """Return the coefficients of one Cox model of these columns and a score.

    >>> parameters_with_score({"age": [61, 48, None], "subtype": ["LMS", "UPS", "LPS"]})
    4
    >>> parameters_with_score({})
    1
    """
    return (len(fit_design(columns).names) if columns else 0) + 1


@dataclass(frozen=True, kw_only=True)
class NumericColumn:
    """A number: missing values get the training median, then the training mean is subtracted and
    the SD divided by.
    """

    name: str
    median: float
    mean: float
    sd: float


@dataclass(frozen=True, kw_only=True)
class CategoryColumn:
    """A category: an indicator for each level but the reference, the commonest in training."""

    name: str
    reference: str
    levels: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Design:
    """What was learned on the training rows."""

    columns: tuple[NumericColumn | CategoryColumn, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of the matrix, a category as `name=level`."""
        named: list[str] = []
        for column in self.columns:
            if isinstance(column, NumericColumn):
                named.append(column.name)
            else:
                named.extend(f"{column.name}={level}" for level in column.levels)
        return tuple(named)

    def transform(self, columns: Mapping[str, Sequence[object]]) -> Array:
        """Return (B, p) for any rows; a level unknown to training counts as the reference."""
        n = _number_of_rows(columns)
        blocks: list[Array] = [np.empty((n, 0))]
        for column in self.columns:
            if column.name not in columns:
                raise CohortError(
                    f"Covariate {column.name!r} is missing; the model was fitted with it."
                )
            values = columns[column.name]
            if isinstance(column, NumericColumn):
                number = _numbers(column.name, values)
                number = np.where(np.isnan(number), column.median, number)
                blocks.append(((number - column.mean) / column.sd)[:, None])  # (B, 1)
            else:
                level = np.array([_level(value) for value in values], dtype=object)
                blocks.append(
                    (level[:, None] == np.array(column.levels, dtype=object)).astype(np.float64)
                )  # (B, L - 1)
        return np.concatenate(blocks, axis=1)  # (B, p)


def fit_design(columns: Mapping[str, Sequence[object]]) -> Design:
    """Learn medians, means, SDs and levels from the training rows.

    A column with any text is a category, any other a number. Columns that are constant in training
    are left out.

    Args:
        columns: name to one value a patient: numbers, text, or missing (None, NaN, empty text).

    >>> sex, centre = ["f", "f", "m"], ["A", "A", "A"]
    >>> design = fit_design({"age": [40.0, 60.0, None], "sex": sex, "centre": centre})
    >>> design.names
    ('age', 'sex=m')
    >>> design.transform({"age": [50.0, None], "sex": ["m", "unheard of"], "centre": ["B", "B"]})
    array([[0., 1.],
           [0., 0.]])
    """
    _number_of_rows(columns)
    learned = (
        _learn_category(name, values)
        if any(_is_text(value) for value in values)
        else _learn_number(name, values)
        for name, values in columns.items()
    )
    return Design(columns=tuple(column for column in learned if column is not None))


def _learn_number(name: str, values: Sequence[object]) -> NumericColumn | None:
    number = _numbers(name, values)
    known = number[~np.isnan(number)]
    if len(known) == 0 or (known == known[0]).all():
        return None
    median = float(np.median(known))
    filled = np.where(np.isnan(number), median, number)
    return NumericColumn(
        name=name, median=median, mean=float(filled.mean()), sd=float(filled.std())
    )


def _learn_category(name: str, values: Sequence[object]) -> CategoryColumn | None:
    count = Counter(_level(value) for value in values)
    if len(count) == 1:
        return None
    reference = min(count, key=lambda level: (-count[level], level))
    return CategoryColumn(
        name=name, reference=reference, levels=tuple(sorted(set(count) - {reference}))
    )


def _numbers(name: str, values: Sequence[object]) -> Array:
    number = np.empty(len(values))
    for row, value in enumerate(values):
        if is_missing(value):
            number[row] = math.nan
        elif isinstance(value, (Real, np.bool_)) and math.isfinite(value):
            number[row] = float(value)
        else:
            raise CohortError(
                f"Covariate {name!r} of row {row} is {value!r}, expected a number. Correct it or"
                " leave it empty."
            )
    return number


def _level(value: object) -> str:
    return MISSING if is_missing(value) else str(value).strip()


def _is_text(value: object) -> bool:
    return isinstance(value, str) and not is_missing(value)


def is_missing(value: object) -> bool:
    """Return whether a covariate's cell is empty: None, NaN, or text of nothing but spaces.

    >>> [is_missing(cell) for cell in (None, float("nan"), " ", 0, "no")]
    [True, True, True, False, False]
    """
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, Real) and math.isnan(value))


def _number_of_rows(columns: Mapping[str, Sequence[object]]) -> int:
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) != 1:
        raise CohortError(
            f"Covariates must all have one value a patient; their lengths are {lengths}."
        )
    return next(iter(lengths.values()))
