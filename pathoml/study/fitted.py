"""How models were fitted, in words for a methods paragraph: from the section `train` that they were
fitted with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CHOSEN = "by cross-validation among the training patients"
# heads that are solved, and how; a run says itself whether another one is
SOLVED = {
    "ridge_cox": (
        "{averaged}, and the head ridge_cox, a Cox model"
        " with a ridge penalty, was solved on the averages{within}; the penalty was chosen "
        + CHOSEN
    ),
    "mean_extremes": (
        "{bag}. The head mean_extremes is a sum of Cox models with a ridge penalty{within} that"
        " were solved, not trained by epochs: of the mean of all tiles (the average of a model of"
        " standardised features and one of principal components of the training patients' tiles),"
        " and, where inner folds support it, of what these leave, of the means of the highest and"
        " of the lowest 2 % of the tiles along those components; penalties and weights, none"
        " negative, were chosen " + CHOSEN
    ),
}
LIKELIHOODS = {
    "cox": "Cox's partial likelihood",
    "discrete_time": (
        "the likelihood of the interval of time in which the event fell (discrete time, under"
        " proportional hazards)"
    ),
}
HARMONISED = (
    "Location and scale of each feature were brought together over centres by"
    " empirical Bayes (after Johnson, Li & Rabinovic, Biostatistics 2007), from the slides of the"
    " training patients, each weighing the same, and for a centre that none of them came from, from"
    " its own slides; no outcome was used. "
)
BAGS = {  # by what has one vector
    "": "All tiles of all slides of a patient were one bag",
    "slide": "The vectors of all slides of a patient were one bag, without tiles",
    "patient": "A patient was one vector, without tiles",
}
AVERAGED = {
    "": "The features of all tiles of a patient were averaged",
    "slide": "The vectors of a patient's slides were averaged",
    "patient": "A patient was one vector",
}


def initial_in_words(initial: Mapping[str, Any] | None) -> str:
    """Return what is said of the weights that models began with, as provenance.json and bundle.json
    have it; "" for random ones.

    >>> initial_in_words({"file": "feather.safetensors", "sha256": "d341dd7e95f4" * 5})
    'the weights of feather.safetensors (SHA-256 d341dd7e95f4)'
    """
    if not initial:
        return ""
    return f"the weights of {initial['file']} (SHA-256 {str(initial['sha256'])[:12]})"


def fitted_by(
    train: Mapping[str, Any],
    *,
    solved: bool | None = None,
    tiles_seen: str = "",
    began_with: str = "",
    vector_of: str = "",
) -> str:
    """Return how a head was fitted, as a sentence without its full stop.

    Args:
        train: keys of the section `train` with the values that were in force.
        solved: the head is solved, not trained by epochs; None where that is not known.
        tiles_seen: what `train` recorded of the projection that it chose.
        began_with: what is said of the weights that every model began with; "" = random ones.
        vector_of: "slide" or "patient" where each had one vector, and no tiles.

    >>> fitted_by({"head": "ridge_cox"})[:62]
    'The features of all tiles of a patient were averaged, and the '
    """
    head, first = train["head"], HARMONISED if train.get("harmonise") else ""
    within = f" within strata by {train['strata']}" if train.get("strata") else ""
    if solved if solved is not None else head in SOLVED:
        other = f"{BAGS[vector_of]}. The head {head} was solved{within}, not trained by epochs"
        words = {"within": within, "bag": BAGS[vector_of], "averaged": AVERAGED[vector_of]}
        return first + (SOLVED[head].format(**words) if head in SOLVED else other)
    projection, seeds = train.get("projection"), int(train.get("seeds", 1))
    seen = tiles_seen or (f"{projection} principal components" if projection else "")
    sampled = (
        ""
        if vector_of
        else f"{train['tiles_per_patient']} tiles per patient and epoch, all tiles when scoring; "
    )
    likelihood = LIKELIHOODS.get(str(train.get("loss", "cox")), str(train.get("loss")))
    return (
        f"{first}{BAGS[vector_of]}. The head {head} was fitted on"
        f" {likelihood}{within} for {train['epochs']} epochs, fixed beforehand"
        f" ({sampled}learning rate {train['learning_rate']:g}, weight decay"
        f" {train['weight_decay']:g}, dropout {train['dropout']:g}"
        + (f"; {seen}" if seen else "")
        + f"; {seeds} {'training' if began_with else 'initialisation'}"
        + ("s averaged" if seeds > 1 else "")
        + " a fold)"
        + (f", beginning with {began_with} instead of random weights" if began_with else "")
    )
