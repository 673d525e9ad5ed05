"""Numbers as a clinician reads them, and the paragraph that says what they mean: never more than
the numbers carry.
"""

from __future__ import annotations

from typing import Any, TypeGuard

from pathoml.survival.estimate import interval_text
from pathoml.types import Json

CHANCE = 0.5  # C of a coin
LEVEL = 0.05
FEWEST_PERMUTATIONS = 99  # fewer cannot say much below 5 %
OF_VECTORS = (("vectors_ridge_cox", "one on"), ("vectors_head", "the same head on"))
MISSING = "not available"
SCORED_BY = {
    "oof": "each scored only by models that had not seen them (cross-validation)",
    "loco": "each scored only by a model from the other centres (leave one centre out)",
    "external": "scored by another program; how is not known here",
    "locked": "each scored by a locked model from another study",
    "insample": "scored by models that were trained on the same patients, which proves nothing",
}


def number(value: Any, digits: int = 2) -> str:
    """Return a number with fixed digits, or "not available".

    >>> number(0.625), number(None), number(246, 0)
    ('0.62', 'not available', '246')
    """
    return f"{value:.{digits}f}" if is_number(value) else MISSING


def is_number(value: Any) -> TypeGuard[float]:
    """Return whether the value is a finite number.

    >>> is_number(1), is_number(None), is_number(float("nan")), is_number(True)
    (True, False, False, False)
    """
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
    )


def estimate(content: Json | None, digits: int = 2, *, signed: bool = False) -> str:
    """Return "0.62 (0.55 to 0.69)", the note that says why there is none, or "not available".

    >>> estimate({"estimate": 0.62, "low": 0.55, "high": 0.69})
    '0.62 (0.55 to 0.69)'
    >>> estimate({"estimate": None, "note": "not estimable: 3 events"})
    'not estimable: 3 events'
    """
    if not content or not is_number(content.get("estimate")):
        return str((content or {}).get("note") or MISSING)
    low, high = (v if is_number(v := content.get(k)) else None for k in ("low", "high"))
    return interval_text(
        content["estimate"],
        low,
        high,
        digits=f"{'+' if signed else ''}.{digits}f",
        without=" (no interval)",
    )


def p_value(value: Any) -> str:
    """Return "p = 0.004", "p < 0.001" or "p not available".

    >>> p_value(0.0042), p_value(0.31), p_value(1e-9), p_value(None)
    ('p = 0.004', 'p = 0.31', 'p < 0.001', 'p not available')
    """
    if not is_number(value):
        return f"p {MISSING}"
    if value < 0.001:
        return "p < 0.001"
    return f"p = {value:.2f}" if value >= 0.1 else f"p = {value:.3f}"


def summary(
    metrics: Json, permutation: Json, *, score_type: str, centres: int, origin: str = ""
) -> list[str]:
    """Return the sentences of "In one paragraph".

    Args:
        score_type: as scores.csv says.
        centres: of the patients who are analysed.
        origin: "imported" or "predicted" where nothing was trained here.
    """
    return [
        _who(metrics, score_type, centres, origin),
        *_how_well(metrics),
        _chance(metrics, permutation, score_type, origin),
        _compared(metrics),
        _added(metrics.get("added_value"), permutation, origin),
    ]


def _who(metrics: Json, score_type: str, centres: int, origin: str) -> str:
    flow = metrics.get("flow") or {}
    n, events = number(metrics.get("n"), 0), number(metrics.get("events"), 0)
    where = f"{centres} centre" + ("s" if centres != 1 else "")
    slides = f", {flow['slides']} slides" if flow.get("slides") else ""
    how = SCORED_BY.get(score_type, f"scored ({score_type})")
    if origin == "imported" and score_type != "external":  # it is not for us to say
        how = f"scored by another program, whose owner says of them: {how}"
    return f"{n} patients from {where} ({events} with an event{slides}) were {how}."


def _how_well(metrics: Json) -> list[str]:
    headline = headline_of(metrics)
    value, low, high = (headline.get(k) for k in ("estimate", "low", "high"))
    if not is_number(value):
        said = [
            f"How well the image score orders the patients is {estimate(headline).rstrip('.')}."
        ]
        pooled = metrics.get("harrell_c") or {}
        if within_centres(metrics) and is_number(pooled.get("estimate")):
            said.append(
                f"Compared across hospitals, which it may have recognised, C is {estimate(pooled)}."
            )
        return said
    where = " of the same hospital" if within_centres(metrics) else ""
    endpoint = metrics.get("endpoint")
    named = f" ({endpoint})" if endpoint else ""
    sentences = [
        f"Of two patients{where} of whom one was known to have the event first{named}, the image"
        " score put "
        f"{100 * value:.0f} % in the right order: C {estimate(headline)}, where 0.5 is a coin."
    ]
    if not (is_number(low) and is_number(high)):
        sentences.append("Without an interval, this number alone shows nothing.")
    elif low > CHANCE:
        sentences.append("The interval lies above 0.5.")
    elif high < CHANCE:
        sentences.append(
            "The interval lies below 0.5: the score orders patients the wrong way round, which"
            " needs an explanation."
        )
    else:
        sentences.append(
            "The interval includes 0.5: these data do not show that the score is better than a"
            " coin."
        )
    pooled = metrics.get("harrell_c") or {}
    if within_centres(metrics) and is_number(pooled.get("estimate")):
        sentences.append(
            "Patients of different hospitals are not compared, so that no hospital can be"
            f" recognised instead; with them C is {estimate(pooled)}."
        )
    return sentences


