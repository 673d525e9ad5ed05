"""Keep freed memory in the process instead of giving it back to the system and taking it again,
zeroed.
"""

from __future__ import annotations

import ctypes

M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -3, -1  # malloc.h
KEPT_BYTES = 2**30  # larger pieces still go back to the system at once


def keep_freed_memory() -> None:
    """Have the C library keep what is freed, so that a layer's output or a mask is not made of
    fresh pages, each zeroed first, every time.

    That took up to half of the time of large batches on the CPU, and a sixth of finding tissue
    (docs/decisions/0019). Elsewhere than in glibc nothing happens.

    Source: mallopt(3).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
    mallopt(M_TRIM_THRESHOLD, 2 * KEPT_BYTES - 1)
