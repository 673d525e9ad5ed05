"""Whole files or none: written under a temporary name and renamed when complete, so that a killed
job leaves no torn file.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pathoml.errors import StoreError
from pathoml.store.refusals import refusal_number
from pathoml.store.system import is_running, sync_folder

SECONDS_A_DAY = 86_400
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
PROCESSES = Path("/proc/self/ns/pid")  # of a container others than of its neighbour
LONGEST_STEM = 160  # bytes of a name that a temporary keeps; file systems take 255 in all
LONGEST_MACHINE = 32
DIGITS_OF_A_PLACE = 8


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; on success it is synced and renamed to `path`, on
    failure removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name[:LONGEST_STEM]}.{_place()}.{_process()}.tmp")
    try:
        yield temporary
        with temporary.open("r+b") as handle:  # Windows syncs no file that is only read
            os.fsync(handle.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def proved_path(path: Path, proof: Callable[[Path], object]) -> Iterator[Path]:
    """Yield a temporary path as `atomic_path` does, for a writer that may lose bytes without a
    word (ReadStat, HDF5, zip, TIFF): what it wrote is read back before it gets its name.

    Args:
        proof: reads the file, and raises where it is not what was to be written.

    Raises:
        StoreError: it is not; what was there before is kept.
    """
    with atomic_path(path) as temporary:
        yield temporary
        try:
            proof(temporary)
        except Exception as error:
            if refusal_number(error):
                raise
            raise StoreError(
                f"{path} was not written whole ({type(error).__name__}: {str(error)[:100]}), so it"
                " was not put in its place. The disk may be full or failing: look at it, and run"
                " the step again."
            ) from error


def sweep_temporaries(folder: Path) -> None:
    """Remove what killed jobs left in a folder and below it: of dead processes beside this one, and
    of other machines and containers after a day.
    """
    for path in folder.rglob(".*.tmp"):
        place, process = path.name.split(".")[-3:-1]
        pid = process.partition("-")[0]
        alive = None
        if place == _place():  # a shared folder also holds what jobs elsewhere are writing
            alive = pid.isdigit() and is_running(int(pid))
        if alive is None:
            try:
                alive = time.time() - path.stat().st_mtime < SECONDS_A_DAY
            except FileNotFoundError:  # it has got its name in the meantime
                continue
        if not alive:
            path.unlink(missing_ok=True)


def _place() -> str:
    """Return where a process number names a process: two containers may have one host name, and
    in each of them a process 1.
    """
    known = [socket.gethostname()]
    with suppress(OSError):  # another system than Linux
        known += [BOOT_ID.read_text(encoding="ascii"), str(PROCESSES.stat().st_ino)]
    digest = hashlib.sha256("\n".join(known).encode()).hexdigest()[:DIGITS_OF_A_PLACE]
    machine = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:LONGEST_MACHINE] or "machine"
    return f"{machine}-{digest}"


def _process() -> str:
    """Return a name that no other writer has, of another container or thread either."""
    return f"{os.getpid()}-{secrets.token_hex(4)}"


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, UTF-8."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically, such as one that a library made in memory."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write readable JSON atomically; NaN is refused, since JSON has none."""
    write_text(path, json_text(content))


def json_text(content: Mapping[str, Any]) -> str:
    """Return what `write_json` writes."""
    return json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        StoreError: missing, or not JSON.
    """
    try:
        content = json.loads(
            path.read_text(encoding="utf-8"),
            object_pairs_hook=_each_key_once,
            parse_constant=_no_number,
        )
    except FileNotFoundError:
        raise StoreError(
            f"{path} is missing. Run the step that writes it, or `pathoml run`."
        ) from None
    except (ValueError, RecursionError) as error:
        reason = str(error)[:200]
        raise StoreError(
            f"{path} is not readable JSON ({reason}). Delete it and rerun the step that writes it."
        ) from error
    if not isinstance(content, dict):
        raise StoreError(
            f"{path} does not hold a JSON object. Delete it and rerun the step that writes it."
        )
    return content


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(
            f"the key {next(name for name in names if names.count(name) > 1)!r} is given twice"
        )
    return content


def _no_number(literal: str) -> float:
    raise ValueError(f"{literal} is not a number of JSON")


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_of_json(content: Any) -> str:
    """Return the SHA-256 of a value written as JSON with sorted keys.

    >>> sha256_of_json({"b": 1, "a": 2}) == sha256_of_json({"a": 2, "b": 1})
    True
    """
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
