"""What a child process does in a test; importable there."""

from __future__ import annotations

import ctypes
import os
import time


def pid(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def hang(_: object) -> None:
    time.sleep(600)


def hang_with_the_lock(seconds: int) -> None:
    """As a C library that never comes back: no thread of Python runs meanwhile."""
    ctypes.PyDLL(None).sleep(seconds)
