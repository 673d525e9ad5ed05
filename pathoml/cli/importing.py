"""`pathoml import`: another tool's features or scores into the study, through one file of
pathoml/interop/.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Context, Exit, Option

from pathoml.cli.arguments import SetOption
from pathoml.cli.console import Console
from pathoml.cli.exchange import tell_exchange
from pathoml.errors import ConfigError

if TYPE_CHECKING:
    from pathoml.config import Study

VERB = "import"  # which no Python file can be called


def command(
    ctx: Context,
    study: Annotated[Path, Argument(help="The study folder.")],
    source: Annotated[Path, Argument(help="What the other tool wrote: a file or a folder.")],
    name: Annotated[
        str,
        Option(
            "--from",
            help="A file of pathoml/interop/ that can import, or scores: a score per patient.",
        ),
    ],
    column: Annotated[
        str | None, Option("--column", help="Of --from scores: the score's column.")
    ] = None,
    settings: SetOption = None,
) -> None:
    """Read features or scores of another tool into the study."""
    from pathoml.config import load_study

    raise Exit(run(load_study(study, settings or ()), name, source, console=ctx.obj, column=column))


def run(
    study: Study, name: str, source: Path, *, console: Console, column: str | None = None
) -> int:
    """Read what another tool wrote into the study."""
    from pathoml.plugins import load_plugin

    if not source.exists():
        what = (
            "a CSV file with a column patient_id and one of scores"
            if name == "scores"
            else f"the file or folder that {name} wrote"
        )
        raise ConfigError(f"{source} does not exist. Give {what}.")
    if name == "scores":  # makes a run, not tiles and embeddings, and may be told the column
        from pathoml.interop.scores import import_into

        return tell_exchange(
            import_into(study, source, column=column),
            f"written to {study.run_folder}; next: pathoml evaluate, pathoml report",
            console,
        )
    if column:
        raise ConfigError(f"--column goes with --from scores; {name} has no such choice.")
    format_ = load_plugin("pathoml.interop", name, "import_into")
    return tell_exchange(
        format_.import_into(study, source), f"imported from {name} into {study.folder}", console
    )
