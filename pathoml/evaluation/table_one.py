"""Table 1: who the patients are, all of them, by centre, and by score group, with standardised
differences.

Numbers as median and quartiles (as R quantile type 7), categories as counts of those who are known.
A standardised difference does not grow with the number of patients as a p does; between centres it
is the largest of any two.

Source: von Elm et al., PLoS Med 4 (2007) e296 (STROBE, item 14); Austin, Stat Med 28 (2009)
3083-3107.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from pathoml.evaluation.described_columns import described_columns, known
from pathoml.evaluation.evidence import Evidence
from pathoml.evaluation.included_excluded import standardised_difference
from pathoml.types import Array, Json, Labels

Bools = npt.NDArray[np.bool_]

GROUPS = ("high", "low")
MOST_LEVELS = 12  # of a category; the rarer ones are one row
RARER = "other"
EVENT, FOLLOWED = "event seen", "months followed"
METHOD = (
    "Numbers: median (quartiles); categories: patients (% of those who are known). Differences are"
    " standardised: in SD of the two groups; between centres, the largest of any two."
)


def table_one_section(evidence: Evidence) -> Json:
    """Return the columns of the table with their patients, and a row for each number or level."""
    cohort = evidence.cohort
    columns: dict[str, Array | Labels] = {
        EVENT: np.where(cohort.event, "yes", "no"),
        FOLLOWED: cohort.time_months,
        **described_columns(evidence),
    }
    if len(np.unique(evidence.n_slides)) > 1:
        columns["slides"] = evidence.n_slides.astype(np.float64)
    centres = {str(name): cohort.centre == name for name in np.unique(cohort.centre)}
    groups = {name: evidence.groups == name for name in GROUPS}
    everyone = {"all": np.ones(len(cohort.patients), dtype=bool)}
    parts = {"all": everyone, "centres": centres, "groups": groups}
    return {
        "patients": {
            name: {group: int(rows.sum()) for group, rows in part.items()}
            for name, part in parts.items()
        },
        "rows": [row for name, values in columns.items() for row in _rows(name, values, parts)],
        "method": METHOD,
    }


def _rows(
    name: str, values: Array | Labels, parts: Mapping[str, Mapping[str, Bools]]
) -> list[Json]:
    there = known(values)
    missing = {
        part: {group: int((rows & ~there).sum()) for group, rows in of.items()}
        for part, of in parts.items()
    }
    if values.dtype.kind != "U":
        numbers = values.astype(np.float64)
        own = {p: {g: numbers[r & there] for g, r in of.items()} for p, of in parts.items()}
        return [_row(name, None, missing, own)]
    common = [level for level, _ in Counter(values[there].tolist()).most_common()]
    shown = common if len(common) <= MOST_LEVELS else common[: MOST_LEVELS - 1]
    masks = {level: values == level for level in shown}
    if len(shown) < len(common):
        masks[f"{RARER} ({len(common) - len(shown)} levels)"] = there & ~np.isin(values, shown)
    return [
        _row(
            name,
            level,
            missing,
            {
                part: {group: mask[rows & there] for group, rows in of.items()}
                for part, of in parts.items()
            },
        )
        for level, mask in masks.items()
    ]


def _row(
    name: str,
    level: str | None,
    missing: Mapping[str, Mapping[str, int]],
    own: Mapping[str, Mapping[str, Array | Bools]],
) -> Json:
    return {
        "variable": name,
        "level": level,
        "missing": missing,
        **{
            part: {group: _cell(values, level is not None) for group, values in of.items()}
            for part, of in own.items()
        },
        "difference_groups": largest_difference(list(own["groups"].values())),
        "difference_centres": largest_difference(list(own["centres"].values())),
    }


def _cell(values: Array | Bools, is_level: bool) -> Json:
    n = len(values)
    if is_level:
        return {"count": int(values.sum()), "share": float(values.mean()) if n else None}
    quartiles = np.quantile(values, (0.25, 0.5, 0.75)).tolist() if n else [None] * 3
    return dict(zip(("q1", "median", "q3"), quartiles))


def largest_difference(groups: Sequence[Array | Bools]) -> float | None:
    """Return the largest absolute standardised difference of any two groups; of shares where the
    values are True and False. None where no two have a spread.

    >>> largest_difference([np.array([60.0, 70.0]), np.array([50.0, 60.0])])
    1.414213562373095
    """
    is_level = any(values.dtype == np.bool_ for values in groups)
    facts = []
    for values in groups:
        if len(values) < (1 if is_level else 2):
            continue
        mean = float(values.mean())
        spread = mean * (1 - mean) if is_level else float(values.var(ddof=1))
        facts.append((mean, spread))
    found = [standardised_difference([a[0], b[0]], [a[1], b[1]]) for a, b in combinations(facts, 2)]
    sizes = [abs(d) for d in found if d is not None]
    return max(sizes) if sizes else None
