"""Table 1, the multivariable table, what the score goes with, how the slides were made, and the
groups by sex and age, as cells of text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from pathoml.report import wording
from pathoml.types import Json

HIDDEN = "hidden"
NOTHING = ""
MOST_CENTRES = 12  # that get a column of their own
GROUP_NAMES = {"high": "high score", "low": "low score"}
YES_OR_NO = {"yes": ("yes", "no"), "1": ("1", "0")}  # one line says both
YES = tuple(YES_OR_NO)
FLAG_NAMES = {"out_of_focus": "out of focus", "excluded_region": "drawn out"}


def clinical_tables(metrics: Json) -> dict[str, Any]:
    """Return the context of tables.html.j2; what a run does not have is empty."""
    return {
        **_table_one(metrics.get("table_one") or {}),
        "multivariable_rows": _multivariable(metrics.get("multivariable") or {}),
        "association_rows": [
            _association(row) for row in (metrics.get("score_associations") or {}).get("rows") or []
        ],
        **_acquisition(metrics.get("acquisition") or {}),
    }


def _table_one(table: Json) -> dict[str, Any]:
    if not table.get("rows"):
        return {"table_one": [], "table_one_by_centre": [], "table_one_centres": []}
    patients = table["patients"]
    centres = list(patients["centres"])
    by_centre = len(centres) if 1 < len(centres) <= MOST_CENTRES else 0
    everybody, divided = list[Json](), list[Json]()
    for variable, of_variable in groupby(table["rows"], key=lambda row: row["variable"]):
        rows = list(of_variable)
        everybody += _lines(variable, rows, [("all", "all"), ("groups", "high"), ("groups", "low")])
        divided += _lines(variable, rows, [("centres", c) for c in centres], "centres")
    return {
        "table_one": everybody,
        "table_one_columns": [
            f"all ({patients['all']['all']})",
            *(f"{GROUP_NAMES[name]} ({patients['groups'].get(name, 0)})" for name in GROUP_NAMES),
        ],
        "table_one_by_centre": divided if by_centre else [],
        "table_one_centres": [f"{c} ({patients['centres'][c]})" for c in centres],
    }


def _lines(
    variable: str, rows: Sequence[Json], columns: Sequence[tuple[str, str]], part: str = "groups"
) -> list[Json]:
    """Return a line for a number, one for a yes or no, a heading and a line for each level of any
    other category; and one for those who are missing.
    """
    lines: list[Json] = []
    levels = [row["level"] for row in rows]
    yes = next((one for one in YES if set(levels) == set(YES_OR_NO[one])), None)
    if yes is not None:
        rows = [row for row in rows if row["level"] == yes]
    elif levels[0] is not None:
        lines.append({"label": variable, "heading": True, "cells": [], "difference": NOTHING})
    for row in rows:
        level = row["level"]
        lines.append(
            {
                "label": _label(variable, level, is_answer=yes is not None),
                "heading": False,
                "cells": [_cell(row[of].get(name) or {}, level) for of, name in columns],
                "difference": _difference(row.get(f"difference_{part}")),
            }
        )
    missing = rows[0]["missing"]
    if missing["all"]["all"] != 0:
        counts = [missing[of].get(name) for of, name in columns]
        cells = [HIDDEN if count is None else str(count) for count in counts]
        lines.append({"label": "  missing", "heading": False, "cells": cells, "difference": ""})
    return lines


def _label(variable: str, level: str | None, *, is_answer: bool) -> str:
    if level is None:
        return variable
    return f"{variable}: {level}" if is_answer else f"  {level}"


def _cell(cell: Mapping[str, Any], level: str | None) -> str:
    """Return "58 (50 to 66.5)" or "89 (38 %)".

    >>> _cell({"q1": 50.0, "median": 58.0, "q3": 66.5}, None)
    '58 (50 to 66.5)'
    >>> _cell({"count": 3, "share": 0.5}, "f")
    '3 (50 %)'
    """
    if not cell:
        return HIDDEN
    if level is not None:
        share = cell.get("share")
        return f"{cell['count']}" + (f" ({100 * share:.0f} %)" if share is not None else "")
    if cell.get("median") is None:
        return "-"
    return f"{_short(cell['median'])} ({_short(cell['q1'])} to {_short(cell['q3'])})"


def _short(value: float) -> str:
    """
    >>> _short(7.745), _short(1234.5), _short(58.0)
    ('7.75', '1234', '58')
    """
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _difference(value: Any) -> str:
    return f"{value:.2f}" if wording.is_number(value) else NOTHING


def _multivariable(section: Json) -> list[Json]:
    references = section.get("references") or {}
    rows: list[Json] = []
    for row in section.get("rows") or []:
        level = row["level"]
        if level is None:
            label = f"{row['variable']}, per SD of {row['per']:.3g}"
        else:
            label = f"{row['variable']}: {level}, against {references.get(row['variable'], '?')}"
        rows.append(
            {
                "label": label,
                "n": row["n"],
                "events": row["events"],
                "without": wording.estimate(row["without_score"]),
                "with": wording.estimate(row["with_score"]),
                "p_without": _p(row["without_score"]),
                "p_with": _p(row["with_score"]),
            }
        )
    return rows


def _p(content: Json) -> str:
    value = content.get("wald_p")
    return wording.p_value(value).removeprefix("p ").removeprefix("= ") if value is not None else ""


def _association(row: Json) -> Json:
    test, note = row.get("p_value"), row.get("note") or ""
    if row.get("spearman"):
        how = f"correlation {wording.estimate(row['spearman'])}"
    else:
        how = "; ".join(
            f"{one['level']} {one['mean']:+.2f} (n {one['n']})" for one in row["levels"]
        )
    return {
        "variable": row["variable"],
        "n": HIDDEN if row["n"] is None else row["n"],
        "how": how or HIDDEN,
        "p": wording.p_value(test) if test is not None else note,
    }


def _acquisition(section: Json) -> dict[str, Any]:
    if not section.get("all"):
        return {"acquisition_rows": [], "acquisition_flags": []}
    flags = section.get("flags") or []
    return {
        "acquisition_flags": [FLAG_NAMES.get(flag, flag) for flag in flags],
        "acquisition_rows": [
            _made(name, part, flags)
            for name, part in [("all", section["all"]), *section["centres"].items()]
        ],
    }


def _made(name: str, part: Json, flags: Sequence[str]) -> Json:
    mpp, tiles, degrees = part["level0_mpp"], part["tiles_per_patient"], part["stain_degrees"]
    return {
        "label": name,
        "slides": part["slides"],
        "scanners": _counted(part["scanners"]),
        "stains": _counted(part["stains"]),
        "mpp": _range(mpp),
        "tiles": _cell(tiles, None),
        "flagged": [_percent(part["flagged"].get(flag)) for flag in flags],
        "degrees": " / ".join(
            f"{degrees[s]:.1f}" if degrees.get(s) is not None else "-" for s in degrees
        ),
    }


def _counted(counts: Mapping[str, int | None]) -> str:
    return "; ".join(
        name if count is None or len(counts) == 1 else f"{name} ({count})"
        for name, count in counts.items()
    )


def _range(values: Mapping[str, float | None]) -> str:
    low, high = values.get("lowest"), values.get("highest")
    if low is None or high is None:
        return "-"
    return f"{low:.3g}" if f"{low:.3g}" == f"{high:.3g}" else f"{low:.3g} to {high:.3g}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
