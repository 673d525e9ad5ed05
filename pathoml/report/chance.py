"""Which test is the test of this score, and what the shuffled cohorts looked like.

A permutation test says nothing with few permutations; a Wald test says nothing of a score that the
same outcomes trained. Each page names the one that holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from pathoml.report import figures, wording
from pathoml.types import Json

GAIN = "likelihood-ratio gain over the clinical model"
CROSS_VALIDATED = ("oof", "loco")


def chance_context(
    metrics: Json, permutation: Json, *, score_type: str, origin: str
) -> dict[str, Any]:
    """Return the context of chance.html.j2.

    Args:
        score_type: as scores.csv says.
        origin: "trained", "imported" or "predicted".
    """
    added = permutation.get("added_value") or {}
    hazard = metrics.get("hazard_ratio_per_sd") or {}
    said = str(hazard.get("note") or permutation.get("note") or "")
    own = str((metrics.get("added_value") or {}).get("note") or "")
    value, about = _card(metrics, permutation, score_type, origin)
    return {
        "permutation_svg": _drawn(permutation, permutation.get("statistic") or "statistic", ""),
        "added_svg": _drawn(added, GAIN, "added"),
        "null_caption": _caption(permutation, metrics),
        "added_caption": _mean_said(added.get("null") or [], "Mean of the shuffled cohorts"),
        "which_test": _which_test(metrics, score_type, origin),
        "few_permutations": wording.too_few(permutation),
        "caveat": said,  # once on the page
        "added_note": own.removeprefix(said).strip(),
        "chance_value": value,
        "chance_about": about,
    }


def _drawn(part: Json, statistic: str, name: str) -> Markup:
    null = [v for v in part.get("null") or [] if wording.is_number(v)]
    observed = part.get("observed")
    if not null or not wording.is_number(observed):
        return Markup("")
    return Markup(
        figures.permutation_figure(null, observed, statistic, name=name or "permutation-test")
    )


def _card(metrics: Json, permutation: Json, score_type: str, origin: str) -> tuple[str, str]:
    """Return the number of the card and what it is."""
    rounds, p = permutation.get("permutations") or 0, permutation.get("p_value")
    if wording.is_number(p):
        few = ": too few to say" if wording.too_few(permutation) else ""
        return wording.p_value(p), f"{rounds} permutations of the whole cross-validation{few}"
    wald = (metrics.get("hazard_ratio_per_sd") or {}).get("wald_p")
    if origin in ("imported", "predicted") and wording.is_number(wald):
        if score_type == "locked":
            return wording.p_value(wald), "Wald test of a score that was fixed before"
        if score_type == "external":
            return wording.p_value(wald), "Wald test, if the score learned from none of these"
    return "no test", "no permutation test was run"


def _which_test(metrics: Json, score_type: str, origin: str) -> str:
    wald = (metrics.get("hazard_ratio_per_sd") or {}).get("wald_p")
    centres = (metrics.get("flow") or {}).get("by_centre") or {}
    if score_type == "insample":
        return "There is no test: the score learned from these very outcomes."
    if score_type not in CROSS_VALIDATED:
        condition = (
            "" if score_type == "locked" else ", if the score learned from none of these outcomes"
        )
        p = f": {wording.p_value(wald)}" if wording.is_number(wald) else ""
        return (
            f"The Wald test of the hazard ratio is the test{condition}{p}. The score was not"
            " trained here, so there is no cross-validation to repeat."
        )
    whose = ", which its owner can run," if origin == "imported" else ""
    if len(centres) > 1:
        return f"Only the permutation test{whose} is a test of this score."
    return f"The permutation test{whose} is the test of this score."


def _caption(permutation: Json, metrics: Json) -> str:
    """Return what the histogram shows, why it lies where it lies, and on how many partitions."""
    null, observed = permutation.get("null") or [], permutation.get("observed")
    if not null or not wording.is_number(observed):
        return ""
    repeats = permutation.get("repeats") or 1
    partitions = f"{repeats} partition{'s' if repeats != 1 else ''}"
    headline = wording.headline_of(metrics).get("estimate")
    quoted = (
        f" (the C to quote, {headline:.3f}, is over all of them)"
        if wording.is_number(headline) and abs(headline - observed) > 5e-4
        else ""
    )
    middle = (
        "By chance it lies around 0.5, because both patients of a pair were scored by one model."
        if "fold" in str(permutation.get("statistic"))
        else "Pairs of several models need not lie around 0.5 by chance."
    )
    return (
        f"Line: the observed value on {partitions}, as many as each shuffled cohort has{quoted}."
        f" {middle} {_mean_said(null, 'Mean here')}"
    )


def _mean_said(null: Sequence[Any], what: str) -> str:
    known = [v for v in null if wording.is_number(v)]
    return f"{what}: {float(np.mean(known)):.3f}." if known else ""
