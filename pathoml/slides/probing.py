"""Open unknown slides first in a child process with a time limit: one that hangs or aborts a C
library costs one row, not the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from typing import Self

from pathoml.errors import SlideError
from pathoml.slides import reading as slides
from pathoml.store.probe import SECONDS, Probe

PROBE_PX = 64


class Prober:
    """A child process that opens slides."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._probe = Probe(look_at_slide, seconds)

    def refusal(self, path: Path) -> str | None:
        """Return why a slide must not be opened in this process; None if it opens, or fails with an
        ordinary error.
        """
        return self._look(path)[0]

    def fault(self, path: Path) -> str | None:
        """Return why a slide cannot be read, ordinary errors included; None if the middle of each
        of its levels can.
        """
        refused, error = self._look(path)
        return refused or error

    def _look(self, path: Path) -> tuple[str | None, str | None]:
        """Return why the file must not be opened here, and the ordinary error that opening or
        reading it gave.
        """
        end, error = self._probe.ask(path)
        again = "Copy it again, or leave it out of slides.csv."
        if end == "hung":
            return f"Slide {path.name} did not open within {self._probe.seconds:g} s. {again}", None
        if end == "aborted":
            return (
                f"Slide {path.name} aborts the library that reads it (damaged or hostile). {again}",
                None,
            )
        return None, error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._probe.close()


def probe_each(
    paths: Sequence[Path], ask: Callable[[Prober, Path], str | None], *, workers: int
) -> Iterator[tuple[Path, str | None]]:
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


def look_at_slide(path: Path) -> str | None:
    """Open a slide, read the middle of each level, and return the error, or None."""
    try:
        with slides.open_slide(path) as reader:
            middle = (reader.size_l0[0] // 2, reader.size_l0[1] // 2)
            for level in range(len(reader.level_downsamples)):
                reader.read_region(middle, level, (PROBE_PX, PROBE_PX))
    except SlideError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - a fault of ours, told as one; only what ends this process is an abort
        return (
            f"Slide {path.name} cannot be read ({type(error).__name__}: {error}). Copy it again, or"
            " leave it out of slides.csv."
        )
    return None
