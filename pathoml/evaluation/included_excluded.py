"""Who is analysed beside who is not: the table that shows a reader whether the analysed patients
are like the others.

Differences are in units of the pooled SD (standardised mean difference), which does not grow with
the number of patients as a p does.

Source: Austin, Stat Med 28 (2009) 3083-3107.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from pathoml.store.tables import parse_number

MOST_LEVELS = 12  # of a category that are listed, the commonest first


def included_against_excluded(
    rows: Mapping[str, Mapping[str, str]],
    included: Sequence[str],
    excluded: Sequence[str],
    *,
    names: Sequence[str],
    categories: Collection[str] = (),
) -> list[dict[str, Any]]:
    """Return one row a variable or level: how it is among the analysed and among the others.

    Args:
        rows: patient_id -> cells of patients.csv.
        names: the columns to compare.
        categories: those of them that are levels though their cells are numbers.

    Returns:
        {"variable", "included", "excluded": {"mean", "sd"} or {"count", "share"}, each with
        "known", "difference" in SD}.

    >>> cells = {"a": {"age": "60"}, "b": {"age": "70"}, "c": {"age": "50"}, "d": {"age": "60"}}
    >>> row = included_against_excluded(cells, ["a", "b"], ["c", "d"], names=["age"])[0]
    >>> row["included"]["mean"], row["excluded"]["mean"]
    (65.0, 55.0)
    >>> round(row["difference"], 3)  # 10 years of an SD of 7.07
    1.414
    >>> rows = included_against_excluded(
    ...     cells, ["a", "b"], ["c", "d"], names=["age"], categories=["age"]
    ... )
    >>> [row["variable"] for row in rows]
    ['age: 60', 'age: 70', 'age: 50']
    """
    table: list[dict[str, Any]] = []
    for name in names:
        sides = [
            [rows[p].get(name, "") for p in group if p in rows] for group in (included, excluded)
        ]
        known = [[cell for cell in side if cell] for side in sides]
        if not any(known):
            continue
        numbers = all(parse_number(cell) is not None for side in known for cell in side)
        if numbers and name not in categories:
            table.append(_numeric(name, known))
        else:
            table.extend(_levels(name, known))
    return table


def _numeric(name: str, known: Sequence[Sequence[str]]) -> dict[str, Any]:
    values = [np.array([parse_number(cell) for cell in side], dtype=np.float64) for side in known]
    means = [float(v.mean()) if len(v) else None for v in values]
    variances = [float(v.var(ddof=1)) if len(v) > 1 else None for v in values]
    cells = [
        {"mean": mean, "sd": None if variance is None else variance**0.5, "known": len(v)}
        for mean, variance, v in zip(means, variances, values)
    ]
    return {
        "variable": name,
        "included": cells[0],
        "excluded": cells[1],
        "difference": standardised_difference(means, variances),
    }


def _levels(name: str, known: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
    counts = [Counter(side) for side in known]
    rows = []
    for level, _ in (counts[0] + counts[1]).most_common(MOST_LEVELS):
        shares = [count[level] / len(side) if side else None for count, side in zip(counts, known)]
        cells = [
            {"count": c[level], "share": share, "known": len(side)}
            for c, share, side in zip(counts, shares, known)
        ]
        variances = [None if share is None else share * (1 - share) for share in shares]
        rows.append(
            {
                "variable": f"{name}: {level}",
                "included": cells[0],
                "excluded": cells[1],
                "difference": standardised_difference(shares, variances),
            }
        )
    return rows


def standardised_difference(
    means: Sequence[float | None], variances: Sequence[float | None]
) -> float | None:
    if any(v is None for v in (*means, *variances)):
        return None
    spread = (sum(v for v in variances if v is not None) / 2) ** 0.5
    first, second = means
    return (
        (first - second) / spread
        if spread > 0 and first is not None and second is not None
        else None
    )
