"""`pathoml report`: runs/RUN/report.html."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from typer import Context, Exit

from pathoml.cli.arguments import SetOption, StudyArgument
from pathoml.cli.console import Console

if TYPE_CHECKING:
    from pathoml.config import Study


def command(ctx: Context, study: StudyArgument = Path(), settings: SetOption = None) -> None:
    """One self-contained page: runs/RUN/report.html."""
    from pathoml.config import load_study

    raise Exit(run(load_study(study, settings or ()), ctx.obj))


def run(study: Study, console: Console) -> int:
    """Write the report if anything that it shows changed."""
    from pathoml.report.page import write_report

    return tell(write_report(study, progress=console), console)


def tell(page: Path, console: Console) -> int:
    """Print how to open the page."""
    console.say(f"  open it: python3 -m webbrowser {page}")
    return 0
