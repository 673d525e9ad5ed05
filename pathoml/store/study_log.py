"""STUDY/logs/pathoml.log: which command ran when, how long, and how it ended; one JSON object a
line.

It is a help, never a hindrance: a study that cannot be written keeps none, and nothing else fails
because of it. Several processes may write at once. It holds nothing that names a patient or a slide
(the caller sees to that), so whoever withdraws need not look into it.
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows: lines are still written whole, and a rotation is tried again
    fcntl = None  # type: ignore[assignment]  # asked for before it is used

FOLDER, NAME = "logs", "pathoml.log"
MOST_BYTES = 2**20  # of a file; some 3,000 commands
LOCK_TRIES, LOCK_WAIT_S = 20, 0.005
OLDER = 3  # files that are kept: pathoml.log.1 is the one before
# a stranger's study may hold a link or a pipe of that name: neither is followed or waited for
FLAGS = (
    os.O_WRONLY
    | os.O_APPEND
    | os.O_CREAT
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)


def log_path(study_folder: Path) -> Path:
    """Return the log of a study."""
    return study_folder / FOLDER / NAME


def append_entry(study_folder: Path, entry: Mapping[str, Any]) -> bool:
    """Write an entry at the end of the study's log, beginning a new file where that is full.
    Returns whether it was written: not in a study that cannot be written.

    Args:
        entry: what JSON can hold; nothing of patients, slides, people, or paths.
    """
    path = log_path(study_folder)
    line = (json.dumps(entry, ensure_ascii=False, default=str) + "\n").encode()
    try:
        if path.parent.is_symlink():
            return False
        path.parent.mkdir(exist_ok=True)
        for _ in range(3):  # a file that is full is turned over once, whoever else tries
            with _opened(path) as handle:
                if os.fstat(handle).st_size + len(line) <= MOST_BYTES:
                    return os.write(handle, line) == len(line)
            _turn_over(path)
        return False
    except OSError:
        return False


def read_entries(study_folder: Path) -> list[dict[str, Any]]:
    """Return the entries of the log and of the files before it, oldest first; a line that is torn
    is left out.
    """
    path, entries = log_path(study_folder), []
    for file in (*(_older(path, age) for age in range(OLDER, 0, -1)), path):
        with suppress(OSError):
            if file.is_symlink() or not file.is_file():
                continue
            for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
                with suppress(ValueError, RecursionError):
                    entry = json.loads(line)
                    if isinstance(entry, dict):
                        entries.append(entry)
    return entries


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Open the log to append."""
    handle = os.open(path, FLAGS, 0o666)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(f"{path.name} is no file")
        yield handle
    finally:
        os.close(handle)


def _turn_over(path: Path) -> None:
    """Begin a new file, unless another process has done so since it was found full."""
    if fcntl is None:  # Windows renames no open file
        _rename_all(path)
        return
    with _opened(path) as handle:
        _lock(handle)
        if os.path.samestat(os.stat(path), os.fstat(handle)):
            _rename_all(path)


def _lock(handle: int) -> None:
    """Wait a little to be alone; a network drive that cannot lock, or never answers, is used
    without.
    """
    for _ in range(LOCK_TRIES):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOCK_WAIT_S)
        except OSError:
            return
        else:
            return


def _rename_all(path: Path) -> None:
    for age in range(OLDER, 0, -1):
        before = path if age == 1 else _older(path, age - 1)
        with suppress(FileNotFoundError):
            os.replace(before, _older(path, age))


def _older(path: Path, age: int) -> Path:
    return path.with_name(f"{path.name}.{age}")
