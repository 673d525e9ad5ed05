"""Numbers as a clinician reads them, and the paragraph that says what they mean: never more than
the numbers carry.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

from pathoml.survival.estimate import interval_text
from pathoml.types import Json

CHANCE = 0.5  # C of a coin
LEVEL = 0.05
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


def summary(metrics: Json, permutation: Json, *, score_type: str, centres: int) -> list[str]:
    """Return the sentences of "In one paragraph"."""
    return [
        _who(metrics, score_type, centres),
        *_how_well(metrics),
        _chance(permutation),
        _compared(metrics),
        _added(metrics.get("added_value"), permutation),
    ]


def _who(metrics: Json, score_type: str, centres: int) -> str:
    flow = metrics.get("flow") or {}
    n, events = number(metrics.get("n"), 0), number(metrics.get("events"), 0)
    where = f"{centres} centre" + ("s" if centres != 1 else "")
    slides = f", {flow['slides']} slides" if is_number(flow.get("slides")) else ""
    return (
        f"{n} patients from {where} ({events} with an event{slides}) were"
        f" {SCORED_BY.get(score_type, f'scored ({score_type})')}."
    )


def _how_well(metrics: Json) -> list[str]:
    headline = headline_of(metrics)
    value, low, high = (headline.get(k) for k in ("estimate", "low", "high"))
    if not is_number(value):
        return [f"How well the image score orders the patients is {estimate(headline)}."]
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


def _chance(permutation: Json) -> str:
    p, rounds = permutation.get("p_value"), permutation.get("permutations") or 0
    if not is_number(p):
        return "No permutation test was run, so chance is not excluded."
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
    return (
        f"For comparison, a ridge Cox model on the slides' average features reaches C {ridge}; "
        f"the clinical covariates alone{named}: {estimate(headline_of(clinical, metrics))}."
    )


def _added(added: Json | None, permutation: Json) -> str:
    if not added:
        return "Whether the score adds to the clinical model was not tested."
    delta = added.get("delta_harrell_c") or {}
    p = (permutation.get("added_value") or {}).get("p_value")
    change = f"(change in C {estimate(delta, 3, signed=True)}; permutation {p_value(p)})"
    low = delta.get("low")
    if not is_number(p):
        return (
            "Whether the score adds to the clinical model was not tested by permutation, so it is"
            f" not shown {change}."
        )
    if p >= LEVEL:
        return f"It is not shown that the score adds to the clinical model {change}."
    if is_number(low) and low > 0:
        return f"The score adds to the clinical model {change}."
    return (
        "The score adds to the clinical model's fit, but the interval of the change in C includes"
        f" zero {change}."
    )


def _recoloured(stain: Any) -> str:
    methods = {"macenko": "Macenko", "reinhard": "Reinhard"}
    parts = (
        [f"normalised to a fixed reference stain by the method of {methods[stain.normalise]}"]
        if stain.normalise
        else []
    )
    parts += [f"jittered in its stain by {stain.augment:g}"] if stain.augment else []
    return f", {' and '.join(parts)}," if parts else ""


def methods(
    config: Any, metrics: Json, permutation: Json, *, splits: Sequence[Json], tiles_seen: str = ""
) -> str:
    """Return the methods paragraph, from the configuration in force and what was done.

    Args:
        tiles_seen: what `train` recorded of the projection that it chose.
    """
    tiles, train, split = config.tiles, config.train, config.splits
    if metrics.get("score_type") == "external":
        return _imported_methods(config, metrics, splits)
    side = f"{tiles.tile_px} px" if tiles.tile_px else "the encoder's own size"
    scale = f"{tiles.mpp:g} micrometres per pixel" if tiles.mpp else "the encoder's own resolution"
    parts = [
        f"Tissue was cut into tiles of {side} at {scale} (at least {100 * tiles.min_tissue:.0f} % "
        "tissue"
        + (f"; tiles flagged {' or '.join(tiles.exclude)} left out)" if tiles.exclude else ")")
        + f" and each tile{_recoloured(config.stain)} was turned into a vector by the pretrained"
        f" encoder {config.encoder}, which saw no "
        + "outcome."
        + (
            f" Behind it stands the vector of the tile around it at {tiles.context_mpp:g} "
            "micrometres per pixel."
            if tiles.context_mpp
            else ""
        ),
        f"All tiles of all slides of a patient were one bag. The head {train.head} was fitted on "
        f"Cox's partial likelihood for {train.epochs} epochs, fixed beforehand "
        f"({train.tiles_per_patient} tiles per patient and epoch, all tiles when scoring; learning "
        f"rate {train.learning_rate:g}, weight decay {train.weight_decay:g}, dropout "
        f"{train.dropout:g}"
        + (
            f"; {tiles_seen}"
            if tiles_seen
            else f"; {train.projection} principal components"
            if train.projection
            else ""
        )
        + f"; {train.seeds} initialisation"
        + ("s averaged" if train.seeds > 1 else "")
        + " a fold).",
        _partition(split, splits),
        (
            "Each model's score was centred on its training patients and expressed in their"
            " standard deviation; a patient's score is the mean over the models that did not see"
            " the patient. No epoch, cut-off or scaling used the scored fold."
        ),
    ]
    tau = metrics.get("tau_months")
    uno = f"; Uno's C up to {tau:.1f} months" if is_number(tau) else ""
    parts.append(
        f"Discrimination is Harrell's C over pairs of one fold{uno}; its interval is 1.96 sqrt(2) "
        "standard errors given the models (infinitesimal jackknife); other intervals from "
        f"{config.significance.bootstraps} draws of patients, models as fitted."
    )
    rounds = permutation.get("permutations") or 0
    if rounds:
        repeats = permutation.get("repeats") or 1
        parts.append(
            f"The permutation test repeated the whole cross-validation {rounds} times ({repeats} "
            f"partition{'s' if repeats != 1 else ''} on both sides) with the bags shuffled between "
            "patients of the same centre; p = (1 + number at least as large) / (permutations + 1)."
        )
    else:
        parts.append("No permutation test was run.")
    return " ".join(parts)


def _imported_methods(config: Any, metrics: Json, splits: Sequence[Json]) -> str:
    """Return the methods paragraph of scores that were made elsewhere."""
    return (
        "The scores were made by another program and imported as they were, centred and divided "
        "by their standard deviation; who trained them on whom is for their owner to say. The "
        "clinical baseline was fitted here: " + _partition(config.splits, splits) + " It is a Cox "
        "model with a small ridge penalty; missing numbers became the training median, missing "
        "categories a level of their own. Discrimination is Harrell's C; intervals from "
        f"{config.significance.bootstraps} draws of patients within centres. The score covers "
        f"{number(metrics.get('n'), 0)} patients."
    )


def _partition(config: Any, splits: Sequence[Json]) -> str:
    folds = len(splits[0].get("folds") or ()) if splits else config.folds
    repeats = len(splits) or config.repeats
    if config.scheme == "leave_one_centre_out":
        return (
            f"Each of {folds} centres was scored by a model trained on all others (leave one centre"
            " out)."
        )
    kind = {
        "stratified": "stratified by event",
        "centre_preserving": "with whole centres kept together",
    }[config.scheme]
    times = f"repeated {repeats} times with new partitions" if repeats > 1 else "once"
    return f"Patients were divided {kind} into {folds} folds, {times} (seed {config.seed})."
