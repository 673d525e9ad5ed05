"""Arrays mapped from files without holding the files open: a cohort has more slides than a process
may have open files (1,024 on most machines).

Python's own mmap keeps a descriptor for each mapping until version 3.13, so the system is asked
directly. Source: mmap(2); what is written to the array stays in memory (MAP_PRIVATE).
"""

from __future__ import annotations

import ctypes
import math
import mmap
import os
import sys
import weakref
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pathoml.store.system import READ_BYTES

FAILED = ctypes.c_void_p(-1).value


def map_array(
    path: Path, dtype: npt.DTypeLike, *, begins: int, shape: tuple[int, ...]
) -> npt.NDArray[Any]:
    """Return an array of a file's bytes, read when they are looked at; the file cannot be changed
    through it, and is not held open.

    Args:
        begins: byte of the file at which the array begins.
        shape: with at least one value.

    Raises:
        OSError: the system maps no more.
        ValueError: the file ends before the array does.
    """
    if sys.platform == "win32":
        return np.asarray(np.memmap(path, dtype, "c", begins, shape))
    dtype = np.dtype(dtype)
    count = math.prod(shape)
    before = begins % mmap.ALLOCATIONGRANULARITY  # a mapping begins at a page
    length = before + count * dtype.itemsize
    descriptor = os.open(path, READ_BYTES)
    try:
        if os.fstat(descriptor).st_size < begins + count * dtype.itemsize:
            raise ValueError(f"{path} ends before its array does")
        address = _system().mmap(
            None,
            length,
            mmap.PROT_READ | mmap.PROT_WRITE,
            mmap.MAP_PRIVATE,
            descriptor,
            begins - before,
        )
        number = ctypes.get_errno()
    finally:
        os.close(descriptor)
    if address == FAILED:
        raise OSError(number, os.strerror(number), str(path))
    pages: Any = (ctypes.c_char * length).from_address(address)
    # not at exit: threads may still look at the array then
    weakref.finalize(pages, _system().munmap, address, length).atexit = False
    array: npt.NDArray[Any] = np.frombuffer(pages, dtype, count, before)
    return array.reshape(shape)


@cache
def _system() -> Any:
    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    library.mmap.argtypes = (
        ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long,
    )  # fmt: skip
    library.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    return library
