"""What the page says of absolute risks beside their table: slopes by model, and every model whose
risks are worse than none.
"""

from __future__ import annotations

from typing import Any

from pathoml.report import wording
from pathoml.types import Json

THRESHOLDS_SHOWN = (0.1, 0.2, 0.3, 0.4, 0.5)
MODEL_NAMES = {
    "clinical": "clinical",
    "image": "image score",
    "clinical_and_image": "clinical + image",
}


def worse_than_no_model(metrics: Json) -> list[str]:
    """Return a sentence for each model whose Brier score is above that of giving everybody the same
    risk.

    >>> worse_than_no_model({"brier": {"24": {"no_model": {"estimate": 0.2}, "image": {"estimate":
    ...     0.21}}}})[0]
    'image score: Brier score worse than without any model at 24 months (0.210 against 0.200).'
    """
    columns = [(f"{horizon} months", row) for horizon, row in (metrics.get("brier") or {}).items()]
    integrated = metrics.get("integrated_brier") or {}
    if wording.is_number(integrated.get("until_months")):
        columns.append((f"integrated to {integrated['until_months']:g} months", integrated))
    said = []
    for model, name in MODEL_NAMES.items():
        worse = [
            (when, own, none)
            for when, row in columns
            for own in [(row.get(model) or {}).get("estimate")]
            for none in [(row.get("no_model") or {}).get("estimate")]
            if wording.is_number(own) and wording.is_number(none) and own > none
        ]
        if worse:
            where = ", ".join(f"{when} ({own:.3f} against {none:.3f})" for when, own, none in worse)
            first = "" if worse[0][0].startswith("integrated") else "at "
            said.append(f"{name}: Brier score worse than without any model {first}{where}.")
    return said


def risk_slopes(metrics: Json) -> list[tuple[str, str]]:
    """Return (model, slope with its interval) of the cross-fitted risks."""
    slopes: dict[str, Any] = (metrics.get("calibration") or {}).get("slope_of_risks") or {}
    return [
        (name, wording.estimate(slopes[model]))
        for model, name in MODEL_NAMES.items()
        if model in slopes
    ]


def added_benefit(metrics: Json) -> dict[str, Any]:
    """Return the net benefit of clinical + image less clinical, in patients of a hundred, at each
    horizon and some thresholds, with intervals; no rows where there is no such comparison.
    """
    rows = []
    for horizon, content in (metrics.get("decision_curve") or {}).items():
        band = (content.get("intervals") or {}).get("clinical_and_image_minus_clinical")
        if not band or not (content.get("clinical") and content.get("clinical_and_image")):
            continue
        at = {round(threshold, 6): k for k, threshold in enumerate(content["threshold"])}
        rows.append((horizon, [_added(content, band, at[t]) for t in THRESHOLDS_SHOWN]))
    return {"benefit_thresholds": [f"{100 * t:.0f} %" for t in THRESHOLDS_SHOWN], "rows": rows}


def _added(content: Json, band: Json, k: int) -> str:
    pair = content["clinical_and_image"][k], content["clinical"][k]
    if not all(wording.is_number(value) for value in pair):
        return "-"
    ends = [None if band[end][k] is None else 100 * band[end][k] for end in ("low", "high")]
    return wording.estimate(
        {"estimate": 100 * (pair[0] - pair[1]), "low": ends[0], "high": ends[1]}, 1, signed=True
    )
