"""`pathoml restore`: a study from the file that `pathoml backup` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Context, Exit

from pathoml.cli.console import Console


def command(
    ctx: Context,
    file: Annotated[Path, Argument(help="The archive that `pathoml backup` wrote.")],
    folder: Annotated[Path, Argument(help="The folder to write: new, or empty.")],
) -> None:
    """Write a study from a backup into a new folder, every file held against its hash."""
    raise Exit(run(file, folder, ctx.obj))


def run(file: Path, folder: Path, console: Console) -> int:
    """Restore, and say what the study needs beside. Returns 0."""
    from pathoml.store.backup import restore_study

    console.heading(f"restore  {file} into {folder}")
    with console.bar("restore", "files") as bar:
        done = restore_study(file, folder, on_file=bar)
    console.say(
        f"  {done.files} files as they were on {done.made} (pathoml {done.pathoml_version})"
    )
    if "embeddings" in done.without:
        console.say("  without embeddings: copy them back, or `pathoml embed` makes them anew")
    console.say(
        "  slides are where slides.csv says; whoever withdrew since the backup is to be withdrawn"
        " again"
    )
    return 0
