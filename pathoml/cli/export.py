"""`pathoml export`: a run, or the study's embeddings, as another tool reads them, through one file
of pathoml/interop/.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Context, Exit, Option

from pathoml.cli.arguments import SetOption, StudyArgument
from pathoml.cli.console import Console
from pathoml.cli.exchange import tell_exchange
from pathoml.errors import ConfigError, nearest

if TYPE_CHECKING:
    from pathoml.config import Study


def command(
    ctx: Context,
    study: StudyArgument = Path(),
    name: Annotated[
        str,
        Option(
            "--to", help="figures (PNG and SVG), or a file of pathoml/interop/ that can export."
        ),
    ] = "qupath",  # what pathologists have
    target: Annotated[
        Path | None,
        Option("--out", help="The folder to write.", show_default="runs/RUN/export/NAME"),
    ] = None,
    settings: SetOption = None,
) -> None:
    """Write a run, or the study's embeddings, as another tool reads them."""
    from pathoml.config import load_study

    raise Exit(run(load_study(study, settings or ()), name, target, console=ctx.obj))


def run(study: Study, name: str, target: Path | None, *, console: Console) -> int:
    """Write the run as another tool reads it."""
    from pathoml.plugins import load_plugin, names_with
    from pathoml.study.current_run import refuse_unfinished

    target = target or study.run_folder / "export" / name
    if name not in (known := names_with("pathoml.interop", "export_to")):
        raise ConfigError(
            f"Nothing is written for {name!r}; --to knows {', '.join(known)}.{nearest(name, known)}"
        )
    refuse_unfinished(study)
    format_ = load_plugin("pathoml.interop", name, "export_to")
    return tell_exchange(
        format_.export_to(study, target), f"written for {name} below {target}", console
    )
