"""Tables by centre, level and group as a page that is to be published may show them: a count under
report.smallest_cell is neither shown nor follows from the others.

Rare levels are pooled until they are not rare; where a part of the cohort (centres, score groups)
still has a small count of a variable, that variable is not divided by that part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from pathoml.types import Json

POOLED_CENTRES = "other centres"
RARER, RARER_OR_MISSING = "other levels", "other levels or missing"
PARTS = ("centres", "groups")
COUNTED = ("scanners", "stains")


def is_small(count: Any, smallest: int) -> bool:
    """Return whether a count may not be shown."""
    return isinstance(count, int | float) and 0 < count < smallest


def shown_table_one(table: Json, names: Mapping[str, str], smallest: int) -> Json:
    """Return Table 1 as it may be shown; None is what is hidden.

    Args:
        names: centre -> the name under which it is shown, POOLED_CENTRES for small ones.
    """
    if not table.get("rows"):
        return table
    patients = {**table["patients"], "centres": _pooled(table["patients"]["centres"], names)}
    rows: list[Json] = []
    for _, of_variable in groupby(table["rows"], key=lambda row: row["variable"]):
        pooled = [_with_pooled_centres(row, names) for row in of_variable]
        rows += _variable(pooled, patients, smallest)
    return {**table, "patients": patients, "rows": rows}


def _pooled(counts: Mapping[str, int], names: Mapping[str, str]) -> dict[str, int]:
    shown: dict[str, int] = {}
    for centre, count in counts.items():
        name = names.get(centre, centre)
        shown[name] = shown.get(name, 0) + count
    return shown


def _with_pooled_centres(row: Json, names: Mapping[str, str]) -> Json:
    """Return a row whose small centres are one; of a number the pooled one has no quartiles."""
    cells = row["centres"]
    alone = {c: cell for c, cell in cells.items() if names.get(c, c) == c}
    if len(alone) == len(cells):
        return row
    counts = _pooled({c: cell.get("count", 0) for c, cell in cells.items()}, names)
    other = {"count": counts[POOLED_CENTRES], "share": None} if row["level"] is not None else {}
    missing = {**row["missing"], "centres": _pooled(row["missing"]["centres"], names)}
    return {**row, "missing": missing, "centres": {**alone, POOLED_CENTRES: other}}


def _variable(rows: Sequence[Json], patients: Json, smallest: int) -> list[Json]:
    """Return the rows of one variable."""
    missing = rows[0]["missing"]
    hide_missing = is_small(missing["all"]["all"], smallest)
    if rows[0]["level"] is not None:
        rows, hide_missing = _without_rare_levels(rows, patients, smallest)
    shown = []
    for row in rows:
        own = dict(row)
        own["missing"] = {"all": {"all": None}} if hide_missing else {"all": missing["all"]}
        for part in PARTS:
            counts = missing[part].values()
            small = any(is_small(count, smallest) for count in counts)
            own["missing"][part] = dict.fromkeys(missing[part]) if small else missing[part]
            if hide_missing:
                own["missing"][part] = dict.fromkeys(missing[part])
            if row["level"] is None:
                own[part] = {
                    name: {} if patients[part][name] - missing[part][name] < smallest else cell
                    for name, cell in row[part].items()
                }
            elif _betrays(rows, part, smallest) or (small and not hide_missing):
                own[part] = {name: {} for name in row[part]}
                own[f"difference_{part}"] = None
        shown.append(own)
    return shown


def _betrays(rows: Sequence[Json], part: str, smallest: int) -> bool:
    return any(is_small(cell.get("count"), smallest) for row in rows for cell in row[part].values())


def _without_rare_levels(
    rows: Sequence[Json], patients: Json, smallest: int
) -> tuple[list[Json], bool]:
    """Return the levels with the rare ones as one, and whether those who are missing are in it."""
    missing = rows[0]["missing"]
    counts = {row["level"]: row["all"]["all"]["count"] for row in rows}
    counts[""] = missing["all"]["all"]  # those who are missing
    order = sorted(counts, key=lambda level: (counts[level], level))
    pool = [level for level in order if is_small(counts[level], smallest)]
    rest = [level for level in order if level not in pool and counts[level] > 0]
    while pool and rest and sum(counts[level] for level in pool) < smallest:
        pool.append(rest.pop(0))
    if not pool:
        return list(rows), False
    with_missing = "" in pool
    rare = [row for row in rows if row["level"] in pool]
    kept = [row for row in rows if row["level"] not in pool]
    pooled = {
        **rows[0],
        "level": RARER_OR_MISSING if with_missing else RARER,
        "difference_groups": None,
        "difference_centres": None,
        **{
            part: {
                name: {
                    "count": sum(row[part][name].get("count", 0) for row in rare)
                    + (missing[part][name] if with_missing else 0)
                }
                for name in rows[0][part]
            }
            for part in ("all", *PARTS)
        },
    }
    everything = [*kept, pooled]
    return [
        _shares(row, missing, patients, of_all=with_missing) for row in everything
    ], with_missing


def _shares(row: Json, missing: Json, patients: Json, *, of_all: bool) -> Json:
    """Return a row with its shares: of everybody, where those who are missing must not follow."""

    def share(part: str, name: str, count: int) -> float | None:
        known = patients[part][name] - (0 if of_all else missing[part][name])
        return count / known if known else None

    return {
        **row,
        **{
            part: {
                name: {"count": cell["count"], "share": share(part, name, cell["count"])}
                for name, cell in row[part].items()
            }
            for part in ("all", *PARTS)
        },
    }


def shown_associations(section: Json, patients: int, smallest: int) -> Json:
    """Return what the score goes with, without means of few patients."""
    rows = []
    for row in section.get("rows") or []:
        lacking = is_small(patients - (row.get("n") or 0), smallest)
        few = lacking or any(is_small(level["n"], smallest) for level in row["levels"])
        own = {**row, "levels": [] if few else row["levels"]}
        if lacking:
            own |= {"n": None, "spearman": _without_counts(row["spearman"])}
        rows.append(own)
    return {**section, "rows": rows}


def shown_fairness(section: Json, smallest: int) -> Json:
    """Return the groups by sex and age of those columns of which no group is small."""
    hidden = {name for name, n in (section.get("unknown") or {}).items() if is_small(n, smallest)}
    for row in section.get("rows") or []:
        counts = (row["n"], row["events"], row["n"] - row["events"])
        if any(is_small(count, smallest) for count in counts):
            hidden.add(row["variable"])
    rows = [row for row in section.get("rows") or [] if row["variable"] not in hidden]
    unknown = {k: v for k, v in (section.get("unknown") or {}).items() if k not in hidden}
    said = {"hidden": sorted(hidden)} if hidden else {}
    return {**section, "rows": rows, "unknown": unknown, **said}


def shown_multivariable(section: Json, smallest: int) -> Json:
    """Return the table without the counts of a variable one of whose levels is small."""
    rows = []
    for _, of_variable in groupby(section.get("rows") or [], key=lambda row: row["variable"]):
        own = list(of_variable)
        levels = [(row["n"], row["events"]) for row in own if row["level"] is not None]
        rest = (
            section["n"] - sum(n for n, _ in levels),
            section["events"] - sum(events for _, events in levels),
        )
        cells = [(n, events, n - events) for n, events in ([*levels, rest] if levels else [])]
        if any(is_small(count, smallest) for cell in cells for count in cell):
            own = [{**row, "n": None, "events": None} for row in own]
        rows += own
    return {**section, "rows": rows} if rows else section


def shown_acquisition(section: Json, names: Mapping[str, str], smallest: int) -> Json:
    """Return how slides were made at the centres that are shown by name; no count of slides of a
    scanner where one is small, and no patient's own number of tiles.
    """
    if not section.get("centres"):
        return section
    centres = {c: own for c, own in section["centres"].items() if names.get(c, c) == c}
    pooled = [own for c, own in section["centres"].items() if c not in centres]
    parts = [section["all"], *centres.values()]
    few = bool(pooled) or any(
        is_small(count, smallest)
        for part in parts
        for kind in COUNTED
        for count in part[kind].values()
    )
    return {
        **section,
        "all": _made(section["all"], few),
        "centres": {centre: _made(own, few) for centre, own in centres.items()},
    }


def _made(part: Json, few: bool) -> Json:
    tiles = {**part["tiles_per_patient"], "lowest": None, "highest": None}
    counted = {kind: dict.fromkeys(part[kind]) if few else part[kind] for kind in COUNTED}
    return {**part, **counted, "tiles_per_patient": tiles}


def _without_counts(content: Json | None) -> Json | None:
    return {**content, "n": None, "events": None} if content else content
