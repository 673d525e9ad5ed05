"""What a page that is to be published hides: small counts, and the ids of patients and slides
(report.smallest_cell).

A hidden count must not follow from the others, so small centres and reasons are pooled instead of
blanked, until no cell is small.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from pathoml.report.suppressed_tables import (
    POOLED_CENTRES,
    shown_acquisition,
    shown_associations,
    shown_fairness,
    shown_multivariable,
    shown_table_one,
)

TABLES = ("table_one", "score_associations", "fairness", "multivariable", "acquisition")
SENTENCES = ("message", "note", "reason")
# a whole number of people in a sentence, not a part of a decimal one
PEOPLE = re.compile(
    r"(?<![\d.])\d+(?= (?:of \d|patients?\b|treated\b|untreated\b|not before\b|events?\b|are\b))"
)
POOLED = POOLED_CENTRES
POOLED_REASON = "for several reasons"


def pooled_centres(by_centre: Mapping[str, Mapping[str, Any]], smallest: int) -> dict[str, str]:
    """Return the name under which each centre is shown; small ones share one.

    >>> small = {"A": {"patients": 20, "events": 9}, "B": {"patients": 3, "events": 1},
    ...          "C": {"patients": 9, "events": 6}}
    >>> pooled_centres(small, 5)  # B alone would follow from the total, so C joins
    {'A': 'A', 'B': 'other centres', 'C': 'other centres'}
    """
    order = sorted(by_centre, key=lambda centre: (by_centre[centre].get("patients") or 0, centre))
    pool = [centre for centre in order if _is_small([by_centre[centre]], smallest)]
    rest = [centre for centre in order if centre not in pool]
    while pool and rest and _is_small([by_centre[centre] for centre in pool], smallest):
        pool.append(rest.pop(0))
    return {centre: POOLED if centre in pool else centre for centre in sorted(by_centre)}


def _is_small(cells: list[Mapping[str, Any]], smallest: int) -> bool:
    patients, events = (sum(cell.get(key) or 0 for cell in cells) for key in ("patients", "events"))
    return any(0 < count < smallest for count in (patients, events, patients - events))


def suppressed(metrics: Mapping[str, Any], smallest: int) -> dict[str, Any]:
    """Return metrics.json as it may be shown: small centres pooled, no ids, no small reason, no
    small subgroup.
    """
    content = dict(metrics)
    flow = dict(content.get("flow") or {})
    names = pooled_centres(flow.get("by_centre") or {}, smallest)
    flow["by_centre"] = _added_up(flow.get("by_centre") or {}, names)
    excluded = flow.get("excluded") or []
    reasons = Counter(row.get("reason") for row in excluded)
    small = any(count < smallest for count in reasons.values())
    flow["excluded"] = [
        {"reason": POOLED_REASON if small else row.get("reason")} for row in excluded
    ]
    if 0 < len(excluded) < smallest:  # the number would follow from the two totals
        flow["excluded"], flow["patients"] = [], None
    content["flow"] = flow
    content["harrell_c_by_centre"] = {
        c: e for c, e in (content.get("harrell_c_by_centre") or {}).items() if names.get(c) == c
    }
    if content.get("between_centres"):
        content["between_centres"] = _without_small_centres(content["between_centres"], names)
    content["subgroups"] = [
        row for row in content.get("subgroups") or [] if not _small_subgroup(row, smallest)
    ]
    if content.get("offset_score"):
        content["offset_score"] = _without_rare_levels(
            content["offset_score"], content.get("n") or 0, smallest
        )
    content |= _tables(content, names, smallest)
    return {name: _with_few(value, smallest) for name, value in content.items()}


def _tables(content: Mapping[str, Any], names: Mapping[str, str], smallest: int) -> dict[str, Any]:
    """Return the tables of patients that there are, as they may be shown."""
    own = {name: content.get(name) or {} for name in TABLES}
    shown = {
        "table_one": shown_table_one(own["table_one"], names, smallest),
        "score_associations": shown_associations(
            own["score_associations"], content.get("n") or 0, smallest
        ),
        "fairness": shown_fairness(own["fairness"], smallest),
        "multivariable": shown_multivariable(own["multivariable"], smallest),
        "acquisition": shown_acquisition(own["acquisition"], names, smallest),
    }
    return {name: shown[name] for name in TABLES if content.get(name)}


def _with_few(node: Any, smallest: int) -> Any:
    """Return a section whose sentences name no number of patients under the smallest."""
    if isinstance(node, Mapping):
        return {
            key: few_in_words(value, smallest)
            if key in SENTENCES and isinstance(value, str)
            else _with_few(value, smallest)
            for key, value in node.items()
        }
    return [_with_few(value, smallest) for value in node] if isinstance(node, list) else node


def few_in_words(text: str, smallest: int) -> str:
    """Return a sentence with "<5" for a number of people under 5.

    >>> few_in_words("2 of 30 treated patients began it after 0.3 months; 12 patients did not.", 5)
    '<5 of 30 treated patients began it after 0.3 months; 12 patients did not.'
    """
    hidden = f"<{smallest}"
    text = text.replace("the one patient under", f"all {hidden} patients under")
    return PEOPLE.sub(lambda found: hidden if 0 < int(found[0]) < smallest else found[0], text)


def _added_up(
    by_centre: Mapping[str, Mapping[str, Any]], names: Mapping[str, str]
) -> dict[str, dict[str, int]]:
    shown: dict[str, dict[str, int]] = {}
    for centre, cell in by_centre.items():
        own = shown.setdefault(names[centre], {})
        for key, count in cell.items():
            own[key] = own.get(key, 0) + (count or 0)
    return shown


def _without_small_centres(section: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return the hospitals that are shown under their own name; the means stay, with how many they
    are of, but not with their patients: the small ones would follow from the totals.
    """
    shown = {c: own for c, own in (section.get("centres") or {}).items() if names.get(c) == c}
    small = len(shown) < len(section.get("centres") or {})
    means = {
        name: {**(section.get(name) or {}), **({"n": None, "events": None} if small else {})}
        for name in ("harrell_c", "observed_to_expected")
    }
    left_out = "Small hospitals are not shown." if small else section.get("left_out", "")
    return {**section, **means, "centres": shown, "left_out": left_out}


def _without_rare_levels(section: Mapping[str, Any], n: int, smallest: int) -> dict[str, Any]:
    """Return the section without levels that a few patients have, or lack."""
    rows = [
        row
        for row in section.get("correlations") or []
        if row.get("level") is None or smallest <= (row.get("n") or 0) <= n - smallest
    ]
    return {**section, "correlations": rows}


def _small_subgroup(row: Mapping[str, Any], smallest: int) -> bool:
    cells = [
        {"patients": part.get("n"), "events": part.get("events")}
        for part in (row.get("score") or {}, row.get("complement") or {})
    ]
    return (
        any(_is_small([cell], smallest) for cell in cells)
        or 0 < (row.get("unknown") or 0) < smallest
    )
