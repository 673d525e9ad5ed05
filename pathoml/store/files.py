"""Whole files or none: written under a temporary name and renamed when complete, so that a killed
job leaves no torn file.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pathoml.errors import StoreError

SECONDS_A_DAY = 86_400


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; on success it is synced and renamed to `path`, on
    failure removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{_machine()}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        temporary.unlink(missing_ok=True)


def sweep_temporaries(folder: Path) -> None:
    """Remove what killed jobs left in a folder and below it: of this machine's dead processes, and
    of other machines after a day.
    """
    for path in folder.rglob(".*.tmp"):
        machine, pid = path.name.split(".")[-3:-1]
        if (
            machine == _machine()
        ):  # a shared folder also holds what the jobs of other nodes are writing
            alive = pid.isdigit() and Path(f"/proc/{pid}").exists()
        else:
            alive = time.time() - path.stat().st_mtime < SECONDS_A_DAY
        if not alive:
            path.unlink(missing_ok=True)


def _machine() -> str:
    return re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname()) or "machine"


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, UTF-8."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


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
