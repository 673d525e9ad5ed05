"""Files that other libraries made, read back before they are published: ReadStat and TensorBoard's
writer lose the last bytes on a full disk without a word.

What a library can write into memory needs none of this: `files.write_bytes` sees every byte on
disk; an HDF5 file is proved where it is written (hdf5.refuse_torn).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pathoml.errors import StoreError

if TYPE_CHECKING:
    import pandas as pd

STATA_START, STATA_END = b"<stata_dta>", b"</stata_dta>"
RECORD_HEAD = struct.Struct("<QI")  # length of a record of TensorBoard, its checksum
RECORD_TAIL = 4  # bytes: the checksum of what the record holds


def refuse_other_table(
    path: Path, *, frame: pd.DataFrame, read: Callable[[str], tuple[pd.DataFrame, object]]
) -> None:
    """Raise StoreError if a file of Stata or SPSS is not the table that was to be written.

    Args:
        read: pyreadstat's function for the format.
    """
    try:
        _compare(path, frame, read)
    except Exception as error:
        raise _not_whole(path, error) from error


def _compare(
    path: Path, frame: pd.DataFrame, read: Callable[[str], tuple[pd.DataFrame, object]]
) -> None:
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


def refuse_other_log(path: Path, records: int) -> None:
    """Raise StoreError if a TensorBoard file has not so many records behind the first, which names
    its version.
    """
    content, at, found = path.read_bytes(), 0, 0
    while at + RECORD_HEAD.size < len(content):
        length, _ = RECORD_HEAD.unpack_from(content, at)
        at += RECORD_HEAD.size + length + RECORD_TAIL
        found += 1
    if at != len(content) or found != records + 1:
        error = ValueError(f"it holds {found - 1} numbers, expected {records}")
        raise _not_whole(path, error)


def _not_whole(path: Path, error: Exception) -> StoreError:
    return StoreError(
        f"{path.name} could not be made whole ({type(error).__name__}: {str(error)[:100]}). The"
        f" disk of {path.parent} may be full or failing: look at it, and run the step again."
    )
