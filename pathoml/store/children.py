"""Processes that pathoml starts end with the one that started them, however that ends: a worker
that nobody waits for holds a core, or a GPU, for ever.

A thread of the child waits until its parent is gone, on every system. On Linux the kernel is asked
too, for a C library that never comes back holds up every thread of its process; but it counts the
death of the thread that started a child as its parent's, so only where that is the main one.

Source: prctl(2), PR_SET_PDEATHSIG; multiprocessing.parent_process.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any

from pathoml.spawning import spawn_context

PR_SET_PDEATHSIG = 1
PARENT_IS_GONE = 1  # exit code of a child that nobody asks for


def begin_as_child(by_main_thread: bool = False) -> None:
    """Bind this process, a spawned one, to its parent: to be called first in it.

    Ctrl-C in a terminal goes to the whole family; the parent alone decides what it means.

    Args:
        by_main_thread: the parent's main thread started this process (`is_main_thread` there).
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if by_main_thread and sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    threading.Thread(
        target=_end_with, args=(parent.sentinel,), name="end with parent", daemon=True
    ).start()


def is_main_thread() -> bool:
    """Return whether this is the thread that lives as long as its process."""
    return threading.current_thread() is threading.main_thread()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(PARENT_IS_GONE)  # no clean-up: what was finished has its name, the rest is swept


@contextmanager
def worker_pool(
    workers: int, begin: Callable[..., object] | None = None, *arguments: Any
) -> Iterator[ProcessPoolExecutor]:
    """Yield a pool of spawned processes; where the body ends with an exception (Ctrl-C, SIGTERM, an
    error), they are killed at once rather than waited for.

    Args:
        begin: called in each process first, with the arguments.
    """
    pool = ProcessPoolExecutor(
        workers,
        mp_context=spawn_context(),
        initializer=_begin,
        initargs=(is_main_thread(), begin, arguments),
    )
    try:
        yield pool
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.kill()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def _begin(
    by_main_thread: bool, begin: Callable[..., object] | None, arguments: tuple[Any, ...]
) -> None:
    begin_as_child(by_main_thread)
    if begin is not None:
        begin(*arguments)
