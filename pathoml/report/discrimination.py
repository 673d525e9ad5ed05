"""What the page needs of the concordances: the forest with its numbers, and the differences beside
it.
"""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from pathoml.report import figures, wording
from pathoml.report.figures import ForestRow
from pathoml.types import Json

OF_VECTORS = (  # baselines on vectors that were made elsewhere
    ("vectors_ridge_cox", "Ridge Cox on"),
    ("vectors_head", "The same head on"),
)
MOST_DRAWN = 8  # centres in the first figure; of more, the details have every one
MOST_CENTRES = 12  # beyond which a centre whose C is not estimable gets no row


def discrimination_context(metrics: Json) -> dict[str, Any]:
    """Return the rows of the forest, the figure, and the differences of C."""
    ridge, clinical = metrics.get("ridge_cox") or {}, metrics.get("clinical") or {}
    by_centre = metrics.get("harrell_c_by_centre") or {}
    known = [
        centre
        for centre in sorted(by_centre)
        if wording.is_number(by_centre[centre].get("estimate"))
    ]
    shown = sorted(by_centre) if len(by_centre) <= MOST_CENTRES else known
    rows = [
        _forest_row("Image score, all patients", "image", metrics.get("harrell_c")),
        _forest_row(
            "Image score, within centres", "image", metrics.get("harrell_c_centre_stratified")
        ),
        _forest_row("Image score, Uno's C", "image", metrics.get("uno_c")),
        *(_forest_row(f"  {centre}", "centre", by_centre[centre]) for centre in shown),
        _forest_row("Ridge Cox on mean features", "comparator", ridge.get("harrell_c")),
        _forest_row(
            "Ridge Cox, within centres", "comparator", ridge.get("harrell_c_centre_stratified")
        ),
        *(
            _forest_row(
                f"{words} {metrics[key]['encoding']}",
                "comparator",
                wording.headline_of(metrics[key], metrics),
            )
            for key, words in OF_VECTORS
            if metrics.get(key)
        ),
        _forest_row(
            "Clinical covariates alone", "comparator", wording.headline_of(clinical, metrics)
        ),
    ]
    drawn = [row for row in rows if row.kind != "centre" or len(shown) <= MOST_DRAWN]
    return {
        "forest_rows": rows,
        "forest_svg": Markup(figures.forest_figure(drawn)),
        "forest_has_centres": any(row.kind == "centre" for row in drawn),
        "centres_not_estimable": len(by_centre) - len(shown),
        "c_differences": _differences(metrics),
        "c_to_quote": "within centres" if wording.within_centres(metrics) else "all patients",
    }


def _differences(metrics: Json) -> list[tuple[str, str]]:
    found = metrics.get("differences") or {}
    change = (metrics.get("added_value") or {}).get("delta_harrell_c")
    rows = (
        ("Image score less ridge Cox", found.get("image_minus_ridge_cox")),
        *(
            (
                f"Image score less {words[0].lower()}{words[1:]} {metrics[key]['encoding']}",
                found.get(f"image_minus_{key}"),
            )
            for key, words in OF_VECTORS
            if metrics.get(key)
        ),
        ("Image score less clinical", found.get("image_minus_clinical")),
        ("Clinical with score less clinical", change),
    )
    return [(label, wording.estimate(content, 3, signed=True)) for label, content in rows]


def _forest_row(label: str, kind: str, content: Json | None) -> ForestRow:
    known = {k: v for k, v in (content or {}).items() if wording.is_number(v)}
    return ForestRow(
        label=label,
        kind=kind,
        estimate=known.get("estimate"),
        low=known.get("low"),
        high=known.get("high"),
        text=wording.estimate(content),
        n=known.get("n"),
        events=known.get("events"),
    )
