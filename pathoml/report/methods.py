"""The methods paragraph: what was done, by what the run's files say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pathoml.encoders.pretraining import cohorts_in_words, cohorts_seen_by
from pathoml.report.what_ran import WhatRan
from pathoml.report.wording import is_number, number, within_centres
from pathoml.study.fitted import fitted_by, initial_in_words
from pathoml.types import Json

STAINS = {"macenko": "Macenko", "reinhard": "Reinhard"}
CENTRED = (
    "Each model's score was centred on its training patients and expressed in their standard"
    " deviation; a patient's score is the mean over the models that did not see the patient. No"
    " epoch, cut-off or scaling used the scored fold."
)
NESTED = (
    "For models that combine the score with covariates, each fold's training patients were scored"
    " by models of inner folds."
)
CLINICAL = (
    "It is a Cox model with a small ridge penalty; missing numbers became the training median,"
    " missing categories a level of their own."
)
OWNERS = {  # of imported scores, by the type that their table states
    "oof": "out of fold, as their owner says; ",
    "loco": "leave one centre out, as their owner says; ",
    "locked": "by a model that was locked before, as their owner says; ",
    "insample": "on the very patients that trained them, as their owner says; ",
}


def methods(ran: WhatRan, metrics: Json, permutation: Json) -> str:
    """Return the methods paragraph."""
    how = {"trained": _trained, "imported": _imported, "predicted": _predicted}[ran.origin]
    return " ".join(
        [
            *how(ran, metrics),
            _discrimination(ran, metrics),
            _chance(ran, permutation),
            *_imputed(metrics),
            *_hospitals(metrics),
            *_secondary(metrics),
            *_offset(metrics),
        ]
    )


def _imputed(metrics: Json) -> list[str]:
    """Return how empty covariates were imputed, where any was."""
    gaps = metrics.get("missing_covariates") or {}
    if not gaps.get("imputations"):
        return []
    return [
        f"Covariates that {100 * gaps['share']:.0f} % of the patients lacked were besides imputed"
        f" {gaps['imputations']} times by chained equations with predictive mean matching, in each"
        " fold from its training patients alone, and the models pooled by Rubin's rules."
    ]


def _hospitals(metrics: Json) -> list[str]:
    """Return how hospitals were pooled, where they were."""
    pooled = (metrics.get("between_centres") or {}).get("harrell_c") or {}
    if not pooled.get("hospitals"):
        return []
    return [
        f"C of {pooled['hospitals']} hospitals was pooled on the logit scale, and observed over"
        " expected events on the log scale, by random effects (restricted maximum likelihood,"
        " Hartung-Knapp intervals), with a prediction interval of the next hospital."
    ]


def _secondary(metrics: Json) -> list[str]:
    """Return what was done for further endpoints."""
    endpoints = metrics.get("endpoints") or {}
    trained = [name for name, section in endpoints.items() if section.get("trained")]
    others = [name for name in endpoints if name not in trained]
    said = []
    if trained:
        said.append(
            f"Models of {' and '.join(trained)} were trained on the same folds, those of the"
            " primary endpoint, by the patients who have the endpoint; permutation tests shuffled"
            " the slides once for all endpoints, and their p values are adjusted by Holm's method."
        )
    if others:
        said.append(f"The score was judged on {' and '.join(others)} as it is.")
    return said


def _offset(metrics: Json) -> list[str]:
    """Return how the offset score was made, where there is one."""
    section = metrics.get("offset_score") or {}
    if not section:
        return []
    told, folds = section.get("told_folds") or 0, section.get("folds") or 0
    trained_again = (
        f" In {told} of {folds} folds its models were trained again with the clinical model's"
        " log-risk as an offset in the loss, because ridge Cox on mean embeddings added more to the"
        " covariates that way over inner folds (a chi-square larger by 2 or more); in the others"
        " they are those of the plain score."
        if told
        else " Its models are those of the plain score: in no fold did ridge Cox on mean embeddings"
        " add more to the covariates, over inner folds, when it was told the clinical model's"
        " log-risk as an offset (a chi-square larger by 2 or more)."
    )
    return [
        "An offset score of what the covariates do not say stands beside the plain one: the image"
        " log-risk less a ridge regression of it on the covariates, fitted to each fold's training"
        f" patients.{trained_again}"
    ]


def _trained(ran: WhatRan, _: Json) -> list[str]:
    return [
        _features(ran.features),
        fitted_by(
            ran.train,
            solved=ran.solved,
            tiles_seen=ran.tiles_seen,
            began_with=initial_in_words(ran.initial),
            vector_of=ran.vector_of,
        )
        + ".",
        *_alike(ran),
        partition(ran.splits),
        CENTRED,
        *([NESTED] if ran.nested else []),
    ]


def _imported(ran: WhatRan, metrics: Json) -> list[str]:
    return [
        "The scores were made by another program and imported as they were, centred and divided "
        f"by their standard deviation; {OWNERS.get(ran.score_type, '')}who trained them on whom is"
        " for their owner to say.",
        f"The clinical baseline was fitted here: {partition(ran.splits)} {CLINICAL}",
        f"The score covers {number(metrics.get('n'), 0)} patients.",
    ]


def _predicted(ran: WhatRan, _: Json) -> list[str]:
    bundle, train = ran.bundle, ran.train
    name = f"the locked bundle {bundle['name']}" if bundle.get("name") else "a locked bundle"
    if not train:
        return [
            f"The scores were made by {name}, of which no model was trained on these patients; its"
            " own files, which are not here, say how it was trained."
        ]
    where = (
        f"on {bundle['patients']} patients of another table, {bundle['events']} of them with an"
        " event"
        if bundle.get("patients")
        else "elsewhere"
    )
    endpoint = f" ({bundle['endpoint']})" if bundle.get("endpoint") else ""
    models = f", an ensemble of {bundle['models']} models" if bundle.get("models") else ""
    one = {**train, "seeds": 1}  # the ensemble is said
    fitted = fitted_by(
        one,
        solved=ran.solved,
        tiles_seen=str(ran.initial.get("tiles_seen", "")),
        began_with=initial_in_words(ran.initial),
        vector_of=ran.vector_of,
    )
    fitted = fitted.replace("; 1 initialisation a fold", "").replace("; 1 training a fold", "")
    return [
        f"The scores were made by {name}{models}, trained {where}{endpoint} and fixed before these"
        + (
            f" patients were scored. It had learned from {bundle['in_sample']} of them, so that"
            " nothing here validates it."
            if bundle.get("in_sample")
            else " patients were scored: nothing was trained, divided into folds or chosen on them."
        ),
        _features(ran.features),
        f"{fitted}.",
        *([f"Of these patients: {bundle['harmonised']}"] if bundle.get("harmonised") else []),
        *_alike(ran),
        "A score is the mean over the ensemble, centred on the patients that trained it, in units"
        " of the standard deviation of its out-of-fold scores there; the two groups are divided at"
        " the median of those.",
    ]


def _alike(ran: WhatRan) -> list[str]:
    """Return what models that begin alike have learned from, and what they still differ by."""
    if not ran.initial:
        return []
    cohorts = ran.initial.get("public_cohorts")
    fresh = ran.initial.get("begins_as_usual") or []
    own = f" and by {', '.join(fresh)}, which the weights lack" if fresh else ""
    said = (
        "What the weights learned from is not known."
        if cohorts is None
        else f"The weights learned from {cohorts_in_words(cohorts)}."
    )
    return [f"Models of one fold differ by dropout{own}. {said}"]


def _pretraining(encoder: str) -> str:
    """Return what an encoder learned from, as its authors say."""
    cohorts = cohorts_seen_by(encoder)
    if cohorts is None:
        return " What it learned from is not listed by its authors."
    if not cohorts:
        return " Its authors name no public cohort of slides among what it learned from."
    return f" It learned from {cohorts_in_words(cohorts)}, as its authors say."


def _features(features: Mapping[str, Any]) -> str:
    """Return how slides became vectors."""
    if of := features.get("vector_of"):
        tool = features.get("imported_from") or "another program"
        return (
            f"Each {of} was one vector, made elsewhere (encoder {features.get('encoder', '')},"
            f" imported from {tool}); there were no tiles, and so there is no map."
        )
    side = f"{features['tile_px']} px" if features.get("tile_px") else "the encoder's own size"
    scale = (
        f"{features['mpp']:g} micrometres per pixel"
        if features.get("mpp")
        else "the encoder's own resolution"
    )
    encoder = features.get("encoder", "")
    if features.get("imported_from"):
        return (
            f"The features of tiles of {side} at {scale} were made by another program"
            f" ({features['imported_from']}) with the encoder {encoder} and imported as they were."
            + _pretraining(encoder)
        )
    exclude, context = features.get("exclude") or (), features.get("context_mpp")
    return (
        f"Tissue was cut into tiles of {side} at {scale} (at least"
        f" {100 * features.get('min_tissue', 0):.0f} % tissue"
        + (f"; tiles flagged {' or '.join(exclude)} left out)" if exclude else ")")
        + f" and each tile{_recoloured(features.get('stain'))} was turned into a vector by the"
        f" pretrained encoder {encoder}, which saw no outcome."
        + _pretraining(encoder)
        + (
            f" Behind it stands the vector of the tile around it at {context:g} micrometres per"
            " pixel."
            if context
            else ""
        )
    )


def _recoloured(stain: Any) -> str:
    """Return what was done to the stain: of a section of study.yaml, or of a bundle's word for it
    (study/layout.py).

    >>> _recoloured("macenko-hed0.05") == _recoloured({"normalise": "macenko", "augment": 0.05})
    True
    """
    if isinstance(stain, str):
        words = stain.split("-")
        method = next((w for w in words if w in STAINS), None)
        jitter = next((float(w.removeprefix("hed")) for w in words if w.startswith("hed")), 0.0)
    else:
        method, jitter = (stain or {}).get("normalise"), float((stain or {}).get("augment") or 0)
    parts = (
        [f"normalised to a fixed reference stain by the method of {STAINS[method]}"]
        if method
        else []
    )
    parts += [f"jittered in its stain by {jitter:g}"] if jitter else []
    return f", {' and '.join(parts)}," if parts else ""


def partition(splits: Mapping[str, Any]) -> str:
    """Return who trained and who was scored, as a sentence; of the content of splits.json."""
    parts = splits.get("splits") or []
    folds = sorted({len(part.get("folds") or ()) for part in parts}) or [splits.get("folds", 0)]
    many = " or ".join(str(n) for n in folds)
    repeats = len(parts) or splits.get("repeats", 1)
    scheme = splits.get("scheme", "")
    if scheme == "file":
        times = f"{repeats} partitions" if repeats > 1 else "one partition"
        return (
            f"Who trained and who was scored was read from {splits.get('file') or 'a file'}: "
            f"{times} of the patients into {many} folds, made elsewhere."
        )
    if scheme == "leave_one_centre_out":
        return (
            f"Each of {many} centres was scored by a model trained on all others (leave one centre"
            " out)."
        )
    kind = {
        ("stratified", "centre_and_event"): "stratified by centre and event",
        ("centre_preserving", ""): "with whole centres kept together",
    }.get((scheme, splits.get("stratify_by", "") if scheme == "stratified" else ""))
    times = f"repeated {repeats} times with new partitions" if repeats > 1 else "once"
    return (
        f"Patients were divided {kind or 'stratified by event'} into {many} folds, {times} (seed"
        f" {splits.get('seed')})."
    )


def _discrimination(ran: WhatRan, metrics: Json) -> str:
    tau = metrics.get("tau_months")
    uno = f"; Uno's C up to {tau:.1f} months" if is_number(tau) else ""
    pairs = "one fold" if ran.was_cross_validated else ""
    if within_centres(metrics):
        pairs = f"{pairs} and centre" if pairs else "one centre"
    errors = (
        "1.96 sqrt(2) standard errors given the models"
        if ran.was_cross_validated
        else "1.96 standard errors, the score being as it is"
    )
    others = "no other has an interval, for want of draws of patients"
    if ran.bootstraps:
        others = (
            f"other intervals from {ran.bootstraps} draws of patients within centres, models as"
            " fitted"
        )
    return (
        f"Discrimination is Harrell's C{f' over pairs of {pairs}' if pairs else ''}{uno}; its"
        f" interval is {errors} (infinitesimal jackknife); {others}."
    )


def _chance(ran: WhatRan, permutation: Json) -> str:
    rounds = permutation.get("permutations") or 0
    if is_number(permutation.get("p_value")) and rounds:
        repeats = permutation.get("repeats") or 1
        return (
            f"The permutation test repeated the whole cross-validation {rounds} times ({repeats} "
            f"partition{'s' if repeats != 1 else ''} on both sides) with the bags shuffled between "
            "patients of the same centre; p = (1 + number at least as large) / (permutations + 1)."
        )
    return {
        "trained": "No permutation test was run.",
        "imported": "Their training could not be repeated here, so no permutation test was run.",
        "predicted": (
            "No model was trained on these patients, so there was nothing for a permutation test to"
            " repeat."
        ),
    }[ran.origin]
