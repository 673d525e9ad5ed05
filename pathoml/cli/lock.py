"""`pathoml lock`: a frozen ensemble of the run's recipe in bundles/NAME/."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Context, Exit, Option

from pathoml.cli.arguments import SetOption, StudyArgument
from pathoml.cli.console import Console

if TYPE_CHECKING:
    from pathoml.config import Study


def command(
    ctx: Context,
    study: StudyArgument = Path(),
    name: Annotated[str, Option("--name", help="The folder under bundles/.")] = "locked",
    settings: SetOption = None,
) -> None:
    """Freeze the run's recipe: an ensemble trained on all patients, with scaler and cut-offs:
    bundles/NAME/.
    """
    from pathoml.config import load_study

    raise Exit(run(load_study(study, settings or ()), name, ctx.obj))


def run(study: Study, name: str, console: Console) -> int:
    """Train on all patients and freeze."""
    from pathoml.bundles.locking import lock
    from pathoml.store.published import free_name

    folder = lock(study, name, progress=console)
    console.say(
        f"  {folder}: give the whole folder to who shall score new patients with `pathoml predict"
        f" STUDY --bundle {folder.name}`"
    )
    run = study.config.run
    console.say(
        f"  runs/{run} is published now: nothing writes over it. With other settings go on in"
        f" another run: `pathoml run --set run={free_name(study.runs_folder, run)}`"
    )
    if secondary := study.config.secondary_endpoints:
        names = ", ".join(endpoint.name for endpoint in secondary)
        console.say(
            f"  it predicts {study.config.endpoint.name} alone; to lock {names}, make it `endpoint`"
            " in a study.yaml"
        )
    return 0
