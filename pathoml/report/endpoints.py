"""What the page needs of further endpoints: all of them side by side, every score on every
endpoint, and the curves of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from pathoml.report import figures
from pathoml.report.figures import Curve
from pathoml.types import Json

CURVE_FIELDS = ("times", "survival", "low", "high", "at_risk", "events")


def survival_curves(section: Mapping[str, Any], smallest: int) -> dict[str, Curve]:
    """Return the Kaplan-Meier curves of the score groups of one endpoint.

    Args:
        section: metrics.json, or a secondary endpoint's part of it.
        smallest: count below which numbers at risk are not shown; 0 = all are.
    """
    groups = (section.get("kaplan_meier") or {}).get("groups") or {}
    return {
        name: Curve(**{f: groups[name][f] for f in CURVE_FIELDS}, smallest=smallest)
        for name in ("high", "low")
        if groups.get(name, {}).get("times")
    }


def endpoint_context(metrics: Json, permutation: Json, smallest: int) -> dict[str, Any]:
    """Return the context of endpoints.html.j2: no rows where there is one endpoint only."""
    secondary = metrics.get("endpoints") or {}
    if not secondary:
        return {"endpoint_rows": []}
    primary = str(metrics.get("endpoint") or "")
    comparison = metrics.get("endpoint_comparison") or {}
    tested = {primary: permutation} | (permutation.get("endpoints") or {})
    adjusted = {
        row.get("endpoint"): row.get("p_holm")
        for row in (permutation.get("endpoint_multiplicity") or {}).get("tests") or []
    }
    rows = [
        {
            "name": name,
            "primary": name == primary,
            "section": section,
            "hidden": name != primary and _betrays(metrics, section, smallest),
            "p_value": (tested.get(name) or {}).get("p_value"),
            "added_p_value": ((tested.get(name) or {}).get("added_value") or {}).get("p_value"),
            "p_holm": adjusted.get(name),
        }
        for name, section in [(primary, metrics), *secondary.items()]
    ]
    curves = {name: survival_curves(section, smallest) for name, section in secondary.items()}
    return {
        "endpoint_rows": rows,
        "endpoint_headline": metrics.get("headline") or "harrell_c",
        "endpoint_cross": comparison.get("trained_on") or {},
        "endpoint_correlations": comparison.get("correlation") or [],
        "endpoint_note": comparison.get("note") or "",
        "endpoint_family": permutation.get("endpoint_multiplicity") or {},
        "endpoint_figures": [
            (
                name,
                Markup(figures.kaplan_meier_figure(drawn, name, identifier=f"survival-{number}")),
                (secondary[name].get("kaplan_meier") or {}).get("log_rank_p"),
                figures.where_curves_end(drawn),
            )
            for number, (name, drawn) in enumerate(curves.items(), 2)
            if drawn
        ],
    }


def _betrays(metrics: Json, section: Mapping[str, Any], smallest: int) -> bool:
    """Return whether an endpoint's counts, less the primary one's, are too small to be shown.

    >>> _betrays({"n": 40, "events": 20}, {"n": 38, "events": 20}, 5)
    True
    >>> _betrays({"n": 40, "events": 20}, {"n": 38, "events": 20}, 0)
    False
    """
    pairs = [(metrics.get(key) or 0, section.get(key) or 0) for key in ("n", "events")]
    return any(0 < abs(a - b) < smallest or 0 < b < smallest for a, b in pairs)
