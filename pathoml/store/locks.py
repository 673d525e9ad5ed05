"""Who is at work on a folder, so that two commands do not write into it at once.

The lock is the kernel's (flock), which a dead process cannot keep, on whichever machine or in
whichever container it died; Linux carries it over NFS. The file's content only says who is there.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from pathoml.errors import StoreError

LOCK = ".lock"
STUDY = "study.yaml"  # in the folder of a study
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# of a folder that nobody can write into, and of a file system that has no locks: then there is none
UNLOCKABLE = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
SECONDS_BETWEEN_LOOKS = 0.05


@contextmanager
def at_work(
    folder: Path, doing: str, *, shared: bool = False, patience_s: float = 0.5
) -> Iterator[None]:
    """Hold the lock of a folder. What this process holds it may hold again.

    Args:
        folder: of a run, or of a study; made if it is not there.
        doing: the command, as another is told who finds the folder locked.
        shared: with others that share it too, but with none that holds it alone.
        patience_s: how long to wait for another to end.

    Raises:
        StoreError: another is at work there; says who, where and since when.
    """
    is_new = not folder.is_dir()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOCK
    if _said(path).get("process") == _this_process():
        yield
        return
    handle = _opened(path, doing, shared=shared, patience_s=patience_s)
    if handle is None:
        yield
        return
    try:
        with suppress(OSError):  # a full disk: the lock holds without a word on who has it
            os.ftruncate(handle, 0)
            os.pwrite(handle, json.dumps(_about(doing, shared=shared)).encode(), 0)
        yield
    finally:
        if not shared or _locked(handle, shared=False):  # the last of those who shared it
            path.unlink(missing_ok=True)
            if is_new:  # and of nothing that was not done
                with suppress(OSError):
                    folder.rmdir()
        os.close(handle)


@contextmanager
def at_work_on_run(run_folder: Path, doing: str, *, shared: bool = False) -> Iterator[None]:
    """Hold the lock of a run, and share that of its study, which a withdrawal wants alone.

    Raises:
        StoreError: another is at work there; says who, where and since when.
    """
    study = next((folder for folder in run_folder.parents if (folder / STUDY).is_file()), None)
    with ExitStack() as held:
        if study is not None:
            held.enter_context(at_work(study, doing, shared=True))
        held.enter_context(at_work(run_folder, doing, shared=shared))
        yield


def _opened(path: Path, doing: str, *, shared: bool, patience_s: float) -> int | None:
    """Return the open, locked file; None where a folder cannot be locked."""
    until = time.monotonic() + patience_s
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
        except OSError as error:
            if error.errno in UNLOCKABLE:
                return None
            raise
        try:
            if _locked(handle, shared=shared):
                if _is_still(path, handle):
                    return handle
            elif time.monotonic() > until:
                raise StoreError(_refusal(path, doing))
            else:
                time.sleep(SECONDS_BETWEEN_LOOKS)
        except OSError as error:
            os.close(handle)
            if error.errno in UNLOCKABLE:
                return None
            raise
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _locked(handle: int, *, shared: bool) -> bool:
    """Lock an open file, and return whether that was possible."""
    try:
        import fcntl
    except ImportError:  # Windows, where runs are read and not made
        return True
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_still(path: Path, handle: int) -> bool:
    """Return whether a file that was locked is the one that others find: it may have been removed
    by who had it.
    """
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def _about(doing: str, *, shared: bool) -> dict[str, Any]:
    return {
        "doing": doing,
        "machine": socket.gethostname(),
        "pid": os.getpid(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        **({} if shared else {"process": _this_process()}),  # others may have written the file
    }


def _this_process() -> str:
    """Return a name that no other process has or had: two containers of one host name may each have
    a process 7, and a machine that is started again too.
    """
    try:
        boot = BOOT_ID.read_text(encoding="ascii").strip()
        place = os.readlink("/proc/self/ns/pid")
        started = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except OSError:  # another system than Linux
        boot, place, started = socket.gethostname(), "", ""
    return f"{boot} {place} {os.getpid()} {started}"


def _said(path: Path) -> dict[str, Any]:
    """Return what a lock says of who holds it, {} if nobody does or it says nothing."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _refusal(path: Path, doing: str) -> str:
    said = _said(path)
    who = (
        f"`pathoml {said['doing']}` is at work (process {said.get('pid')} on {said.get('machine')},"
        f" since {said.get('since')})"
        if said.get("doing")
        else "another command is at work"
    )
    return (
        f"{path.parent}: {who}. `pathoml {doing}` would write into the same folder: wait until it"
        " has ended, or stop it, and try again."
    )
