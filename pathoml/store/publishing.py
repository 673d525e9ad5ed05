"""A step's files enter a run's folder together, with the recipe that made them and the proof of
what they are; or not at all.

They are written beside, into a hidden folder of the run. When all are there, what the step left
before is void (first in provenance.json, then its files go), the new ones are renamed into their
places, and the new entry is written last. Whoever is killed leaves the old state, or a step that is
to do again: docs/decisions/0025-published-outputs.md.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pathoml.store.files import sha256_of_file, sweep_temporaries
from pathoml.store.locks import at_work, at_work_on_run
from pathoml.store.provenance import (
    environment,
    read_provenance,
    recipe_sha256,
    recorded_recipe,
    write_provenance,
)
from pathoml.store.published import refuse_published
from pathoml.store.system import sync_folder
from pathoml.types import Recipe

STAGING = ".new"  # of a run's folder: what a step has written so far
UNKNOWN = "not-of-this-run"  # of a run's folder: what lay among a step's files and was not its own
KEPT = ".kept"  # of a folder of a run: what lies there is people's now, and no step's
UNFINISHED = "unfinished"  # of provenance.json: steps of which files are changing places
FILES = "files"  # of provenance.json: step -> name -> proof
HANDED_OUT = "handed out"  # of provenance.json: step -> name -> hash of what people fill in


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """The files of a run's folder that a step makes; names are relative to it, with / between."""

    always: tuple[str, ...]  # there whenever the step was done
    globs: tuple[str, ...]  # all that it may make
    # among those, what people fill in: not proved, and never replaced once somebody wrote into it
    by_people: tuple[str, ...] = ()

    def found(self, folder: Path) -> set[str]:
        """Return the names of the files that lie in a folder and may be the step's."""
        return _matching(folder, self.globs)

    def for_people(self, folder: Path) -> set[str]:
        """Return the names of those that people fill in."""
        return _matching(folder, self.by_people)


@dataclass(frozen=True, kw_only=True)
class Staged:
    """Where a step writes, as if it were the run's folder, and what is to be noted of it."""

    folder: Path
    notes: dict[str, Any] = field(default_factory=dict)  # go into the entry, beside its inputs

    def note(self, **notes: Any) -> None:
        """Note something in the entry of the step."""
        self.notes.update(notes)


@contextmanager
def publishing(run_folder: Path, recipe: Recipe, outputs: Outputs) -> Iterator[Staged]:
    """Yield a folder to write the files of a step into; they become the run's when all are written.

    An error leaves the run as it was.

    Raises:
        StoreError: the step was done and the run is published, another command is at work on the
            run, or a file is not one that the step makes.
    """
    refuse_published(run_folder, recipe.step)
    with at_work_on_run(run_folder, recipe.step):
        staged = Staged(folder=run_folder / STAGING)
        shutil.rmtree(staged.folder, ignore_errors=True)  # of a process that was killed
        staged.folder.mkdir()
        try:
            yield staged
            _switch(run_folder, recipe, outputs, staged=staged)
        finally:
            shutil.rmtree(staged.folder, ignore_errors=True)
        sweep_temporaries(run_folder)


@contextmanager
def new_folder(folder: Path, doing: str) -> Iterator[Path]:
    """Yield a folder to write into, which gets its name when all is written.

    Args:
        folder: that is not there yet.
        doing: the command, as another is told who wants to make the same folder meanwhile.

    Raises:
        StoreError: another command makes it.
    """
    beside = folder.with_name(f".{folder.name}{STAGING}")
    with at_work(beside, doing):
        made = beside / folder.name
        shutil.rmtree(made, ignore_errors=True)  # of a process that was killed
        made.mkdir()
        try:
            yield made
            os.rename(made, folder)
            _sync_folders([folder.parent])
        finally:
            shutil.rmtree(made, ignore_errors=True)
    with suppress(OSError):  # another is there already
        beside.rmdir()


def is_fresh(run_folder: Path, recipe: Recipe, outputs: Outputs) -> bool:
    """Return whether a step of a run was done with this recipe, and what it left is there as it was
    left.
    """
    done = recorded_recipe(run_folder, recipe.step) == recipe_sha256(recipe)
    return done and not unproved(run_folder, recipe.step, outputs)


