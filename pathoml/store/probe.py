"""A child process with a time limit looks at a file first: one that hangs or aborts a C library
costs its answer, not the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, Literal, Self

from pathoml.spawning import spawn_context
from pathoml.store.children import begin_as_child, is_main_thread

SECONDS = 60.0  # a network drive may need this long for the first bytes
KILL_SECONDS = 5.0

Look = Callable[[Any], Any]  # of a path, or of what says more than it
End = Literal["answered", "hung", "aborted"]


class Probe:
    """A child process that looks at files; it is started again when one has killed it or made it
    hang.
    """

    def __init__(self, look: Look, seconds: float = SECONDS) -> None:
        """
        Args:
            look: importable at the top of a module; returns what it finds.
            seconds: that it may take.
        """
        self._look, self.seconds = look, seconds
        self._child: SpawnProcess | None = None
        self._line: Connection | None = None

    def ask(self, path: Any) -> tuple[End, Any]:
        """Return how the look at a file ended, and what it said."""
        line = self._started()
        line.send(path)
        if not line.poll(self.seconds):
            self.close()
            return "hung", None
        try:
            return "answered", line.recv()
        except (EOFError, ConnectionError):
            self.close()
            return "aborted", None

    def close(self) -> None:
        """End the child; the next question starts another."""
        if self._child is not None:
            self._child.kill()
            self._child.join(KILL_SECONDS)
        if self._line is not None:
            self._line.close()
        self._child = self._line = None

    def _started(self) -> Connection:
        if self._line is None or self._child is None or not self._child.is_alive():
            self.close()
            context = spawn_context()
            self._line, theirs = context.Pipe()
            self._child = context.Process(
                target=_serve, args=(theirs, self._look, is_main_thread()), daemon=True
            )
            self._child.start()
            theirs.close()
        return self._line

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _serve(line: Connection, look: Look, by_main_thread: bool) -> None:
    """Answer for each path that comes down the line."""
    begin_as_child(by_main_thread)
    while True:
        try:
            path = line.recv()
        except EOFError:
            return
        line.send(look(path))
