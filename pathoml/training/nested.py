"""Nested scores: for each outer fold, its training patients scored by inner folds, so that image
score and covariates may be combined.

A Cox model of clinical covariates and the image score must be fitted to scores that are as honest
as those it will meet. The out-of-fold scores of the patients outside a fold are not: their models
had learned from that fold's patients. Here the models that score a training patient saw neither
that patient nor anyone of the outer fold; the outer fold itself is scored by its own models.

Source: Varma & Simon, BMC Bioinformatics 7:91 (2006).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from pathoml.config import SplitsConfig, TrainConfig
from pathoml.errors import CohortError
from pathoml.store.scores import NESTED, read_columns, write_columns
from pathoml.study.splits import make_splits
from pathoml.training.fit import fit_models
from pathoml.training.loop import OnEpoch, model_specs
from pathoml.training.model_stack import ModelSpec
from pathoml.training.outcomes import Outcomes
from pathoml.training.scoring import FoldScores, fold_scores, out_of_fold
from pathoml.types import Array, Bag, Cohort, Split

COLUMN = "fold "  # before the name of the outer fold


def inner_splits(cohort: Cohort, outer: Split, config: SplitsConfig) -> list[Split]:
    """Return one partition of the training patients of each fold of `outer`, named after that fold.

    The scheme is the outer one; where too few centres are left for it, folds are stratified by
    event.

    Raises:
        CohortError: a fold's training patients cannot be divided.
    """
    splits = []
    for fold in outer.folds:
        inside = set(fold.train)
        part = replace(cohort, patients=tuple(p for p in cohort.patients if p.patient_id in inside))
        once = config.model_copy(update={"repeats": 1, "file": None})
        try:
            [split] = make_splits(part, once)
        except CohortError:
            [split] = make_splits(part, once.model_copy(update={"scheme": "stratified"}))
        splits.append(replace(split, name=fold.name))
    return splits


def nested_specs(
    cohort: Cohort, outer: Split, config: SplitsConfig, *, seeds: int
) -> list[ModelSpec]:
    """Return the models of the inner folds of every outer fold; `repeat` is the outer fold."""
    return model_specs(inner_splits(cohort, outer, config), seeds)


def nested_scores(
    cohort: Cohort,
    bags: Sequence[Bag],
    outer: Split,
    *,
    outer_scores: Sequence[FoldScores],
    specs: Sequence[ModelSpec],
    config: TrainConfig,
    device: torch.device,
    seed: int,
    on_epoch: OnEpoch | None = None,
) -> dict[str, Array]:
    """Return for each outer fold (B,) scores in SD: training patients by inner models, the others
    by the outer fold's models.

    Args:
        outer: the partition whose folds are nested.
        outer_scores: how that partition's own models score everyone.
        specs: of `nested_specs`.
    """
    raw = inner_scores(
        cohort, bags, specs, config=config, device=device, seed=seed, on_epoch=on_epoch
    )
    return nested_of(raw, specs, cohort.patient_ids, outer=outer, outer_scores=outer_scores)


def inner_scores(
    cohort: Cohort,
    bags: Sequence[Bag],
    specs: Sequence[ModelSpec],
    *,
    config: TrainConfig,
    device: torch.device,
    seed: int,
    outcomes: Outcomes | None = None,
    on_epoch: OnEpoch | None = None,
) -> Array:
    """Return (M, B) raw log-risks of all patients by the inner models, of whichever endpoints."""
    raw = np.empty((len(specs), len(bags)))
    for block in fit_models(
        cohort,
        bags,
        specs,
        config=config,
        device=device,
        seed=seed,
        outcomes=outcomes,
        on_epoch=on_epoch,
    ):
        raw[block.models] = block.raw
    return raw


def nested_of(
    raw: Array,
    specs: Sequence[ModelSpec],
    patient_ids: Sequence[str],
    *,
    outer: Split,
    outer_scores: Sequence[FoldScores],
) -> dict[str, Array]:
    """Return the nested scores of one endpoint, as `nested_scores`.

    Args:
        raw: (M, B) log-risks of these patients by the inner models.
    """
    inner = fold_scores(raw, specs, patient_ids)
    position = {p: b for b, p in enumerate(patient_ids)}
    by_outer = {f.fold: f for f in outer_scores if f.repeat == outer.name}
    scores: dict[str, Array] = {}
    for fold in outer.folds:
        own = by_outer[fold.name]
        train, test = ([position[p] for p in side] for side in (fold.train, fold.test))
        values = np.full(len(position), np.nan)
        values[train] = out_of_fold(
            [_within(f, train) for f in inner if f.repeat == fold.name], "standardised"
        )[0]
        values[test] = own.standardised[test]
        scores[fold.name] = values
    return scores


def _within(fold: FoldScores, rows: Sequence[int]) -> FoldScores:
    return replace(fold, centred=fold.centred[rows], is_training=fold.is_training[rows])


def write_nested(folder: Path, patient_ids: Sequence[str], scores: dict[str, Array]) -> None:
    """Write runs/RUN/nested_scores.csv: one row per patient, one column an outer fold of the first
    repeat.
    """
    write_columns(folder / NESTED, patient_ids, scores, prefix=COLUMN)


def read_nested(folder: Path, patient_ids: Sequence[str]) -> dict[str, Array] | None:
    """Read nested_scores.csv for these patients in this order; None if the run has none.

    Raises:
        StoreError: a patient is missing, or a cell is not a number.
    """
    return read_columns(folder / NESTED, patient_ids, COLUMN)
