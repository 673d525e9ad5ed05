"""`pathoml train`: models, splits and out-of-fold scores in runs/RUN/."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from typer import Context, Exit

from pathoml.cli.arguments import SetOption, StudyArgument
from pathoml.cli.console import Console

if TYPE_CHECKING:
    from pathoml.config import Study
    from pathoml.training.step import Trained


def command(ctx: Context, study: StudyArgument = Path(), settings: SetOption = None) -> None:
    """Train all folds, repeats and seeds; write models and out-of-fold scores: runs/RUN/."""
    from pathoml.config import load_study

    raise Exit(run(load_study(study, settings or ()), ctx.obj))


def run(study: Study, console: Console) -> int:
    """Train if the data or the configuration changed."""
    from pathoml.training.step import train_study

    return tell(train_study(study, progress=console), console)


def tell(trained: Trained, console: Console) -> int:
    """Print what was trained, and who was left out."""
    if trained.fresh:
        return 0
    for patient, reason in trained.excluded:
        console.say(f"  left out {patient}: {reason}")
    console.say(f"  {trained.tiles}")
    if trained.harmonised:
        console.say(f"  {trained.harmonised}")
    if trained.over_budget:
        console.say(f"  WARNING: clinical covariates and image score are {trained.over_budget}")
    if trained.began_with:
        console.say(f"  every model began with {trained.began_with}")
    for warning in trained.warnings:
        console.say(f"  WARNING: {warning}")
    console.say(
        f"  {trained.models} models on {trained.patients} patients, {trained.events} events;"
        f" scores: {trained.folder}/scores.csv"
    )
    for name, what in trained.endpoints:
        console.say(f"  secondary endpoint {name}: {what}")
    if trained.offset:
        console.say(f"  offset score: {trained.offset}; {trained.folder}/offset/scores.csv")
    return 0
