"""Open unknown files first in a child process with a time limit: a file that hangs or aborts a C library costs one row, not the batch."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from queue import SimpleQueue
from typing import Self

from pathoml import slides
from pathoml.errors import SlideError

PROBE_SECONDS = 60.0  # a network drive may need this long for the first bytes
PROBE_PX = 64
KILL_SECONDS = 5.0


class Prober:
    """A child process that opens slides; it is started again when one has killed it or made it hang."""

    def __init__(self, seconds: float = PROBE_SECONDS) -> None:
        self._seconds = seconds
        self._child: SpawnProcess | None = None
        self._line: Connection | None = None

    def refusal(self, path: Path) -> str | None:
        """Return why a slide must not be opened in this process; None if it opens, or fails with an ordinary error."""
        return self._look(path)[0]

    def fault(self, path: Path) -> str | None:
        """Return why a slide cannot be read, ordinary errors included; None if the middle of each of its levels can."""
        refused, error = self._look(path)
        return refused or error

    def _look(self, path: Path) -> tuple[str | None, str | None]:
        """Return why the file must not be opened here, and the ordinary error that opening or reading it gave."""
        line = self._started()
        line.send(path)
        if not line.poll(self._seconds):
            self._stop()
            return f"Slide {path.name} did not open within {self._seconds:g} s. Copy it again, or leave it out of slides.csv.", None
        try:
            error: str | None = line.recv()
        except (EOFError, ConnectionError):
            self._stop()
            reason = (
                f"Slide {path.name} aborts the library that reads it (damaged or hostile). Copy it again, or leave it out of slides.csv."
            )
            return reason, None
        return None, error

    def _started(self) -> Connection:
        if self._line is None or self._child is None or not self._child.is_alive():
            self._stop()
            context = multiprocessing.get_context("spawn")
            self._line, theirs = context.Pipe()
            self._child = context.Process(target=_serve, args=(theirs,), daemon=True)
            self._child.start()
            theirs.close()
        return self._line

    def _stop(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.join(KILL_SECONDS)
        if self._line is not None:
            self._line.close()
        self._child = self._line = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()


def probe_each(paths: Sequence[Path], ask: Callable[[Prober, Path], str | None], *, workers: int) -> Iterator[tuple[Path, str | None]]:
    """Yield each path, in order, with what a prober says of it; as many probers work side by side.

    Args:
        ask: `Prober.refusal` or `Prober.fault`.
    """
    idle: SimpleQueue[Prober] = SimpleQueue()
    count = max(1, min(workers, len(paths)))
    with ExitStack() as stack:
        for _ in range(count):
            idle.put(stack.enter_context(Prober()))

        def one(path: Path) -> str | None:
            prober = idle.get()
            try:
                return ask(prober, path)
            finally:
                idle.put(prober)

        pool = stack.enter_context(ThreadPoolExecutor(count, thread_name_prefix="probe"))
        yield from zip(paths, pool.map(one, paths))


def _serve(line: Connection) -> None:
    """Open each path that comes down the line, read the middle of each level, and answer with the error, or None."""
    while True:
        try:
            path = line.recv()
        except EOFError:
            return
        reason = None
        try:
            with slides.open_slide(path) as reader:
                middle = (reader.size_l0[0] // 2, reader.size_l0[1] // 2)
                for level in range(len(reader.level_downsamples)):
                    reader.read_region(middle, level, (PROBE_PX, PROBE_PX))
        except SlideError as error:
            reason = str(error)
        except Exception as error:  # noqa: BLE001 - a fault of ours, told as one; only what ends this process is an abort
            reason = f"Slide {path.name} cannot be read ({type(error).__name__}: {error}). Copy it again, or leave it out of slides.csv."
        line.send(reason)