def unproved(run_folder: Path, step: str, outputs: Outputs) -> list[str]:
    """Return in words which files of a step are missing, changed or not its own; [] where all are
    as the step left them. Of a run of before there were proofs: which are missing.
    """
    proofs: Mapping[str, str] | None = read_provenance(run_folder).get(FILES, {}).get(step)
    if proofs is None:
        lost = [name for name in outputs.always if not (run_folder / name).exists()]
        return _said(lost, "missing")
    lost, changed = _damaged(run_folder, proofs)
    there = outputs.found(run_folder) - outputs.for_people(run_folder)
    foreign = sorted(there - proofs.keys())
    return [
        *_said(lost, "missing"),
        *_said([name for name in changed if name in there], "changed since"),
        *_said(foreign, "not of this run"),
    ]


def is_whole(run_folder: Path, step: str, name: str = "") -> bool:
    """Return whether the files that a step left, or the one of this name, are there as it left
    them; True where nothing is known of them.
    """
    proofs = read_provenance(run_folder).get(FILES, {}).get(step) or {}
    if name:
        proofs = {name: proofs[name]} if name in proofs else {}
    return not any(_damaged(run_folder, proofs))


def renew_proofs(run_folder: Path) -> None:
    """Note the times of files that are what their steps left, of a copy of a run, so that the next
    check need not read them.
    """
    content = read_provenance(run_folder)
    renewed = {
        step: {
            name: f"{proof.partition(' ')[0]} {_seen(run_folder / name)}"
            if (run_folder / name).is_file() and _holds(run_folder / name, proof)
            else proof
            for name, proof in proofs.items()
        }
        for step, proofs in content.get(FILES, {}).items()
    }
    if renewed != content.get(FILES, {}):
        write_provenance(run_folder, {**content, FILES: renewed})


def proved_names(run_folder: Path, step: str) -> frozenset[str] | None:
    """Return the names of the files that a step left, None where nothing is known of them."""
    names = read_provenance(run_folder).get(FILES, {}).get(step)
    return None if names is None else frozenset(names)


def withdraw_outputs(run_folder: Path, step: str, outputs: Outputs) -> None:
    """Remove what a step left where it has nothing to make any more."""
    names = outputs.found(run_folder) - outputs.for_people(run_folder)
    if names or recorded_recipe(run_folder, step):
        refuse_published(run_folder, step)
        with at_work_on_run(run_folder, step):
            _void(run_folder, [step])
            _remove(run_folder, names)
            _finish(run_folder, [step], read_provenance(run_folder))


def _switch(run_folder: Path, recipe: Recipe, outputs: Outputs, *, staged: Staged) -> None:
    new = _files_of(staged.folder)
    hashes = {name: sha256_of_file(path) for name, path in new.items()}
    content = read_provenance(run_folder)
    proved, handed_out = content.get(FILES, {}), content.get(HANDED_OUT, {}).get(recipe.step, {})
    to_fill_in = outputs.for_people(staged.folder)
    to_prove = outputs.found(staged.folder) - to_fill_in  # study.resolved.yaml is nobody's own
    written_into = {
        name
        for name in outputs.for_people(run_folder)
        if sha256_of_file(run_folder / name) != handed_out.get(name)
    }
    old = outputs.found(run_folder) - written_into
    others = [
        step
        for step, names in proved.items()
        if step != recipe.step and not (old | new.keys()).isdisjoint(names)
    ]
    _void(run_folder, [recipe.step, *others])
    if recipe.step in proved:  # else it is of a version that proved nothing, or was interrupted
        _set_aside(run_folder, old - handed_out.keys() - set().union(*proved.values()))
    _remove(run_folder, old)
    for name, path in new.items():
        if name not in written_into:
            (run_folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, run_folder / name)
    _sync_folders({(run_folder / name).parent for name in new})
    content = read_provenance(run_folder)
    content["steps"][recipe.step] = {
        "recipe_sha256": recipe_sha256(recipe),
        "inputs": dict(recipe.inputs),
        **staged.notes,
        "environment": environment(),
    }
    proofs = {name: f"{hashes[name]} {_seen(run_folder / name)}" for name in sorted(to_prove)}
    given = {name: hashes[name] for name in sorted(to_fill_in - written_into)}
    kept = {name: handed_out[name] for name in sorted(written_into & handed_out.keys())}
    _put(content, FILES, recipe.step, proofs)
    _put(content, HANDED_OUT, recipe.step, kept | given)
    _finish(run_folder, [recipe.step, *others], content)


