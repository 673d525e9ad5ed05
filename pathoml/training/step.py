"""Step `train` as a whole: models, splits, scores and baselines in runs/RUN/, unless they are up to
date.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pathoml.bags.origin import Origin, refuse_other_features
from pathoml.config import Study, opened
from pathoml.errors import StoreError
from pathoml.store.publishing import is_fresh, publishing, unfinished_steps
from pathoml.study.cohort import read_cohort
from pathoml.study.inputs import named, say_why
from pathoml.study.public_cohorts import INITIAL
from pathoml.training.initial_origin import initial_origin
from pathoml.training.recipe import TRAIN_OUTPUTS, train_recipe
from pathoml.training.score_source import ELSEWHERE, score_source
from pathoml.training.trained import Trained
from pathoml.types import SILENT, Cohort, Progress

__all__ = ["Trained", "train_study"]


def train_study(study: Study | Path | str, *, progress: Progress = SILENT) -> Trained:
    """Train all folds, repeats and seeds if the data or the configuration changed.

    Args:
        study: a study or its folder.

    Raises:
        CohortError: the cohort cannot be split or trained on; says why.
        StoreError: the run holds scores from elsewhere, which would be lost; features were made
            otherwise than study.yaml says, or of other slide files than there are.
    """
    study = opened(study)
    cohort, config = read_cohort(study), study.config
    source = score_source(study, cohort)
    if source is not None:
        raise StoreError(
            f"{study.run_folder} holds scores that were not trained there (`pathoml"
            f" {source.step}`). Train in a run of its own: add --set run=trained."
        )
    unknown = refuse_other_features(study, cohort)
    if stopped := set(unfinished_steps(study.run_folder)) & {*ELSEWHERE}:
        raise StoreError(
            f"{study.run_folder}: `pathoml {stopped.pop()}` was stopped while its files changed"
            " places. Do it again, or remove that folder, before a training takes its place."
        )
    initial_origin(study, cohort)  # refused before anything is read or removed
    recipe = train_recipe(study, cohort)
    if is_fresh(study.run_folder, recipe, TRAIN_OUTPUTS):
        progress.heading(f"train  runs/{config.run}: up to date")
        return Trained(folder=study.run_folder, fresh=True)
    once = config.splits.scheme == "leave_one_centre_out"
    repeats = "" if once else f", {config.splits.repeats} repeats"
    progress.heading(
        f"train  runs/{config.run}: {config.train.head}, {config.splits.scheme}{repeats}"
    )
    say_why(progress, study.run_folder, recipe, outputs=TRAIN_OUTPUTS)
    _say_unknown(unknown, progress)
    # here, because loading torch takes seconds
    from pathoml.training.all_folds import train_all_folds
    from pathoml.training.heads import is_solved
    from pathoml.training.solving import seeds_of

    ahead = _models_ahead(
        study, cohort, seeds=seeds_of(config.train), solved=is_solved(config.train)
    )
    with (
        publishing(study.run_folder, recipe, TRAIN_OUTPUTS) as out,
        progress.bar("train", ahead) as bar,
    ):
        trained = train_all_folds(study, cohort, bar, folder=out.folder)
        out.note(
            device=trained.device,
            models=trained.models,
            encoder=trained.encoder,
            tiles=trained.tiles,
            solved=trained.solved,
            features=trained.features,
            **({INITIAL: trained.initial_weights} if trained.initial_weights else {}),
        )
    return trained


def _say_unknown(origins: Sequence[Sequence[Origin]], progress: Progress) -> None:
    """Say of which features it is not known how they were made."""
    every = [one for part in origins for one in part]
    unknown = [one.slide_id for one in every if not one.imported_from and not one.tiling]
    if unknown:
        progress.say(
            f"  {len(unknown)} slides ({named(unknown)}) have features that do not say how they"
            " were made (by an older version, or by hand): they are taken as they are"
        )
    for tool in sorted({one.imported_from for one in every if one.imported_from}):
        slides = [one.slide_id for one in every if one.imported_from == tool]
        progress.say(
            f"  {len(slides)} slides have features of {tool}, whose tiles were laid there: what"
            " study.yaml says of tiles is not true of them"
        )


def _models_ahead(study: Study, cohort: Cohort, *, seeds: int, solved: bool) -> str:
    """Return what there is to do: how many models, but where another program's splits say it."""
    splits, train = study.config.splits, study.config.train
    unit = "model epochs"
    if splits.file:
        return unit
    by_centre = splits.scheme == "leave_one_centre_out"
    folds = len({p.centre for p in cohort.patients}) if by_centre else splits.folds
    endpoints = 1 + len(study.config.secondary_endpoints)
    models = endpoints * folds * (1 if by_centre else splits.repeats) * seeds
    inner = " and the inner ones of each fold" if train.nested else ""
    each = "solved" if solved else f"{train.epochs} epochs each"
    return f"{unit} ({models} models{inner}, {each})"
