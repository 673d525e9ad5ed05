"""What a slide's files hold, by one hash; and how it is known without reading them again.

A slide is known by its content: moved, renamed, copied or delivered again it is the same, and
another file under its name is not. Reading hundreds of slides for that would take hours, so what
was found is remembered by what the file system says of each file: its number (inode), size, and
times of its content (mtime) and of its entry (ctime). Programs such as `cp -p` and rsync restore
the first time, none can restore the second: where all of it is as it was, nothing was written.
Disks that keep no second time (exFAT, some network drives) show the first in its place; of their
files three samples of the content are read as well.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from pathoml.slides.companions import companions, data_folder
from pathoml.slides.dicom import read_header
from pathoml.store.files import sha256_of_file, sha256_of_json, write_json

SETTLED_SECONDS = 2.0  # two changes within one tick of a disk's clock look like one; exFAT has 2 s
SAMPLE_BYTES = 2**16  # at the beginning, the middle and the end
KNOWN = "known"  # the files of a folder that remembers


def slide_files(path: Path) -> tuple[Path, ...]:
    """Return the files that a slide is made of, the one that slides.csv names first.

    They are several of a folder (DICOM), of MRXS (and the folder of the same name beside it), of
    VMS and VMU (and the files that they list), and of one DICOM file (and those of its series).
    """
    if path.is_dir():
        return tuple(_files_in(path))
    if beside := data_folder(path):
        others = [p for p in beside.rglob("*") if p.is_file()] if beside.is_dir() else []
    elif (own := _series(path)) is not None:
        others = [p for p in _files_in(path.parent) if p != path]
        others = [p for p in others if (of := _series(p)) is not None and (not own or of == own)]
    else:
        others = list(set(companions(path).values()))
    return (path, *sorted(others))


def sha256_of_slide(path: Path) -> str:
    """Return the SHA-256 of a slide's file, or of the files that it is made of.

    Names count where they say which part a file is (in a folder, of MRXS, of VMS), but not the
    slide's own name, and not those of a DICOM series.
    """
    files = slide_files(path)
    if path.is_dir():
        return sha256_of_json({p.name: sha256_of_file(p) for p in files})
    if len(files) == 1:
        return sha256_of_file(path)
    if _series(path) is not None:
        return sha256_of_json(sorted(sha256_of_file(p) for p in files))
    return sha256_of_json({_part(p, path): sha256_of_file(p) for p in files})


def bytes_of(path: Path) -> int:
    """Return how many bytes a slide's files have in all."""
    return sum(p.stat().st_size for p in slide_files(path))


def same_size(paths: Sequence[Path]) -> list[list[Path]]:
    """Return the groups of slides whose files are of equal size: only those can be copies of one
    another.
    """
    groups: dict[int, list[Path]] = {}
    for path in paths:
        groups.setdefault(bytes_of(path), []).append(path)
    return [group for group in groups.values() if len(group) > 1]


class SlideContents:
    """The hashes of slides that were read before, by what the file system says of their files."""

    def __init__(self, folder: Path | None = None) -> None:
        """Read what is remembered.

        Args:
            folder: where; what is not readable there is read from the slides again. None: only for
                as long as this object lives.
        """
        self._folder = folder
        self._known: dict[str, str] = {}
        self._asked: set[str] = set()
        for path in sorted(folder.glob(f"{KNOWN}*.json")) if folder else ():
            self._known |= _remembered(path)

    def sha256(self, path: Path) -> str:
        """Return the hash of a slide's content, reading its files if they may have changed.

        Raises:
            OSError: they cannot be read.
        """
        mark = mark_of(path)
        found = self._known.get(mark)
        if found is None:
            found = sha256_of_slide(path)
            self.note(path, mark, found)
        self._asked.add(mark)
        return found

    def is_known(self, path: Path) -> bool:
        """Return whether `sha256` need not read the slide's files."""
        return mark_of(path) in self._known

    def read_all(self, paths: Sequence[Path], *, workers: int) -> None:
        """Read several slides of which nothing is remembered side by side; one that cannot be read
        is left to `sha256`.
        """
        unknown = [path for path in paths if not self.is_known(path)]
        with ThreadPoolExecutor(max(1, workers)) as pool:
            list(pool.map(self._try, unknown))

    def note(self, path: Path, mark: str, sha256: str) -> None:
        """Remember what a slide was found to hold.

        Args:
            mark: `mark_of` the slide before it was read; of one that was written to meanwhile, or
                a moment ago, nothing is remembered.
        """
        self._asked.add(mark)
        with suppress(OSError):  # it went meanwhile
            if mark == mark_of(path) and _settled(path):
                self._known[mark] = sha256

    def write(self, *, part: str = "", whole: bool = False) -> None:
        """Write what is known into the folder.

        Args:
            part: what tells a part's file from another's, ".3-of-8"; without it all is written and
                the parts' files go.
            whole: every slide of the study was asked for; the rest is forgotten.
        """
        if self._folder is None:
            return
        kept = {m: s for m, s in self._known.items() if m in self._asked or not whole}
        target = self._folder / f"{KNOWN}{part}.json"
        if _remembered(target) != kept:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_json(target, kept)
        if not part:
            for other in self._folder.glob(f"{KNOWN}.*-of-*.json"):
                other.unlink(missing_ok=True)

    def _try(self, path: Path) -> None:
        with suppress(OSError):
            self.sha256(path)


def mark_of(path: Path) -> str:
    """Return what the file system says of a slide's files, as a hash that holds no name.

    Raises:
        OSError: one of them is not there.
    """
    return sha256_of_json(sorted(_mark(p) for p in slide_files(path)))


def _mark(path: Path) -> list[int | str]:
    stat = path.stat()
    mark: list[int | str] = [stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
    if stat.st_ctime_ns == stat.st_mtime_ns:  # just written, or a disk without a second time
        mark.append(_sample(path, stat.st_size))
    return mark


def _sample(path: Path, size: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for start in (0, max(0, size // 2 - SAMPLE_BYTES // 2), max(0, size - SAMPLE_BYTES)):
            file.seek(start)
            digest.update(file.read(SAMPLE_BYTES))
    return digest.hexdigest()


def _settled(path: Path) -> bool:
    newest = max(p.stat().st_ctime for p in slide_files(path))
    return abs(time.time() - newest) > SETTLED_SECONDS


def _remembered(path: Path) -> dict[str, str]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {str(mark): sha256 for mark, sha256 in content.items() if isinstance(sha256, str)}


def _files_in(folder: Path) -> list[Path]:
    """Return the files of a folder, without those that systems hide in it (.DS_Store)."""
    return sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))


def _part(file: Path, path: Path) -> str:
    """Return which part of a slide a file is, whatever the slide is called."""
    beside = path.with_suffix("")
    if file == path:
        return ""
    return file.relative_to(beside).as_posix() if beside in file.parents else file.name


def _series(path: Path) -> str | None:
    """Return the series of a DICOM file, "" where it names none; None of any other file."""
    stat = path.stat()
    return _series_read(path, (stat.st_ino, stat.st_size, stat.st_mtime_ns))


@lru_cache(maxsize=2**16)
def _series_read(path: Path, _identity: tuple[int, int, int]) -> str | None:
    header = read_header(path)
    return header.series if header else None
