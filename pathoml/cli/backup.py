"""`pathoml backup`: a study in one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Context, Exit, Option

from pathoml.cli.arguments import StudyArgument
from pathoml.cli.console import Console
from pathoml.errors import ConfigError

if TYPE_CHECKING:
    from pathoml.config import Study

MEGABYTE = 10**6


def command(
    ctx: Context,
    file: Annotated[Path, Argument(help="The archive to write, such as study.zip.")],
    study: StudyArgument = Path(),
    embeddings: Annotated[
        bool, Option("--embeddings", help="Put the embeddings in too, which are large.")
    ] = False,
) -> None:
    """Write a study into one file with the hash of each of its files: tables, runs, locked models,
    readings, tiles; no slides, and embeddings only if asked. `pathoml restore` reads it.
    """
    from pathoml.config import load_study

    if (file / "study.yaml").exists():
        raise ConfigError(f"The file comes first, then the study: `pathoml backup FILE {file}`.")
    raise Exit(run(load_study(study), file, ctx.obj, embeddings=embeddings))


def run(study: Study, file: Path, console: Console, *, embeddings: bool) -> int:
    """Write the archive and say what is not in it. Returns 0."""
    from pathoml.store.backup import backup_study

    console.heading(f"backup  {study.folder} into {file}")
    with console.bar("backup", "files") as bar:
        done = backup_study(study, file, embeddings=embeddings, on_file=bar)
    megabytes = f"{done.size_bytes / MEGABYTE:.1f} MB"
    console.say(f"  {done.files} files, {megabytes}, read back and found as written")
    console.say(f"  without {' and '.join(done.without)}: keep those where they are safe too")
    for path, why in done.left_out:
        console.say(f"  NOT IN IT {path.relative_to(study.folder)}: {why}")
    if file.resolve().is_relative_to(study.folder.resolve()):
        console.say("  WARNING: it lies in the study itself. Copy it to another disk.")
    console.say("  it holds patients, and who may read it is who may read the study: keep it so")
    return 0
