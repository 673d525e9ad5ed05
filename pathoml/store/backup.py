"""One file that holds a study, and the study again from it: tables, configuration, runs, locked
models, readings, tiles; embeddings only if they are asked for, slides never.

It is a zip with a list of its files and their SHA-256, written beside, read back, and renamed.
What raters saved is copied by SQLite itself, so that a viewer may go on writing. A restored folder
gets its name when every file is there and is what the list says.

Source: SQLite Online Backup API, https://www.sqlite.org/backup.html.
"""

from __future__ import annotations

import datetime as dt
import glob
import hashlib
import json
import os
import sqlite3
import stat
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

import pathoml
from pathoml.config import Study
from pathoml.errors import ConfigError, StoreError
from pathoml.store.files import SECONDS_A_DAY, atomic_path
from pathoml.store.locks import LOCK, at_work
from pathoml.store.publishing import STAGING, new_folder
from pathoml.store.tables import WITHDRAWING, read_study_table, table_names
from pathoml.store.walk import walk
from pathoml.store.withdrawal_search import is_ours
from pathoml.types import NOTICE, Bar

LIST = "pathoml-backup.json"  # of the archive: its files, their sizes and hashes
SLIDES, EMBEDDINGS = "slides", "embeddings"  # folders of STUDY
STORED = {".h5", ".zip", ".png", ".jpg", ".gz"}  # packed already
BESIDE_A_DATABASE = ("-wal", "-shm", "-journal")
COPIED_BYTES = 2**20  # at once
OWNER_ONLY = 0o600  # it holds patients, and the key of the blinding
MOST_LIST_BYTES = 2**29  # of the list itself
FORMAT = 1
ZIP_FAULTS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


@dataclass(frozen=True, kw_only=True)
class BackedUp:
    """What a backup holds."""

    files: int
    size_bytes: int  # of the archive
    without: tuple[str, ...]  # folders that are not in it
    left_out: tuple[tuple[Path, str], ...]  # (path, why): links that lead elsewhere


@dataclass(frozen=True, kw_only=True)
class Restored:
    """What was restored."""

    files: int
    made: str  # when the backup was made
    without: tuple[str, ...]  # folders that were not in it
    pathoml_version: str


def backup_study(
    study: Study, target: Path, *, embeddings: bool = False, on_file: Bar = lambda _, __: None
) -> BackedUp:
    """Write a study into one file.

    Args:
        target: the archive, which must not exist.
        embeddings: put them in too.

    Raises:
        ConfigError: the archive exists, or would be one of the files that a step makes.
        StoreError: a command is at work on the study, a withdrawal is not finished, readings cannot
            be read, or the archive does not hold what was written.
    """
    if target.exists():
        raise ConfigError(f"{target} exists already, and is not written over. Choose another name.")
    if not target.parent.is_dir():
        raise ConfigError(f"{target.parent} is not a folder. Make it first.")
    if (study.folder / WITHDRAWING).exists():
        raise StoreError(
            f"A withdrawal was interrupted, and a backup would keep the patient. Finish it:"
            f" `pathoml withdraw {study.folder} --confirm`."
        )
    without = (SLIDES,) if embeddings else (SLIDES, EMBEDDINGS)
    with at_work(study.folder, "backup"):  # a run whose files change places is no backup
        inside = walk(
            study.folder,
            enters=lambda path: is_ours(study.folder, path),
            without=[study.folder / name for name in without],
        )
        slides = _slides(study)
        paths = [
            path
            for path in inside.files
            if _is_kept(study.folder, path) and slides.isdisjoint({path, path.parent})
        ]
        hashes: dict[str, dict[str, Any]] = {}
        _sweep(target)
        with atomic_path(target) as temporary:
            handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, OWNER_ONLY)
            with os.fdopen(handle, "w+b") as raw, zipfile.ZipFile(raw, "w") as archive:
                for done, path in enumerate(paths, 1):
                    name = path.relative_to(study.folder).as_posix()
                    hashes[name] = _add(archive, name, path)
                    on_file(done, len(paths))
                archive.writestr(
                    zipfile.ZipInfo(LIST), json.dumps(_list(study, hashes, without)).encode()
                )
            _prove(temporary, target)
    return BackedUp(
        files=len(paths),
        size_bytes=target.stat().st_size,
        without=without,
        left_out=inside.unseen,
    )


