"""How far a step is: a bar that moves on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Task

    from pathoml.types import Bar

SECONDS_BETWEEN_LINES = 10.0
MINUTE, HOUR, DAY = 60, 3600, 86_400  # seconds
NARROW, WIDE = 60, 100  # columns; below, the words need all of them; above, notes have room
Say = Callable[..., None]  # of a console: a text and facts


def moves_here() -> bool:
    """Return whether the output is a terminal whose lines can be drawn again: not a file, not a
    pipe, and not one that knows no control sequences (TERM=dumb, as in an editor).
    """
    dumb = os.environ.get("TERM", "").lower() in ("dumb", "unknown")
    return sys.stdout.isatty() and not dumb


def duration_text(seconds: float) -> str:
    """Return a duration in its two largest units.

    >>> [duration_text(seconds) for seconds in (0.4, 4.2, 75, 7_500, 100_000)]
    ['0 s', '4 s', '1 min 15 s', '2 h 5 min', '1 day 4 h']
    >>> duration_text(59.6), duration_text(3_599.7), duration_text(3 * 86_400 - 1)
    ('1 min', '1 h', '3 days')
    """
    if round(seconds) < MINUTE:
        return f"{round(seconds)} s"
    # rounded in the smaller unit, so that 59 min 60 s is never said
    if round(seconds) < HOUR:
        return _two_units(round(seconds), MINUTE, ("min", "s"))
    if round(seconds / MINUTE) < DAY // MINUTE:
        return _two_units(round(seconds / MINUTE), HOUR // MINUTE, ("h", "min"))
    hours = round(seconds / HOUR)
    return _two_units(hours, DAY // HOUR, ("days" if hours >= 48 else "day", "h"))


def _two_units(smaller: int, each: int, names: tuple[str, str]) -> str:
    many, few = divmod(smaller, each)
    return f"{many} {names[0]}" + (f" {few} {names[1]}" if few else "")


def rate_text(each_second: float) -> str:
    """Return a rate in the unit in which it is a number to be read.

    >>> rate_text(512.3), rate_text(2.34), rate_text(0.2), rate_text(0.002)
    ('512/s', '2.3/s', '12/min', '7.2/h')
    """
    factor, unit = next(
        (pair for pair in ((1, "s"), (MINUTE, "min")) if each_second * pair[0] >= 1), (HOUR, "h")
    )
    rate = each_second * factor
    return f"{rate:.0f}/{unit}" if rate >= 10 else f"{rate:.1f}".removesuffix(".0") + f"/{unit}"


class Pace:
    """How fast a step is: of its items, not of what was prepared before the first, nor of those
    that were done already.
    """

    def __init__(self, now: float) -> None:
        self.started = self.latest = now
        self.done = self.total = 0
        self._first: tuple[int, float] | None = None

    def moved(self, done: int, total: int, now: float) -> None:
        """Note how much is done."""
        self._first = self._first or (done, now)
        self.done, self.total, self.latest = done, total, now

    @property
    def each_second(self) -> float:
        """Items a second, 0 as long as none was finished."""
        first, since = self._first or (self.done, self.latest)
        return (self.done - first) / max(self.latest - since, 1e-9)

    def seconds_left(self, now: float) -> float | None:
        """Return how long the rest takes at that pace; None where it is not known yet."""
        if not self.each_second:
            return None
        return max((self.total - self.done) / self.each_second - (now - self.latest), 0.0)


@contextmanager
def terminal_bar(what: str, unit: str, console: Console | None = None) -> Iterator[Bar]:
    """Yield a function that moves a bar.

    Args:
        console: where it is drawn; the terminal, unless told otherwise.
    """
    from rich.console import Console as RichConsole
    from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
    from rich.table import Column
    from rich.text import Text

    console = console or RichConsole()
    pace = Pace(time.monotonic())
    unit, _, note = unit.partition(" (")  # "model epochs (75 models, 40 epochs each)"
    note = f"  ({note}" if note and console.width >= WIDE else ""

    class Words(ProgressColumn):
        def render(self, task: Task) -> Text:  # noqa: ARG002 - the pace knows it
            words = _words(pace, unit, time.monotonic()) + note
            return Text(words, no_wrap=True, overflow="ellipsis")

    columns: list[ProgressColumn] = [TextColumn(f"{what:<10}", table_column=Column(no_wrap=True))]
    if console.width >= NARROW:
        columns.append(BarColumn(bar_width=min(40, console.width // 3)))
    with Progress(*columns, Words(table_column=Column(no_wrap=True)), console=console) as progress:
        task = progress.add_task(what, total=None)

        def show(done: int, total: int) -> None:
            pace.moved(done, total, time.monotonic())
            progress.update(task, completed=done, total=total)

        yield show


def _words(pace: Pace, unit: str, now: float) -> str:
    if not pace.total:
        return f"{duration_text(now - pace.started)} so far"
    counted = f"{pace.done}/{pace.total} {unit}"
    if pace.done >= pace.total:
        return f"{counted} in {duration_text(pace.latest - pace.started)}"
    left = pace.seconds_left(now)
    if left is None:
        return f"{counted}, {duration_text(now - pace.started)} so far"
    return f"{counted}, {duration_text(left)} left"


class PlainLines:
    """Lines for a file or a log: how much, how fast, how much time is left."""

    def __init__(self, say: Say, what: str, unit: str) -> None:
        self.say, self.what, self.unit = say, what, unit
        self.pace = Pace(time.monotonic())
        self.last = self.pace.started

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        self.pace.moved(done, total, now)
        if now - self.last >= SECONDS_BETWEEN_LINES and done < total:
            self.last = now
            left = self.pace.seconds_left(now)
            speed = (
                ""
                if left is None
                else (f", {rate_text(self.pace.each_second)}, {duration_text(left)} left")
            )
            self.say(f"  {self.what} {done}/{total} {self.unit}{speed}", done=done, total=total)

    def finish(self) -> None:
        """Say how much was done, and in which time."""
        done, total = self.pace.done, self.pace.total
        if total:
            seconds = time.monotonic() - self.pace.started
            text = f"  {self.what} {done}/{total} {self.unit} in {duration_text(seconds)}"
            self.say(text, done=done, total=total, seconds=round(seconds, 2))
