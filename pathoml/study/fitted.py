"""How models were fitted, in words for a methods paragraph: from the section `train` that they were
fitted with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SOLVED = ("ridge_cox",)  # heads that are solved, of runs that do not say it themselves
LIKELIHOODS = {
    "cox": "Cox's partial likelihood",
    "discrete_time": (
        "the likelihood of the interval of time in which the event fell (discrete time, under"
        " proportional hazards)"
    ),
}
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


def fitted_by(
    train: Mapping[str, Any],
    *,
    solved: bool | None = None,
    tiles_seen: str = "",
    vector_of: str = "",
) -> str:
    """Return how a head was fitted, as a sentence without its full stop.

    Args:
        train: keys of the section `train` with the values that were in force.
        solved: the head is solved, not trained by epochs; None where that is not known.
        tiles_seen: what `train` recorded of the projection that it chose.
        vector_of: "slide" or "patient" where each had one vector, and no tiles.

    >>> fitted_by({"head": "ridge_cox"})[:62]
    'The features of all tiles of a patient were averaged, and the '
    """
    head, strata = train["head"], train.get("strata")
    within = f" within strata by {strata}" if strata else ""
    if solved if solved is not None else head in SOLVED:
        return (
            f"{AVERAGED[vector_of]}, and the head {head}, a Cox"
            f" model with a ridge penalty, was solved on the averages{within}; the penalty was"
            " chosen by cross-validation among the training patients"
        )
    projection, seeds = train.get("projection"), int(train.get("seeds", 1))
    seen = tiles_seen or (f"{projection} principal components" if projection else "")
    sampled = (
        ""
        if vector_of
        else f"{train['tiles_per_patient']} tiles per patient and epoch, all tiles when scoring; "
    )
    likelihood = LIKELIHOODS.get(str(train.get("loss", "cox")), str(train.get("loss")))
    return (
        f"{BAGS[vector_of]}. The head {head} was fitted on"
        f" {likelihood}{within} for {train['epochs']} epochs, fixed beforehand"
        f" ({sampled}learning rate {train['learning_rate']:g}, weight decay"
        f" {train['weight_decay']:g}, dropout {train['dropout']:g}"
        + (f"; {seen}" if seen else "")
        + f"; {seeds} initialisation"
        + ("s averaged" if seeds > 1 else "")
        + " a fold)"
    )
