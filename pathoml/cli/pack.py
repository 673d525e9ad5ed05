"""`pathoml pack`: many slides' embeddings into few large files."""

from __future__ import annotations

from pathlib import Path

from pathoml.cli.console import Console
from pathoml.config import Study


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
