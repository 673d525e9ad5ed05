"""The runs of a study: what each holds, how large it is, and taking one away."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from pathoml.config import Study
from pathoml.errors import StoreError, nearest
from pathoml.store.locks import at_work_on_run
from pathoml.store.provenance import PROVENANCE, recorded_recipes
from pathoml.store.published import published_by
from pathoml.store.ratings import ABOUT, KEY, naming_sheets, state_codebook
from pathoml.store.removal import Failed, is_of_people, is_run, remove_run
from pathoml.store.walk import walk


@dataclass(frozen=True, kw_only=True)
class RunOnDisk:
    """A folder of runs/."""

    name: str
    steps: tuple[str, ...]  # that were done, in the order of their names
    size_bytes: int
    changed: dt.date  # when a step was last done
    published_by: str  # "" where it is not
    by_people: tuple[Path, ...]  # files that people wrote: they stay when the run goes


def runs_of(study: Study) -> list[RunOnDisk]:
    """Return the runs of a study in the order of their names."""
    folders = sorted(path for path in study.runs_folder.glob("*") if is_run(path))
    return [_run_on_disk(folder) for folder in folders]


def find_run(study: Study, name: str) -> RunOnDisk:
    """Return a run by its name.

    Raises:
        StoreError: the study has no such run.
    """
    folder = study.runs_folder / name
    if folder.parent != study.runs_folder or not is_run(folder):
        known = [one.name for one in runs_of(study)]
        raise StoreError(
            f"{study.runs_folder} has no run {name!r}; it has {', '.join(known) or 'none'}."
            f"{nearest(name, known)}"
        )
    return _run_on_disk(folder)


def delete_run(study: Study, name: str) -> Failed:
    """Remove a run but what people wrote in it; return (path, why) of what could not be removed.

    Raises:
        StoreError: the study has no such run, it is published, or a command is at work on it.
    """
    found, folder = find_run(study, name), study.runs_folder / name
    if found.published_by:
        raise StoreError(
            f"runs/{name} is published ({found.published_by}), and is not deleted. If it may go,"
            f" say so first: `pathoml runs {study.folder} --unpublish {name}`."
        )
    failed: Failed = []
    with at_work_on_run(folder, "runs --delete"):
        for sheet in naming_sheets(folder / "features"):
            if sheet.rated_files():
                state_codebook(sheet)
        remove_run(folder, failed, kept=set(_run_on_disk(folder).by_people))
    return failed


def _run_on_disk(folder: Path) -> RunOnDisk:
    files = walk(folder).files
    done = folder / PROVENANCE
    return RunOnDisk(
        name=folder.name,
        steps=tuple(recorded_recipes(folder)),
        size_bytes=sum(path.stat().st_size for path in files if path.exists()),
        changed=dt.date.fromtimestamp((done if done.exists() else folder).stat().st_mtime),
        published_by=published_by(folder),
        by_people=tuple(
            path
            for path in [*_rated(folder), *(p for p in files if is_of_people(p, folder))]
            if path.exists()
        ),
    )


def _rated(folder: Path) -> list[Path]:
    """Return what raters wrote on, with what says of which slides and codebook it is."""
    return [
        path
        for sheet in naming_sheets(folder / "features")
        if (written := sheet.rated_files())
        for path in [*written, sheet.folder / KEY, sheet.folder / ABOUT]
    ]