def keep_for_people(folder: Path) -> None:
    """Say that the files of a folder of a run are no step's any more, because somebody wrote there
    about them: nothing replaces or removes them.
    """
    (folder / KEPT).touch()


def release_to_step(folder: Path) -> None:
    """Say that the files of a folder are a step's again, but those that people fill in."""
    (folder / KEPT).unlink(missing_ok=True)


def unfinished_steps(run_folder: Path) -> list[str]:
    """Return the steps whose files were changing places when their process was killed."""
    return list(read_provenance(run_folder).get(UNFINISHED, ()))


def _finish(run_folder: Path, steps: Sequence[str], content: dict[str, Any]) -> None:
    left = [step for step in content.pop(UNFINISHED, ()) if step not in steps]
    write_provenance(run_folder, {**content, **({UNFINISHED: left} if left else {})})


def _void(run_folder: Path, steps: Sequence[str]) -> None:
    """Forget that steps were done, before what they left is touched."""
    content = read_provenance(run_folder)
    for step in steps:
        content["steps"].pop(step, None)
        content.get(FILES, {}).pop(step, None)
    content[UNFINISHED] = sorted({*content.get(UNFINISHED, ()), *steps})
    write_provenance(run_folder, content)


def _put(content: dict[str, Any], section: str, step: str, names: Mapping[str, str]) -> None:
    if names:
        content.setdefault(section, {})[step] = dict(names)
    else:
        content.get(section, {}).pop(step, None)


def _files_of(folder: Path) -> dict[str, Path]:
    """Return name -> path of every file below a folder."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path for path in paths}


def _remove(run_folder: Path, names: set[str]) -> None:
    for name in names:
        (run_folder / name).unlink(missing_ok=True)
    for folder in sorted({(run_folder / name).parent for name in names}, reverse=True):
        while folder != run_folder and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent


def _set_aside(run_folder: Path, names: set[str]) -> None:
    """Move files that lie among a step's and are not its own: no map of it shows them, and who put
    them there finds them.
    """
    for name in sorted(names):
        target = run_folder / UNKNOWN / name
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(run_folder / name, target)


def _sync_folders(folders: Iterable[Path]) -> None:
    """Let renames reach the disk before what speaks of them."""
    for folder in folders:
        if folder.is_dir():
            sync_folder(folder)


def _seen(path: Path) -> str:
    """Return size and times of a file, which change when it is written, copied or renamed."""
    found = path.stat()
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"


def _damaged(run_folder: Path, proofs: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Return the names of the files that are lost, and of those that were changed."""
    lost = [name for name in proofs if not (run_folder / name).is_file()]
    there = [name for name in proofs if name not in lost]
    return lost, [name for name in there if not _holds(run_folder / name, proofs[name])]


def _holds(path: Path, proof: str) -> bool:
    """Return whether a file is the one of the proof: by its size and times, and where these differ,
    as those of a copy do, by its content.
    """
    sha256, _, seen = proof.partition(" ")
    if seen == _seen(path):
        return True
    return seen.split(" ")[0] == str(path.stat().st_size) and sha256_of_file(path) == sha256


def _matching(folder: Path, globs: Sequence[str]) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for glob in globs
        for path in folder.glob(glob)
        if path.is_file() and not path.name.startswith(".") and not (path.parent / KEPT).exists()
    }


def _said(names: Sequence[str], what: str) -> list[str]:
    """Return a phrase for each folder of files.

    >>> _said(["scores.csv", "attention/S1.h5", "attention/S2.h5"], "missing")
    ['scores.csv is missing', '2 files of attention/ are missing']
    """
    folders: dict[str, list[str]] = {}
    for name in names:
        folder = name.rpartition("/")[0]
        folders.setdefault(folder or name, []).append(name)
    return [
        f"{len(mine)} files of {folder}/ {_were(what, 2)}"
        if len(mine) > 1
        else f"{mine[0]} {_were(what, 1)}"
        for folder, mine in folders.items()
    ]


def _were(what: str, count: int) -> str:
    verbs = ("was", "were") if what == "changed since" else ("is", "are")
    return f"{verbs[count > 1]} {what}"
