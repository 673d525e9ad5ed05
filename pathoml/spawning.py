"""How pathoml starts processes: by spawning, because a fork while threads read slides can deadlock,
and with nothing of the folder where it was started in front of what they import.
"""

from __future__ import annotations

import sys
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.process import BaseProcess
from typing import Any

from pathoml.working_folder import StartedSafely


class Child(SpawnProcess):
    """A process that starts safely, whenever that is: a pool starts some of its own late."""

    @staticmethod
    def _Popen(process_obj: BaseProcess) -> Any:
        with StartedSafely():
            return SpawnProcess._Popen(process_obj)


class _Children(SpawnContext):
    Process = Child


def spawn_context() -> SpawnContext:
    """Return the context for processes, pools and queues."""
    if sys.platform != "win32":  # which has none
        from multiprocessing import resource_tracker

        with StartedSafely():  # it starts with the first queue, and lives as long as this process
            resource_tracker.ensure_running()
    return _Children()