def within_centres(metrics: Json) -> bool:
    """Whether the C to quote compares patients of one centre only."""
    return metrics.get("headline") == "harrell_c_centre_stratified"


def headline_of(content: Json, metrics: Json | None = None) -> Json:
    """Return the C to quote of `content`: metrics, or its section of a baseline."""
    key = (metrics or content).get("headline") or "harrell_c"
    return content.get(key) or {}


def _chance(metrics: Json, permutation: Json, score_type: str, origin: str) -> str:
    p, rounds = permutation.get("p_value"), permutation.get("permutations") or 0
    if not is_number(p):
        return _without_permutations(metrics, score_type, origin)
    if too_few(permutation):
        return (
            "The slides were shuffled between patients and everything was trained again"
            f" {rounds} times ({p_value(p)}): too few to say whether chance does as well;"
            f" {FEWEST_PERMUTATIONS} or more can."
        )
    smallest = (
        ", the smallest that so few can give" if rounds and abs(p - 1 / (rounds + 1)) < 1e-9 else ""
    )
    test = (
        "When the slides were shuffled between patients and everything was trained again"
        f" {rounds} times, {p_value(p)}{smallest}: "
    )
    return test + (
        "chance alone rarely does as well."
        if p < LEVEL
        else "chance alone does as well often enough; nothing is shown."
    )


def too_few(permutation: Json) -> bool:
    """Return whether there are fewer permutations than can say anything.

    >>> too_few({"permutations": 19}), too_few({"permutations": 99})
    (True, False)
    """
    return (permutation.get("permutations") or 0) < FEWEST_PERMUTATIONS


def _without_permutations(metrics: Json, score_type: str, origin: str) -> str:
    wald = (metrics.get("hazard_ratio_per_sd") or {}).get("wald_p")
    if origin not in ("imported", "predicted"):
        return (
            "No permutation test was run: too few to say whether chance does as well"
            f" ({FEWEST_PERMUTATIONS} permutations or more can)."
        )
    if score_type == "insample":
        return "The score learned from these very outcomes: no test of it means anything."
    if not is_number(wald):
        return (
            "Its training cannot be repeated here, and no Wald test of a cross-validated score"
            " holds: whether chance does as well is for its owner to show."
        )
    verdict = (
        "chance alone rarely does as well"
        if wald < LEVEL
        else "chance alone does as well often enough; nothing is shown"
    )
    if origin == "predicted":
        return (
            "The score was fixed before these outcomes were seen, so that the Wald test of its"
            f" hazard ratio holds: {p_value(wald)}: {verdict}."
        )
    return (
        f"Its training cannot be repeated here. The Wald test of its hazard ratio, {p_value(wald)},"
        " holds only if the score learned from none of these outcomes"
        + (f": then {verdict}." if score_type in ("external", "locked") else ", which it did.")
    )


def _compared(metrics: Json) -> str:
    compared = headline_of(metrics.get("ridge_cox") or {}, metrics)
    ridge = estimate(compared)
    clinical = metrics.get("clinical") or {}
    covariates = [str(c) for c in clinical.get("covariates") or []]
    named = f" ({', '.join(covariates)})" if covariates else ""
    if not is_number(compared.get("estimate")):
        return (
            f"For comparison, the clinical covariates alone{named} reach C"
            f" {estimate(headline_of(clinical, metrics))}."
        )
    vectors = "".join(
        f"{words} the vectors {metrics[key].get('encoding')}"
        f" {estimate(headline_of(metrics[key], metrics))}; "
        for key, words in OF_VECTORS
        if metrics.get(key)
    )
    return (
        f"For comparison, a ridge Cox model on the slides' average features reaches C {ridge}; "
        f"{vectors}the clinical covariates alone{named}:"
        f" {estimate(headline_of(clinical, metrics))}."
    )


def _added(added: Json | None, permutation: Json, origin: str) -> str:
    if not added:
        return "Whether the score adds to the clinical model was not tested."
    delta = added.get("delta_harrell_c") or {}
    p, test = (permutation.get("added_value") or {}).get("p_value"), "permutation"
    frozen = added.get("p_value_anticonservative")
    if not is_number(p) and origin == "predicted" and is_number(frozen):
        p, test = frozen, "likelihood ratio"  # which holds for a score that was fixed before
    said = estimate(delta, 3, signed=True).rstrip(".")
    change = f"(change in C {said}; {test} {p_value(p)})"
    low = delta.get("low")
    if not is_number(p):
        return (
            "Whether the score adds to the clinical model was not tested by permutation, so it is"
            f" not shown {change}."
        )
    if test == "permutation" and too_few(permutation):
        return (
            f"So few permutations do not say whether the score adds to the clinical model {change}."
        )
    if p >= LEVEL:
        return f"It is not shown that the score adds to the clinical model {change}."
    if is_number(low) and low > 0:
        return f"The score adds to the clinical model {change}."
    return (
        "The score adds to the clinical model's fit, but the interval of the change in C includes"
        f" zero {change}."
    )
