"""The command line: `pathoml VERB [STUDY] [--set section.key=value ...]`. A verb is one file with a
function `command`, whose options and docstring are its help; it imports its step when it is called.

Exit codes: 0 done, 1 some slides failed (failures.csv says which and why), 2 the user's input, 70
our bug.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from contextlib import nullcontext
from typing import Annotated

import typer

import pathoml
from pathoml.cli.console import Console
from pathoml.cli.exit_codes import guarded
from pathoml.cli.help import arrange
from pathoml.cli.interrupts import answering_interrupts
from pathoml.cli.surroundings import begin_in_utf8, prepared

app = typer.Typer(
    name="pathoml",
    help=(
        "From whole-slide images and a clinical table to an honest risk score, maps and a report."
        " Research use only."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def register_verbs(app: typer.Typer) -> None:
    """Add every file of this folder that has a `command`; the verb is called as the file is, or as
    its VERB says.
    """
    for found in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{found.name}")
        if hasattr(module, "command"):
            # in one line, which a terminal breaks where it must
            text = " ".join((inspect.getdoc(module.command) or "").split())
            app.command(getattr(module, "VERB", found.name), help=text)(module.command)


register_verbs(app)
arrange(app)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pathoml {pathoml.__version__}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback answers
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    log_json: Annotated[
        bool,
        typer.Option(
            "--log-json",
            envvar="PATHOML_LOG_JSON",
            help="One JSON object a line: time, level, step, slide, message.",
        ),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option(
            "--debug",
            envvar="PATHOML_DEBUG",
            help="Show the traceback of every error, the user's mistakes too.",
        ),
    ] = False,
) -> None:
    console = ctx.ensure_object(Console)
    console.as_json, console.debug = log_json, debug


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code."""
    if arguments is None:  # nobody else's process
        begin_in_utf8()
    console = Console()
    with prepared(), answering_interrupts(console) if arguments is None else nullcontext():
        code = guarded(lambda: app(arguments, standalone_mode=True, obj=console), console)
        console.on_end(code)
    sys.exit(code)
