"""What Linux, macOS and Windows do differently, where files and processes are concerned."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

# of os.open, to read bytes as they are; Windows knows no CLOEXEC, and others no BINARY
READ_BYTES = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_ONE_AT_A_TIME = threading.Lock()


def usable_cores() -> int:
    """Return the number of cores that this process may use: on Linux those it was given by a
    cluster or a container, elsewhere all.
    """
    given = getattr(os, "sched_getaffinity", None)
    return len(given(0)) if given else os.cpu_count() or 1


def sync_folder(folder: Path) -> None:
    """Let the names in a folder reach the disk; where a folder cannot be opened (Windows), the
    system sees to that.
    """
    with suppress(PermissionError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def is_running(pid: int) -> bool | None:
    """Return whether there is a process of that number; None where the system is not asked, as on
    Windows, where asking in the usual way would end it.
    """
    if Path("/proc/self").exists():
        return Path(f"/proc/{pid}").exists()
    if not hasattr(os, "fork"):
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is somebody else's
        return True
    return True


def read_at(handle: int, count: int, offset: int) -> bytes:
    """Return bytes of an open file from a place; safe from several threads."""
    if hasattr(os, "pread"):
        return os.pread(handle, count, offset)
    with _ONE_AT_A_TIME:
        os.lseek(handle, offset, os.SEEK_SET)
        return os.read(handle, count)
