"""One vector a slide or patient, made elsewhere, as a further baseline beside a run on tiles: ridge
Cox and the run's own head on the vectors, on the same folds (`train.vectors`).

A slide encoder that was pretrained on a hundred thousand slides costs nobody an epoch here: what is
learned from tiles has to beat it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from pathoml.bags.reading import read_bags
from pathoml.config import Study
from pathoml.errors import CohortError, ConfigError, EncoderError, nearest
from pathoml.study.layout import embeddings_folder, vector_of
from pathoml.training.baselines import ridge_cox_folds
from pathoml.training.fit import fit_models
from pathoml.training.model_stack import ModelSpec
from pathoml.training.recipe import vectors_folder
from pathoml.training.scoring import FoldScores, fold_scores
from pathoml.types import Bag, Cohort, Split

RIDGE, HEAD = "vectors_ridge_cox", "vectors_head"  # columns of baselines.csv
MOST_NAMED = 5  # patients in a sentence


def read_vectors(study: Study, cohort: Cohort) -> list[Bag]:
    """Return one bag of vectors a patient, in the order of the cohort; [] where study.yaml names no
    vectors.

    Args:
        cohort: the patients that have a bag of tiles.

    Raises:
        ConfigError: train.vectors is no encoding of vectors that is there, or what the models are
            trained on already.
        CohortError: a patient has no vector.
    """
    folder, name = vectors_folder(study), study.config.train.vectors
    if folder is None or name is None:
        return []
    there = sorted(p.name for p in study.all_embeddings.glob("*") if vector_of(p.name))
    if not vector_of(folder.name) or not folder.is_dir():
        known_ones = f" ({', '.join(there)})" if there else ""
        raise ConfigError(
            f"study.yaml: train: vectors: {name!r} is no encoding of vectors in"
            f" {study.all_embeddings}{known_ones}."
            f"{nearest(name, there)} Import them: `pathoml import {study.folder} FILE --from"
            " vectors` (or trident, or stamp)."
        )
    try:
        own = embeddings_folder(study)
    except EncoderError:
        own = None
    if own == folder:
        raise ConfigError(
            f"study.yaml: train: vectors: the models themselves are trained on"
            f" {folder.name}, and ridge"
            " Cox on it is their baseline already. Remove the key, or name other vectors."
        )
    known, bags, _ = read_bags(cohort, folder)
    missing = sorted(set(cohort.patient_ids) - set(known.patient_ids))
    if missing:
        more = f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""
        raise CohortError(
            f"study.yaml: train: vectors: {len(missing)} of {len(cohort.patients)} patients have no"
            f" vector in embeddings/{folder.name} ({', '.join(missing[:MOST_NAMED])}{more}), and a"
            " baseline of other patients is no comparison. Import theirs, or remove the key."
        )
    return bags


def vector_baselines(
    cohort: Cohort,
    vectors: Sequence[Bag],
    splits: Sequence[Split],
    *,
    study: Study,
    specs: Sequence[ModelSpec],
    device: torch.device,
) -> dict[str, list[FoldScores]]:
    """Return how ridge Cox and the run's head on vectors score everyone, by fold; {} without
    vectors.

    Args:
        vectors: one bag a patient, in the cohort's order.
        specs: of the run's models: the same folds and seeds.
    """
    if not vectors:
        return {}
    config = study.config
    raw = np.empty((len(specs), len(vectors)))  # (M, B)
    blocks = fit_models(
        cohort, vectors, specs, config=config.train, device=device, seed=config.splits.seed
    )
    for block in blocks:
        raw[block.models] = block.raw
    return {
        RIDGE: ridge_cox_folds(cohort, vectors, splits, strata=config.train.strata),
        HEAD: fold_scores(raw, specs, cohort.patient_ids),
    }
