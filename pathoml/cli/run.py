"""`pathoml run`: every step that is stale, in order."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Context, Exit, Option

from pathoml.cli.ahead import refuse_what_does_not_fit
from pathoml.cli.arguments import SetOption, StudyArgument
from pathoml.cli.console import Console

if TYPE_CHECKING:
    from pathoml.config import Study


def command(
    ctx: Context,
    study: StudyArgument = Path(),
    replace: Annotated[
        bool,
        Option(
            "--replace",
            help="Write over a published run, which is then published no more. Any other run is"
            " written over without it.",
        ),
    ] = False,
    settings: SetOption = None,
) -> None:
    """Every stale step in order: check, tile, embed, train, evaluate, explain, discover, report."""
    from pathoml.config import load_study

    raise Exit(run(load_study(study, settings or ()), ctx.obj, replace=replace))


def run(study: Study, console: Console, *, replace: bool = False) -> int:
    """Check the tables, then run every step. Returns 1 if a slide failed on the way."""
    from pathoml import pipeline
    from pathoml.cli import check

    codes = [check.run(study, console, slides_too=False)]  # `tile` opens them all
    refuse_what_does_not_fit(study)

    def tell(step: str, found: object) -> None:
        codes.append(importlib.import_module(f"pathoml.cli.{step}").tell(found, console))

    pipeline.run(study, progress=console, replace=replace, on_step=tell)
    return max(codes)
