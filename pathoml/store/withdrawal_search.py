"""What of a study holds a patient: found by columns, keys and the names of files, in every file of
the study's folder and behind its links.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from pathoml.config import Study
from pathoml.errors import StoreError
from pathoml.store.hdf5 import stored_attrs
from pathoml.store.learned import BUNDLE, KINDS, learned_from_any
from pathoml.store.mentions import STATIC_MARKER, Ids
from pathoml.store.packs import PACKS, all_packs
from pathoml.store.ratings import naming_sheets
from pathoml.store.removal import PARTS_OF_A_RUN, is_of_people, is_run
from pathoml.store.searching import UnsearchedError, name_holds, names_somebody
from pathoml.store.tables import WITHDRAWING, table_names
from pathoml.store.walk import walk

BESIDE_OF_A_MAC = "._"  # begins the name of what a Mac keeps beside a file on a foreign disk
STEMS = ("slides", "patients")  # of the study's tables
OURS = ("tiles", "embeddings", "runs", "bundles", "readings", "slurm")  # of STUDY


@dataclass(frozen=True, kw_only=True)
class Held:
    """What holds somebody, by what becomes of it."""

    files: tuple[Path, ...] = ()  # of tiles/, embeddings/ (packed ones too), the cluster's logs
    tables: tuple[Path, ...] = ()  # of tiles/ and embeddings/: their rows go
    runs: tuple[Path, ...] = ()
    bundles: tuple[Path, ...] = ()  # locked models that have learned from the patient
    copies: tuple[Path, ...] = ()  # of the viewer, for a disk
    listed: tuple[Path, ...] = ()  # what people made: named, and theirs to remove
    unseen: tuple[tuple[Path, str], ...] = ()  # (path, why nobody looked into it)
    away: tuple[Path, ...] = ()  # those of them that pathoml wrote: a disk that is not there


def find_held(
    study: Study, ids: Ids, *, slide_files: Collection[Path] = (), slide_folders: Collection[Path]
) -> Held:
    """Search a study for what holds somebody.

    Args:
        slide_files: the slides of the patient, which are the hospital's and are listed as such.
        slide_folders: where slides lie: only names of files are looked at there.
    """
    folder = study.folder
    walked = walk(folder, enters=lambda path: is_ours(folder, path), without=[folder / "slides"])
    copies = [path.parent for path in walked.files if path.name == STATIC_MARKER]
    wholes = {path for path in _children(study.runs_folder) if is_run(path)}
    wholes |= {path.parent for path in study.bundles_folder.glob(f"*/{BUNDLE}")}
    found: dict[str, set[Path]] = {
        kind: set() for kind in ("files", "tables", "runs", "bundles", "copies", "listed")
    }
    unseen = list(walked.unseen)
    theirs = {path.resolve() for path in slide_files}
    study_tables = {folder / name for stem in STEMS for name in table_names(stem)[:1]}
    for path in walked.files:
        place = path.relative_to(folder).parts
        if place[0] == WITHDRAWING or path in study_tables or path == study.readings_file:
            continue
        if place[0] == "readings" and path.name.startswith(study.readings_file.name + "-"):
            continue  # what SQLite keeps beside it
        kind, what = _kind(study, place, copies, wholes=wholes)
        is_pack = place[0] == "embeddings" and path.match(PACKS)
        is_of = owner(path.name, ids) if kind == "files" else None
        if what in found[kind] or is_pack or is_of is False:
            continue
        try:
            if path.parent in slide_folders:
                holds = name_holds(path.name, ids) and path.resolve() not in theirs
            elif is_of:
                holds = True
            else:
                holds = names_somebody(path, ids, words=kind not in ("runs", "tables"))
        except UnsearchedError as error:
            unseen.append((path, str(error)))
            continue
        if holds:
            found[kind].add(what)
            if kind == "files" and path.is_symlink():
                unseen.append((path, f"a link; what it leads to is yours: {path.readlink()}"))
    found["listed"] |= {path for run in found["runs"] for path in _kept_and_naming(run, ids)}
    prints = _prints(study, ids)
    found["bundles"] |= {
        path.parent
        for path in study.bundles_folder.glob(f"*/{BUNDLE}")
        if learned_from_any(path.parent, ids.patients, prints)
    }
    for encoding in _children(study.all_embeddings):
        try:
            packed = all_packs(encoding)
        except StoreError as error:  # a torn pack
            unseen.append((encoding, str(error)))
            continue
        found["files"] |= {encoding / name for _, name in packed if owner(name, ids)}
    return Held(
        **{kind: tuple(sorted(paths)) for kind, paths in found.items()},
        unseen=tuple(sorted(unseen)),
        away=tuple(path for path, _ in unseen if is_ours(folder, path)),
    )


def is_ours(folder: Path, path: Path) -> bool:
    """Return whether a folder below STUDY is one that steps write into, also behind a link: then
    what lies there is the study's. A link of other name in a run leads to something of somebody's.
    """
    place = path.relative_to(folder).parts
    if place[0] not in OURS or len(place) > 3:
        return False
    return len(place) < 3 or (place[0] == "runs" and place[2] in PARTS_OF_A_RUN)


def _kind(
    study: Study, place: tuple[str, ...], copies: Collection[Path], *, wholes: Collection[Path]
) -> tuple[str, Path]:
    """Return what becomes of a file that holds somebody, and of which file or folder."""
    path = study.folder.joinpath(*place)
    top = study.folder.joinpath(*place[:2])
    if top in wholes and not (place[0] == "runs" and is_of_people(path, top)):
        return place[0], top
    if copy := next((one for one in copies if path.is_relative_to(one)), None):
        return "copies", copy
    if place[0] in ("tiles", "embeddings") and len(place) == 3:
        return ("tables" if path.suffix == ".csv" else "files"), path
    if place[0] == "slurm" and path.suffix in (".log", ".out", ".err"):
        return "files", path
    return "listed", path


def ratings(run: Path) -> list[Path]:
    """Return the files of a run's naming sheets that raters have written into."""
    return [path for sheet in naming_sheets(run / "features") for path in sheet.rated_files()]


def _kept_and_naming(run: Path, ids: Ids) -> Iterator[Path]:
    for path in walk(run, enters=lambda _: False).files:
        if is_of_people(path, run):
            with contextlib.suppress(UnsearchedError):
                if names_somebody(path, ids):
                    yield path


def owner(name: str, ids: Ids) -> bool | None:
    """Return whether a file of tiles/ or embeddings/ is of one of the slides: SLIDE.h5, or what a
    killed job left of it; None where no slide that is known has it.

    >>> ids = Ids(patients=frozenset(), slides=frozenset({"S1"}), other_slides=frozenset({"S1.2"}))
    >>> [owner(name, ids) for name in ("S1.h5", ".S1.h5.node-1.77.tmp", "._S1.h5", "S1.2.h5")]
    [True, True, True, False]
    """
    stem = name
    while stem:
        for one in (stem, stem.removeprefix("."), stem.removeprefix(BESIDE_OF_A_MAC)):
            if one in ids.slides:
                return True
            if one in ids.other_slides:
                return False
        stem, _, _ = stem.rpartition(".")
    return None


def _prints(study: Study, ids: Ids) -> dict[str, set[str]]:
    """Return kind -> hashes of the slides, and of their features, that are stored."""
    stored = [
        stored_attrs(folder / f"{slide}.h5", tuple(KINDS.values()))
        for folder in _children(study.all_embeddings)
        for slide in ids.slides
    ]
    return {kind: {one[name] for one in stored} - {""} for kind, name in KINDS.items()}


def _children(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*") if path.is_dir())
