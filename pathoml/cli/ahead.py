"""What a run still takes, and whether it fits: told by `check`, and refused before it begins."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pathoml.cli.bars import duration_text
from pathoml.cli.console import Console
from pathoml.errors import StoreError
from pathoml.store.disks import bytes_text, disks_of

if TYPE_CHECKING:
    from pathoml.config import Study
    from pathoml.store.disks import Disk
    from pathoml.study.needs import Looked, Machine
    from pathoml.study.needs_of_a_run import Need
    from pathoml.types import Cohort, Slide

LOOK_S = 10.0  # that a slide may take to be looked at
DOUBT = 2.0  # times what is estimated may still come
# bytes of a slide with very many tiles: where the disk has that for each, no slide is looked at
LARGEST_SLIDE, LARGEST_SLIDE_FILES, LARGEST_RUN = 250_000_000, 10, 1_000_000_000
QUOTA = "A quota of yours is not seen from here: ask whoever runs the disk."


def say_ahead(study: Study, cohort: Cohort, console: Console) -> None:
    """Print what each step still takes, and on each disk what is needed and what is there."""
    needs = needs_of(study, cohort)
    if not needs:
        console.say("  ahead: nothing that would take room")
        return
    console.say("  ahead, as estimated:")
    console.table(
        [
            (
                need.step,
                need.what,
                bytes_text(need.size),
                need.files,
                duration_text(need.seconds),
                need.stands_on,
            )
            for need in needs
        ],
        ("step", "still to do", "room", "files", "time", "stands on"),
    )
    console.say(f"  together {duration_text(sum(need.seconds for need in needs))}")
    for disk, size, files in on_disks(needs):
        word = "" if fits(disk, size * DOUBT, files * DOUBT) else "WARNING "
        where = ", ".join(_named(folder, study) for folder in disk.folders)
        console.say(
            f"  {word}disk of {where}: needs {bytes_text(size)} in {files} files; {room_text(disk)}"
        )
    console.say(f"  {QUOTA}")


def refuse_what_does_not_fit(study: Study, steps: Sequence[str] | None = None) -> None:
    """Refuse a run whose disks have less room than it is estimated to need, before it begins.

    Args:
        steps: of the run; None for all.

    Raises:
        CohortError: the tables cannot be read.
        StoreError: how much is needed, how much is there, in which folder; and what to do.
    """
    from pathoml.study.cohort import read_cohort

    if not study.config.compute.check_space:
        return
    cohort = read_cohort(study)
    if surely_fits(study, len(cohort.slides)):
        return
    needs = [need for need in needs_of(study, cohort) if steps is None or need.step in steps]
    for disk, size, files in on_disks(needs):
        if not fits(disk, size, files):
            where = ", ".join(_named(folder, study) for folder in disk.folders)
            raise StoreError(
                f"{study.folder}: about {bytes_text(size)} in {files} files are still to be written"
                f" to {where}, and on that disk {room_text(disk)}. Nothing was begun. Make room,"
                " move the study, or put a link to a folder on a larger disk in the place of"
                " embeddings/ or runs/; to go on all the same: --set compute.check_space=false."
                f" `pathoml check {study.folder}` says what the estimate stands on."
            )


def surely_fits(study: Study, slides: int) -> bool:
    """Return whether every disk has room for slides of the largest size, so that nothing needs to
    be looked at.
    """
    size = slides * LARGEST_SLIDE + LARGEST_RUN
    files = slides * LARGEST_SLIDE_FILES + 10_000
    folders = (study.all_tiles, study.all_embeddings, study.run_folder)
    return all(fits(disk, size, files) for disk in disks_of(folders))


def needs_of(study: Study, cohort: Cohort) -> list[Need]:
    """Return what the steps of a run still take, with a look at a few slides."""
    from pathoml.store.probe import Probe
    from pathoml.study.layout import tiles_folder
    from pathoml.study.needs import Looked, needs_ahead
    from pathoml.tiling.jobs import TileJob, tile_jobs
    from pathoml.tiling.looking import look_at_job
    from pathoml.training.score_source import score_source

    jobs: dict[Path, dict[str, TileJob]] = {}

    with Probe(look_at_job, LOOK_S) as probe:

        def look(scale: Study, slide: Slide) -> Looked | None:
            folder = tiles_folder(scale)
            if folder not in jobs:
                jobs[folder] = {job.slide.slide_id: job for job in tile_jobs(scale, cohort)}
            job = jobs[folder].get(slide.slide_id)
            if job is None or slide.path is None or not slide.path.exists():
                return None
            end, said = probe.ask(job)
            if end != "answered" or not said:  # `check` says of each slide what is wrong with it
                return None
            tiles, seconds = said.split()
            return Looked(tiles=int(tiles), seconds=float(seconds))

        return needs_ahead(
            study,
            cohort,
            _machine(study),
            look=look,
            trains=bool(cohort.slides) and score_source(study, cohort) is None,
        )


def _machine(study: Study) -> Machine:
    from pathoml.compute.processes import workers
    from pathoml.engines.local import available_workers
    from pathoml.study.needs import Machine

    devices = list(Path("/proc/driver/nvidia/gpus").glob("*"))  # known without loading torch
    return Machine(
        workers=workers(study),
        cores=available_workers(),
        gpus=0 if study.config.compute.device == "cpu" else len(devices),
    )


def on_disks(needs: Iterable[Need]) -> list[tuple[Disk, int, int]]:
    """Return each disk with the bytes and files that are to be written to it."""
    size: dict[Path, int] = defaultdict(int)
    files: dict[Path, int] = defaultdict(int)
    for need in needs:
        size[need.folder] += need.size
        files[need.folder] += need.files
    return [
        (disk, sum(size[f] for f in disk.folders), sum(files[f] for f in disk.folders))
        for disk in disks_of(size)
    ]


def fits(disk: Disk, size: float, files: float) -> bool:
    """Return whether a disk has room for so many bytes in so many files."""
    return size <= disk.free and (disk.free_files is None or files <= disk.free_files)


def room_text(disk: Disk) -> str:
    """Return what is free on a disk, in words."""
    files = "" if disk.free_files is None else f" and {disk.free_files} files"
    return f"{bytes_text(disk.free)}{files} are free"


def _named(folder: Path, study: Study) -> str:
    with suppress(ValueError):
        return str(folder.relative_to(study.folder))
    return str(folder)
