"""The columns that describe the patients in Table 1, and that the score is held against: the
covariates and the treatment of study.yaml, what is usually reported where patients.csv has it, and
specimen and organ of the slides.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from pathoml.evaluation.evidence import Evidence
from pathoml.evaluation.recipe import DESCRIBING_COLUMNS, columns_named
from pathoml.survival.design import is_missing
from pathoml.types import Array, Labels

TREATED, UNTREATED = "yes", "no"  # how a treatment's 1 and 0 are shown
FEW_NUMBERS = 2  # a number with no more values than this is a category

Cells = Sequence[object]  # (B,) floats with NaN of a number; text with "" of a category


def described_columns(evidence: Evidence) -> dict[str, Array | Labels]:
    """Return (B,) each: floats, NaN for an empty cell, or text, "" for an empty cell.

    A column with any text, or with two values only, is a category. One whose cells are all empty is
    left out.
    """
    found: dict[str, Cells] = dict(evidence.clinical)
    treatment = evidence.config.cohort.treatment
    if treatment and evidence.arms is not None:
        found[treatment] = [_arm(value) for value in evidence.arms.tolist()]
    for name in columns_named(evidence.table, DESCRIBING_COLUMNS):
        found.setdefault(name, evidence.table[name])
    for name in ("specimen", "organ"):
        if name in evidence.strata:
            found.setdefault(name, evidence.strata[name].tolist())
    typed = {name: as_described(cells) for name, cells in found.items()}
    return {name: values for name, values in typed.items() if known(values).any()}


def as_described(cells: Iterable[object]) -> Array | Labels:
    """Return (B,) floats, or text where a cell is text or there are no more than two values.

    >>> as_described([61.0, None, 48.0, 50.5])
    array([61. ,  nan, 48. , 50.5])
    >>> as_described([1.0, 0.0, None]).tolist(), as_described(["LMS", 2.0]).tolist()
    (['1', '0', ''], ['LMS', '2'])
    """
    values = [None if is_missing(cell) else cell for cell in cells]
    there = {value for value in values if value is not None}
    if len(there) <= FEW_NUMBERS or any(isinstance(value, str) for value in there):
        return np.array(["" if value is None else _text(value) for value in values], dtype=str)
    return np.array([np.nan if v is None else float(v) for v in values], dtype=np.float64)  # type: ignore[arg-type]


def known(values: Array | Labels) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return (B,) whether a cell is there."""
    return values != "" if values.dtype.kind == "U" else ~np.isnan(values.astype(np.float64))


def _arm(value: float) -> str | None:
    return None if value != value else TREATED if value == 1 else UNTREATED


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).strip()
