"""What the page needs of the offset score: its numbers beside the plain score's."""

from __future__ import annotations

from typing import Any

from pathoml.types import Json

NAMES = {"plain": "plain score", "offset": "offset score"}


def offset_context(metrics: Json, permutation: Json) -> dict[str, Any]:
    """Return the context of offset.html.j2: no rows where no offset score was trained."""
    section = metrics.get("offset_score") or {}
    if not section:
        return {"offset_rows": []}
    headline = section.get("headline") or "harrell_c"
    tested = {"plain": permutation, "offset": permutation.get("offset_score") or {}}
    rows = [
        {
            "name": NAMES[key],
            "c": section[key].get(headline),
            "hazard_ratio": (section[key].get("added_value") or {}).get("hazard_ratio_per_sd"),
            "chi2": (section[key].get("added_value") or {}).get("likelihood_ratio_chi2"),
            "p_value": tested[key].get("p_value"),
            "added_p_value": (tested[key].get("added_value") or {}).get("p_value"),
        }
        for key in NAMES
    ]
    return {
        "offset_rows": rows,
        "offset_score": section,
        "offset_sums": [
            ("clinical model alone", (section.get("clinical") or {}).get(headline)),
            (
                "clinical model and offset score",
                (section.get("clinical_and_offset") or {}).get(headline),
            ),
        ],
        "offset_within": headline != "harrell_c",
    }
