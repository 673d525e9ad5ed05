"""Files in other libraries' formats, read back before they get their names (files.proved_path):
ReadStat and writers of zips may lose the last bytes on a full disk without a word.

Each raises an error where the file is not what was to be written. What a library can write into
memory needs none of this: `files.write_bytes` sees every byte on disk.
"""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

STATA_START, STATA_END = b"<stata_dta>", b"</stata_dta>"
RECORD_HEAD = struct.Struct("<QI")  # length of a record of TensorBoard, its checksum
RECORD_TAIL = 4  # bytes: the checksum of what the record holds


def is_whole_zip(path: Path) -> None:
    """Read every entry of a zip (.npz, .pt too) against its checksum."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"its entry {damaged} is damaged")


def is_whole_statistics_file(
    path: Path, *, frame: pd.DataFrame, read: Callable[[str], tuple[pd.DataFrame, object]]
) -> None:
    """Read a file of Stata or SPSS, and compare it with the table that was to be written.

    Args:
        read: pyreadstat's function for the format.
    """
    with path.open("rb") as file:
        start = file.read(len(STATA_START))
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - len(STATA_END)))
        if start == STATA_START and file.read() != STATA_END:
            raise ValueError("its end is missing")
    found, _ = read(str(path))
    if list(found.columns) != list(frame.columns) or len(found) != len(frame):
        raise ValueError(f"it holds {len(found)} rows, expected {len(frame)}")
    for name in frame.columns:
        if [_cell(value) for value in found[name]] != [_cell(value) for value in frame[name]]:
            raise ValueError(f"its column {name!r} is not what was written")


def _cell(value: object) -> object:
    """Return a value as all three formats hold it: text without spaces behind it, numbers as
    double precision, "" for what is missing.
    """
    if value is None or value != value:  # NaN is the only value that differs from itself
        return ""
    return value.rstrip() if isinstance(value, str) else float(value)  # type: ignore[arg-type]


def is_whole_log(path: Path, records: int) -> None:
    """Walk through the records of a TensorBoard file; the first names its version."""
    content, at, found = path.read_bytes(), 0, 0
    while at < len(content):
        length, _ = RECORD_HEAD.unpack_from(content, at)
        at += RECORD_HEAD.size + length + RECORD_TAIL
        found += 1
    if at != len(content) or found != records + 1:
        raise ValueError(f"it holds {found - 1} numbers, expected {records}")
