"""A whole cross-validation in one call, for a notebook: every fold, repeat and seed of one head,
and who was scored how by models that did not see them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import nn

from pathoml.bags.reading import mean_features
from pathoml.compute.devices import pick_device
from pathoml.config import TrainConfig, changed_section
from pathoml.errors import CohortError
from pathoml.study.splits import check_splits
from pathoml.training.fit import fit_models
from pathoml.training.heads import reference_to
from pathoml.training.loop import model_specs
from pathoml.training.offset import offset_models
from pathoml.training.scoring import FoldScores, fold_scores, out_of_fold, standardise
from pathoml.training.solving import seeds_of
from pathoml.types import SILENT, Array, Bag, Cohort, Progress, Split


@dataclass(frozen=True, kw_only=True, eq=False)
class Validation:
    """A cross-validation with all that is needed to repeat it."""

    cohort: Cohort
    bags: Sequence[Bag]  # in the cohort's order
    splits: Sequence[Split]
    config: TrainConfig
    seed: int
    device: str
    folds: Sequence[FoldScores]  # how each fold of each repeat scores everybody
    offset: Validation | None = None  # of the offset score, where config asks for it

    @property
    def log_risk(self) -> Array:
        """(B,) centred log-risk, mean over the repeats; higher = earlier event."""
        return np.asarray(out_of_fold(self.folds).mean(axis=0))

    @property
    def score_sd(self) -> Array:
        """(B,) the score in units of its SD over the cohort, mean over the repeats."""
        return standardise(out_of_fold(self.folds, "standardised"))

    @property
    def score_sd_by_repeat(self) -> Array:
        """(R, B) the same score for each repeat alone."""
        return np.stack([standardise(row[None]) for row in out_of_fold(self.folds, "standardised")])

    def __repr__(self) -> str:
        models = sum(len(fold.models) for fold in self.folds)
        return (
            f"Validation(head {self.config.head!r}, {len(self.cohort.patients)} patients,"
            f" {len(self.splits)} repeats, {models} models"
            f"{', with an offset score' if self.offset else ''})"
        )


def cross_validate(
    head: str | type[nn.Module],
    cohort: Cohort,
    bags: Sequence[Bag],
    splits: Sequence[Split],
    *,
    config: TrainConfig | None = None,
    seed: int = 1,
    device: str = "auto",
    progress: Progress = SILENT,
    **changed: Any,
) -> Validation:
    """Train a head on every fold and score each patient by the models that did not see them.

    Args:
        head: a file in pathoml/mil/ by its name, or a class `Head(in_dim, hidden, dropout)` whose
            `forward(features (B, N, D), is_tile (B, N))` returns a HeadOutput; defined at the top
            of a module or notebook.
        bags: one per patient, in any order.
        config: the section `train` of study.yaml; its defaults if not given.
        seed: of initialisation, dropout and samples of tiles.
        device: auto, cpu or cuda.
        changed: keys of that section with other values, such as epochs=20, seeds=1.

    Raises:
        ConfigError: an unknown key or head, or a value out of bounds.
        CohortError: a patient has no bag, the splits are of other patients, or config asks for an
            offset score without covariates.
    """
    given = config or TrainConfig()
    config = changed_section(given, {**changed, "head": reference_to(head)})
    if given.study_folder:  # where a head's ./file.py starts from
        config = config.of_study(given.study_folder)
    ordered = _in_order(cohort, bags)
    check_splits(splits, cohort)
    specs = model_specs(splits, seeds_of(config))
    beside = (
        offset_models(cohort, mean_features(ordered), specs, strata=config.strata, seed=seed)
        if config.offset
        else None
    )
    every = [*specs, *(beside.trained if beside else [])]
    with progress.bar("train", f"model epochs ({len(every)} models)") as bar:
        blocks = fit_models(
            cohort,
            ordered,
            every,
            config=config,
            device=pick_device(device),
            seed=seed,
            on_epoch=bar,
        )
        raw = np.empty((len(every), len(ordered)))  # (M, B)
        for block in blocks:
            raw[block.models] = block.raw
    plain, told = raw[: len(specs)], raw[len(specs) :]
    found = Validation(
        cohort=cohort,
        bags=ordered,
        splits=tuple(splits),
        config=config,
        seed=seed,
        device=device,
        folds=tuple(fold_scores(plain, specs, cohort.patient_ids)),
    )
    if beside is None:
        return found
    beyond = fold_scores(beside.raw(plain, told), specs, cohort.patient_ids)
    return replace(found, offset=replace(found, folds=tuple(beyond)))


def _in_order(cohort: Cohort, bags: Sequence[Bag]) -> list[Bag]:
    """Return the bags in the cohort's order."""
    of_patient = {bag.patient_id: bag for bag in bags}
    missing = [p for p in cohort.patient_ids if p not in of_patient]
    if missing:
        raise CohortError(
            f"{len(missing)} of {len(cohort.patients)} patients have no bag, the first is"
            f" {missing[0]}. Leave them out before you make the splits: cohort ="
            " pathoml.bags.with_bags(cohort, bags); or run `pathoml embed`, or"
            " pathoml.embed(study)."
        )
    return [of_patient[p] for p in cohort.patient_ids]
