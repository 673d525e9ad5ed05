"""`pathoml pack`: many slides' embeddings into few large files."""

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
    gigabytes: Annotated[
        float, Option("--size", min=0.001, max=64, help="Size of a pack in GB.")
    ] = 2.0,
    settings: SetOption = None,
) -> None:
    """Put the embeddings of many slides into few large files, where a file system counts files;
    everything reads them as before.
    """
    from pathoml.config import load_study

    raise Exit(run(load_study(study, settings or ()), ctx.obj, gigabytes))


def run(study: Study, console: Console, gigabytes: float) -> int:
    """Pack the plain files of embeddings/ENCODING, of each magnification and joined; nothing that
    reads them notices. Returns 0.
    """
    from pathoml.study.layout import embeddings_folder, scales

    for folder in dict.fromkeys([*map(embeddings_folder, scales(study)), embeddings_folder(study)]):
        _pack(folder, study, console, gigabytes)
    return 0


def _pack(folder: Path, study: Study, console: Console, gigabytes: float) -> None:
    from pathoml.store.packs import GIGABYTE, pack_folder, pack_paths

    plain = len(list(folder.glob("*.h5")))
    console.heading(
        f"pack   {folder.relative_to(study.folder)}: {plain} plain files,"
        f" {len(pack_paths(folder))} packs of {gigabytes:g} GB"
    )
    with console.bar("pack", "slides") as bar:
        done = 0
        for _, slides in pack_folder(folder, int(gigabytes * GIGABYTE)):
            done += slides
            bar(done, plain)
    console.say(
        f"  {len(pack_paths(folder))} packs; `unzip 'pack-*.zip'` in that folder makes plain files"
        " again"
    )
