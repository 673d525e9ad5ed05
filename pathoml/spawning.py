"""How pathoml starts processes: by spawning, because a fork while threads read slides can deadlock,
and with nothing of the folder where it was started in front of what they import.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.process import BaseProcess
from typing import Any

from pathoml.working_folder import StartedSafely


@contextmanager
def _deaf() -> Iterator[None]:
    """Let processes that are started here not hear Ctrl-C, which a terminal sends to all of them:
    the one that started them ends them, and no traceback of each is printed.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # a child inherits it
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Child(SpawnProcess):
    """A process that starts safely, whenever that is: a pool starts some of its own late."""

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:
        with StartedSafely(), _deaf():
            return SpawnProcess._Popen(process_obj)  # of this system


class _Children(SpawnContext):
    Process = Child


def spawn_context() -> SpawnContext:
    """Return the context for processes, pools and queues."""
    if sys.platform != "win32":  # which has none
        from multiprocessing import resource_tracker

        with StartedSafely():  # it starts with the first queue, and lives as long as this process
            resource_tracker.ensure_running()
    return _Children()