def restore_study(archive: Path, folder: Path, *, on_file: Bar = lambda _, __: None) -> Restored:
    """Write a study from a backup into a folder, which is there with every file or not at all.

    Args:
        folder: that does not exist, or is empty.

    Raises:
        ConfigError: the folder holds something.
        StoreError: the archive is no backup, was changed, or holds a file for another folder.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(
            f"{folder} is not empty; nothing in it is written over. Give a new folder, and compare"
            " the two."
        )
    with _opened(archive) as backup:
        said, entries = _read_list(archive, backup)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with new_folder(folder, "restore") as made:
            for done, (name, about) in enumerate(said["files"].items(), 1):
                path = made.joinpath(*PurePosixPath(name).parts)
                path.parent.mkdir(parents=True, exist_ok=True)
                _extract(archive, backup, entries[name], target=path, about=about)
                on_file(done, len(said["files"]))
            if folder.is_dir():
                folder.rmdir()  # empty, as was seen
    return Restored(
        files=len(said["files"]),
        made=str(said.get("made", "")),
        without=tuple(map(str, said.get("without", ()))),
        pathoml_version=str(said.get("pathoml_version", "")),
    )


def is_backup(path: Path) -> bool:
    """Return whether a file is a backup of a study."""
    if path.suffix.lower() != ".zip":
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return LIST in archive.namelist()
    except (OSError, *ZIP_FAULTS):
        return False


def _sweep(target: Path) -> None:
    """Remove what a backup of this name that was killed left, once it is a day old."""
    for path in target.parent.glob(f".{glob.escape(target.name)}.*.tmp"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > SECONDS_A_DAY:
                path.unlink()


def _is_kept(folder: Path, path: Path) -> bool:
    place = path.relative_to(folder).parts
    hidden = any(part == STAGING or part.endswith(STAGING) for part in place)
    beside = place[0] == "readings" and path.name.endswith(BESIDE_A_DATABASE)
    temporary = path.name.startswith(".") and path.name.endswith(".tmp")
    return not (hidden or beside or temporary or path.name == LOCK or is_backup(path))


def _slides(study: Study) -> set[Path]:
    """Return the slides of slides.csv, and the folders in which some formats keep their pixels."""
    if not any((study.folder / name).exists() for name in table_names(SLIDES)):
        return set()
    rows = read_study_table(study, SLIDES).rows
    files = {study.folder / row["path"] for row in rows if row.get("path")}
    return files | {path.with_suffix("") for path in files}


def _list(
    study: Study, hashes: Mapping[str, Mapping[str, Any]], without: Sequence[str]
) -> dict[str, Any]:
    return {
        "notice": NOTICE,
        "format": FORMAT,
        "pathoml_version": pathoml.__version__,
        "study": study.folder.resolve().name,
        "made": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "without": list(without),
        "files": hashes,
    }


def _add(archive: zipfile.ZipFile, name: str, path: Path) -> dict[str, Any]:
    """Add a file, and return its size and hash as they were read."""
    with _source(path) as (source, found):
        changed = dt.datetime.fromtimestamp(max(found.st_mtime, 315532800))  # zips begin in 1980
        entry = zipfile.ZipInfo(name, changed.timetuple()[:6])
        entry.external_attr = (stat.S_IFREG | stat.S_IMODE(found.st_mode)) << 16
        is_packed = path.suffix.lower() in STORED
        entry.compress_type = zipfile.ZIP_STORED if is_packed else zipfile.ZIP_DEFLATED
        entry.file_size = os.fstat(source.fileno()).st_size  # decides whether it needs zip64
        digest, size = hashlib.sha256(), 0
        with archive.open(entry, "w", force_zip64=entry.file_size > zipfile.ZIP64_LIMIT // 2) as to:
            while block := source.read(COPIED_BYTES):
                digest.update(block)
                size += len(block)
                to.write(block)
    return {"sha256": digest.hexdigest(), "bytes": size}


@contextmanager
def _source(path: Path) -> Iterator[tuple[IO[bytes], os.stat_result]]:
    """Open a file; of a database a copy that SQLite makes, whoever writes meanwhile."""
    found = path.stat()
    if path.suffix != ".sqlite":
        with path.open("rb") as file:
            yield file, found
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        try:
            with (
                closing(sqlite3.connect(path)) as source,
                closing(sqlite3.connect(copy)) as target,
            ):
                source.backup(target)
                whole = target.execute("PRAGMA integrity_check").fetchone()[0]
        except sqlite3.Error as error:
            raise StoreError(
                f"{path} cannot be copied ({error}). Nothing was backed up; look whether it is a"
                " database, and whether its disk is whole."
            ) from error
        if whole != "ok":
            raise StoreError(f"{path} is damaged ({whole}). Nothing was backed up.")
        with copy.open("rb") as file:
            yield file, found


def _prove(temporary: Path, target: Path) -> None:
    """Read an archive back, before it gets its name."""
    with _opened(temporary) as archive:
        said, entries = _read_list(target, archive)
        for name, about in said["files"].items():
            _copy(target, archive, entries[name], about=about)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    if not path.is_file():
        raise ConfigError(f"{path} is not there. Give the file that `pathoml backup` wrote.")
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except ZIP_FAULTS as error:
        raise StoreError(
            f"{path} is torn or no backup ({type(error).__name__}: {str(error)[:100]}). Copy it"
            " again from where it was made."
        ) from error


def _read_list(
    path: Path, archive: zipfile.ZipFile
) -> tuple[dict[str, Any], dict[str, zipfile.ZipInfo]]:
    """Return the list of an archive and its entries by name, if they agree and every name stays in
    the folder.
    """
    entries = archive.infolist()
    by_name = {entry.filename: entry for entry in entries}
    if LIST not in by_name or by_name[LIST].file_size > MOST_LIST_BYTES:
        raise StoreError(
            f"{path} is no backup: it has no {LIST}. Give the file that `pathoml backup` wrote."
        )
    try:
        said = json.loads(archive.read(LIST))
        files = said["files"]
        wanted = {str(n): (str(a["sha256"]), int(a["bytes"])) for n, a in files.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path}: its {LIST} is damaged. Copy it again.") from error
    if said.get("format", FORMAT) != FORMAT:
        raise StoreError(
            f"{path} was written by pathoml {said.get('pathoml_version')}, in a form that this"
            " version does not know. Install that version to restore it."
        )
    for name in [entry.filename for entry in entries]:
        if reason := unsafe_name(name):
            raise StoreError(
                f"{path} holds {name[:80]!r}, {reason}: that is no file of a study. Nothing was"
                " restored; ask who gave you the archive."
            )
    folded = {name.casefold() for name in by_name}
    if len(entries) != len(by_name) or len(folded) != len(by_name):
        raise StoreError(f"{path} holds a file twice. Nothing was restored; copy it again.")
    for entry in entries:
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG) or entry.is_dir():
            raise StoreError(
                f"{path}: {entry.filename} is a link or a folder, which no backup holds. Nothing"
                " was restored; ask who gave you the archive."
            )
    if (other := by_name.keys() - {LIST} ^ wanted.keys()) or any(
        by_name[name].file_size != size for name, (_, size) in wanted.items()
    ):
        named = sorted(other)[0] if other else "a file of another size"
        raise StoreError(f"{path} was changed: {named} is not as its list says. Copy it again.")
    return said, by_name


def unsafe_name(name: str) -> str:
    """Return why a name of an archive could lead out of a folder, "" where it stays inside.

    >>> unsafe_name("runs/main/scores.csv"), unsafe_name("../x"), unsafe_name("/etc/passwd")
    ('', 'which leads out of the folder', 'which is a place of its own')
    """
    parts = name.split("/")
    if name.startswith("/") or (len(name) > 1 and name[1] == ":"):
        return "which is a place of its own"
    if ".." in parts:
        return "which leads out of the folder"
    if "\\" in name or "\0" in name or "" in parts or "." in parts:
        return "whose name other systems read otherwise"
    return ""


def _extract(
    path: Path,
    archive: zipfile.ZipFile,
    entry: zipfile.ZipInfo,
    *,
    target: Path,
    about: Mapping[str, Any],
) -> None:
    mode = stat.S_IMODE(entry.external_attr >> 16) & 0o777
    handle = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode or OWNER_ONLY)
    with os.fdopen(handle, "wb") as file:
        _copy(path, archive, entry, about=about, to=file)


def _copy(
    path: Path,
    archive: zipfile.ZipFile,
    entry: zipfile.ZipInfo,
    *,
    about: Mapping[str, Any],
    to: IO[bytes] | None = None,
) -> None:
    """Read a file of an archive to its end, and see that it is what the list says."""
    digest, left = hashlib.sha256(), int(about["bytes"])
    with archive.open(entry) as source:
        while block := source.read(COPIED_BYTES):
            left -= len(block)
            if left < 0:  # a header may say less than there is
                break
            digest.update(block)
            if to is not None:
                to.write(block)
    if left != 0 or digest.hexdigest() != about["sha256"]:
        raise StoreError(
            f"{path}: {entry.filename} is not as it was backed up (its SHA-256 differs). Copy the"
            " archive again from where it was made; nothing was kept of it."
        )
