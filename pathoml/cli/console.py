"""What people see while it runs: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

SECONDS_BETWEEN_LINES = 10.0


class Bar(Protocol):
    """Something to be done, with what is left."""

    def __call__(self, done: int, total: int) -> None:
        """Say that `done` of `total` is done."""
        ...


class Console:
    """Prints; the only place besides the verbs that does."""

    def __init__(self) -> None:
        self.is_terminal = sys.stdout.isatty()

    def say(self, text: str = "") -> None:
        print(text, flush=True)

    def heading(self, text: str) -> None:
        """Print the name of a step."""
        self.say(f"\033[1m{text}\033[0m" if self.is_terminal else f"== {text}")

    def table(self, rows: Sequence[Sequence[object]], header: Sequence[str]) -> None:
        """Print rows in aligned columns."""
        cells = [[str(c) for c in row] for row in [header, *rows]]
        widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
        for number, row in enumerate(cells):
            self.say("  " + "  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip())
            if number == 0:
                self.say("  " + "  ".join("-" * w for w in widths))

    @contextmanager
    def bar(self, what: str, unit: str) -> Iterator[Bar]:
        """Yield a function that shows progress: how much, how fast, how long it will take."""
        if self.is_terminal:
            with _rich_bar(what, unit) as bar:
                yield bar
            return
        line = _PlainLines(self, what, unit)
        yield line
        line.finish()


@contextmanager
def _rich_bar(what: str, unit: str) -> Iterator[Bar]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn(f"{what:<10}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit), TimeElapsedColumn(), TextColumn("left"))
    with Progress(*columns, TimeRemainingColumn()) as progress:
        task = progress.add_task(what, total=None)

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        yield show


class _PlainLines:
    def __init__(self, console: Console, what: str, unit: str) -> None:
        self.console, self.what, self.unit = console, what, unit
        self.started = self.last = time.monotonic()
        self.done = self.total = 0
        self.first: tuple[int, float] | None = None  # the rate is that of the items, not of what was prepared before them

    def __call__(self, done: int, total: int) -> None:
        self.done, self.total = done, total
        now = time.monotonic()
        first_done, since = self.first = self.first or (done, now)
        if now - self.last >= SECONDS_BETWEEN_LINES and done < total:
            self.last = now
            rate = (done - first_done) / max(now - since, 1e-9)
            left = f", {_duration((total - done) / rate)} left" if rate else ""
            self.console.say(f"  {self.what} {done}/{total} {self.unit}, {rate:.1f}/s{left}")

    def finish(self) -> None:
        if self.total:
            self.console.say(f"  {self.what} {self.done}/{self.total} {self.unit} in {_duration(time.monotonic() - self.started)}")


def _duration(seconds: float) -> str:
    """
    >>> _duration(75)
    '1 min 15 s'
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
