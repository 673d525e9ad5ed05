"""Open unknown slides first in a child process with a time limit: one that hangs or aborts a C
library costs one row, not the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Self, TypeVar

from pathoml.errors import SlideError
from pathoml.slides import reading as slides
from pathoml.store.probe import SECONDS, End, Probe

PROBE_PX = 64
Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class SlideFacts:
    """What a slide states, as it was opened in a child process."""

    size_l0: tuple[int, int] = (0, 0)
    stated_mpp: tuple[float, float] | None = None
    objective: float | None = None  # magnification, if it names one
    fault: str | None = None  # why it cannot be read; then nothing else is known


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

    def facts(self, path: Path) -> SlideFacts:
        """Return what a slide states, with the fault where it cannot be read."""
        end, found = self._probe.ask(path)
        if end == "answered":
            facts: SlideFacts = found
            return facts
        return SlideFacts(fault=self._end_in_words(path, end))

    def _look(self, path: Path) -> tuple[str | None, str | None]:
        """Return why the file must not be opened here, and the ordinary error that opening or
        reading it gave.
        """
        end, found = self._probe.ask(path)
        if end == "answered":
            return None, found.fault
        return self._end_in_words(path, end), None

    def _end_in_words(self, path: Path, end: End) -> str:
        again = "Copy it again, or leave it out of slides.csv."
        if end == "hung":
            return f"Slide {path.name} did not open within {self._probe.seconds:g} s. {again}"
        return f"Slide {path.name} aborts the library that reads it (damaged or hostile). {again}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._probe.close()


def probe_each(
    paths: Sequence[Path], ask: Callable[[Prober, Path], Answer], *, workers: int
) -> Iterator[tuple[Path, Answer]]:
    """Yield each path, in order, with what a prober says of it; as many probers work side by side.

    Args:
        ask: `Prober.refusal`, `Prober.fault` or `Prober.facts`.
    """
    idle: SimpleQueue[Prober] = SimpleQueue()
    count = max(1, min(workers, len(paths)))
    with ExitStack() as stack:
        for _ in range(count):
            idle.put(stack.enter_context(Prober()))

        def one(path: Path) -> Answer:
            prober = idle.get()
            try:
                return ask(prober, path)
            finally:
                idle.put(prober)

        pool = stack.enter_context(ThreadPoolExecutor(count, thread_name_prefix="probe"))
        yield from zip(paths, pool.map(one, paths))


def look_at_slide(path: Path) -> SlideFacts:
    """Open a slide, read the middle of each level, and return what it states, or the error."""
    try:
        with slides.open_slide(path) as reader:
            middle = (reader.size_l0[0] // 2, reader.size_l0[1] // 2)
            for level in range(len(reader.level_downsamples)):
                reader.read_region(middle, level, (PROBE_PX, PROBE_PX))
            return SlideFacts(
                size_l0=reader.size_l0,
                stated_mpp=reader.stated_mpp,
                objective=getattr(reader, "objective", None),
            )
    except SlideError as error:
        return SlideFacts(fault=str(error))
    except Exception as error:  # noqa: BLE001 - a fault of ours, told as one; only what ends this process is an abort
        return SlideFacts(
            fault=f"Slide {path.name} cannot be read ({type(error).__name__}: {error}). Copy it"
            " again, or leave it out of slides.csv."
        )
