"""Whether the score serves both sexes and every age alike: C and calibration of each group.

A group whose risks are foretold too high or too low is served worse, however well it is ordered.
The columns are found by their names in patients.csv (sex, age and the like).

Source: Moons et al., BMJ 388 (2025) e082505 (PROBAST+AI); Collins et al., BMJ 385 (2024) e078378
(TRIPOD+AI, items 14 and 23).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from pathoml.errors import CohortError
from pathoml.evaluation.described_columns import as_described
from pathoml.evaluation.evidence import Evidence
from pathoml.evaluation.predicted_risk import Foretold, foretold_events
from pathoml.evaluation.recipe import AGE_COLUMNS, SEX_COLUMNS, columns_named
from pathoml.survival.calibration import observed_to_expected
from pathoml.survival.estimate import Estimate
from pathoml.survival.fold_concordance import fold_c_interval
from pathoml.survival.not_estimable import or_not_estimable
from pathoml.survival.outcome import at_rows
from pathoml.types import Json, Labels

Bools = npt.NDArray[np.bool_]

AGE_BOUNDS = (50, 65)  # years, from which the next group begins
FEWEST_PATIENTS, FEWEST_EVENTS = 10, 5  # of a group whose calibration is given
NOTE = (
    "C as in the headline, of pairs within the group. Observed over expected: events seen over"
    " those foretold by models of the other folds, over all follow-up; 1 is right, below 1 risks"
    " are too high. Groups differ only if their intervals say so; many groups are compared."
)
NO_COLUMN = "patients.csv has no column of sex or age (sex, gender, age, age_years)"


def fairness_section(evidence: Evidence) -> Json:
    """Return C and observed over expected events by sex and by age group."""
    compared = compared_groups(evidence)
    if not compared:
        return {"model": None, "rows": [], "unknown": {}, "note": NO_COLUMN}
    try:
        foretold: Foretold | str = foretold_events(evidence)
    except CohortError as error:
        foretold = str(error)
    rows, unknown = list[Json](), dict[str, int]()
    for name, groups in compared.items():
        unknown[name] = int((groups == "").sum())
        rows += [
            {"variable": name, "group": group, **_judged(evidence, groups == group, foretold)}
            for group in _in_order(groups)
        ]
    model = None if isinstance(foretold, str) else foretold.model
    return {"model": model, "rows": rows, "unknown": unknown, "note": NOTE}


def compared_groups(evidence: Evidence) -> dict[str, Labels]:
    """Return (B,) the group of each patient by sex and by age, "" where it is unknown; a key for
    each of the two columns that patients.csv has.
    """
    table = evidence.table
    sex, age = columns_named(table, SEX_COLUMNS)[:1], columns_named(table, AGE_COLUMNS)[:1]
    return {name: _levels(table[name]) for name in sex} | {
        name: age_groups(table[name]) for name in age
    }


def age_groups(cells: Sequence[object]) -> Labels:
    """Return (B,) the age group, "" where there is no age.

    >>> age_groups([49.9, 50.0, 71.0, None, "old"]).tolist()
    ['under 50', '50 to 64', '65 and over', '', '']
    """
    first, second = AGE_BOUNDS
    names = (f"under {first}", f"{first} to {second - 1}", f"{second} and over")
    return np.array(
        [
            names[(age >= first) + (age >= second)] if isinstance(age, int | float) else ""
            for age in cells
        ],
        dtype=str,
    )


def _levels(cells: Sequence[object]) -> Labels:
    described = as_described(cells)
    return described if described.dtype.kind == "U" else described.astype(str)  # type: ignore[return-value]


def _in_order(groups: Labels) -> list[str]:
    order = {"under": 0, str(AGE_BOUNDS[0]): 1, str(AGE_BOUNDS[1]): 2}
    return sorted({g for g in groups.tolist() if g}, key=lambda g: (order.get(g.split()[0], 0), g))


def _judged(evidence: Evidence, rows: Bools, foretold: Foretold | str) -> Json:
    cohort = evidence.cohort
    event = cohort.event[rows]

    def concordance() -> Estimate:
        return fold_c_interval(
            evidence.folded["image"].rows(rows),
            cohort.time_months[rows],
            event,
            stratum=at_rows(evidence.compared_within, rows),
            entry_months=at_rows(cohort.entry_months, rows),
        )

    def calibration(found: Foretold | str) -> Estimate:
        if isinstance(found, str):
            raise CohortError(found)
        if len(event) < FEWEST_PATIENTS or event.sum() < FEWEST_EVENTS:
            raise CohortError(
                f"not estimable: {len(event)} patients, {int(event.sum())} events; it needs"
                f" {FEWEST_PATIENTS} and {FEWEST_EVENTS}."
            )
        return observed_to_expected(found.events[rows], event)

    return {
        "n": int(rows.sum()),
        "events": int(event.sum()),
        "harrell_c": or_not_estimable(concordance),
        "observed_to_expected": or_not_estimable(partial(calibration, foretold)),
    }
