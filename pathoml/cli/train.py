"""`pathoml train`: models, splits and out-of-fold scores in runs/RUN/."""

from __future__ import annotations

from pathoml.cli.console import Console
from pathoml.config import Study


def run(study: Study, console: Console) -> int:
    """Train if the data or the configuration changed."""
    from pathoml.store.provenance import is_fresh
    from pathoml.study.cohort import read_cohort
    from pathoml.training.recipe import TRAIN_OUTPUTS, train_recipe

    cohort = read_cohort(study)
    recipe = train_recipe(study, cohort)
    fresh = is_fresh(study.run_folder, recipe, TRAIN_OUTPUTS)
    config = study.config
    what = (
        f"{config.train.head}, {config.splits.scheme}, {config.splits.repeats} repeats,"
        f" {config.train.seeds} seeds"
    )
    console.heading(f"train  runs/{config.run}: {'up to date' if fresh else what}")
    if fresh:
        return 0
    from pathoml.training.step import train_study  # here, because loading torch takes seconds

    folds = (
        len({p.centre for p in cohort.patients})
        if config.splits.scheme == "leave_one_centre_out"
        else config.splits.folds
    )
    repeats = 1 if config.splits.scheme == "leave_one_centre_out" else config.splits.repeats
    inner = " and the inner ones of each fold" if config.train.nested else ""
    models = (
        f"{folds * repeats * config.train.seeds} models{inner}, {config.train.epochs} epochs each"
    )
    with console.bar(
        "train", "model epochs" if config.splits.file else f"model epochs ({models})"
    ) as bar:
        trained = train_study(study, recipe, bar)
    for patient, reason in trained.excluded:
        console.say(f"  left out {patient}: {reason}")
    console.say(f"  {trained.tiles}")
    if trained.over_budget:
        console.say(f"  WARNING: clinical covariates and image score are {trained.over_budget}")
    console.say(
        f"  {trained.models} models on {trained.patients} patients, {trained.events} events;"
        f" scores: {study.run_folder}/scores.csv"
    )
    return 0
