"""Small linear algebra on one thread: with two OpenBLAS threads on a busy machine a 64 x 64 product
took 20 ms, not 0.04.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold BLAS of this process to one thread, and give it back its threads afterwards."""
    with _blas().limit(limits=1):
        yield


@functools.cache  # finding the libraries takes half a millisecond, as long as a fit
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")
