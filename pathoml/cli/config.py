"""`pathoml config`: the values in force, or every key there is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from typer import Argument, Context, Exit

from pathoml.cli.arguments import SetOption, StudyArgument
from pathoml.cli.console import Console


def command(
    ctx: Context,
    what: Annotated[
        str,
        Argument(help="'show' the values in force, or the 'schema': every key, type and default."),
    ] = "show",
    study: StudyArgument = Path(),
    settings: SetOption = None,
) -> None:
    """Show the resolved configuration, or every key there is."""
    raise Exit(run(what, study, settings or [], console=ctx.obj))


def run(what: str, study: Path, settings: Sequence[str], *, console: Console) -> int:
    """Print the resolved configuration of a study ("show") or the table of keys ("schema")."""
    from pathoml.config import load_study, resolved_yaml, schema_rows
    from pathoml.errors import ConfigError

    if what == "schema":
        console.table(schema_rows(), ("key", "type", "default", "meaning"))
        return 0
    if what != "show":
        raise ConfigError(
            f"pathoml config {what}: say what first, `pathoml config show {what}`, or `pathoml"
            " config schema` for every key."
        )
    console.say(resolved_yaml(load_study(study, settings).config))
    return 0
