"""What people see while it runs: bars on a terminal, plain lines elsewhere, one JSON object a line
for machines on request.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathoml.types import Bar

SECONDS_BETWEEN_LINES = 10.0
ERRORS = {
    "FAILED",
    "MISSING",
    "UNREADABLE",
    "WIDTHS",
}  # a line that begins so is an error in a log; another word in capitals is a warning


class Console:
    """What one command says, the progress of its steps too; the only place besides the verbs that
    prints.
    """

    def __init__(self) -> None:
        self.as_json = False  # --log-json
        self.debug = False  # --debug
        self.step = ""

    @property
    def is_terminal(self) -> bool:
        """Whether somebody looks on, and bars may move."""
        return sys.stdout.isatty() and not self.as_json

    def say(self, text: str = "", **facts: object) -> None:
        """Print a line; its facts (slide=...) are for the log only, since the text names them."""
        if not self.as_json:
            print(text, flush=True)
        elif text.strip():
            print(json_line(text.strip(), step=self.step, **facts), flush=True)

    def record(self, text: str, **facts: object) -> None:
        """Say something that only a log needs, such as every single slide."""
        if self.as_json:
            self.say(text, **facts)

    def heading(self, text: str) -> None:
        """Print the name of a step."""
        self.step = text.split()[0]
        self.say(
            text if self.as_json else f"\033[1m{text}\033[0m" if self.is_terminal else f"== {text}"
        )

    def table(self, rows: Sequence[Sequence[object]], header: Sequence[str]) -> None:
        """Print rows in aligned columns."""
        if self.as_json:
            for row in rows:
                self.say(
                    "table",
                    row={
                        name: value if isinstance(value, int | float) else str(value)
                        for name, value in zip(header, row)
                    },
                )
            return
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


def say_failures(failures: Mapping[str, str], console: Console) -> int:
    """Print which slides failed and why; return the exit code."""
    for slide_id, reason in sorted(failures.items()):
        console.say(f"  FAILED {slide_id}: {reason}", slide=slide_id)
    return int(bool(failures))


@contextmanager
def _rich_bar(what: str, unit: str) -> Iterator[Bar]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn(f"{what:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TextColumn("left"),
    )
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
        # the rate is that of the items, not of what was prepared before them
        self.first: tuple[int, float] | None = None

    def __call__(self, done: int, total: int) -> None:
        self.done, self.total = done, total
        now = time.monotonic()
        first_done, since = self.first = self.first or (done, now)
        if now - self.last >= SECONDS_BETWEEN_LINES and done < total:
            self.last = now
            rate = (done - first_done) / max(now - since, 1e-9)
            left = f", {_duration((total - done) / rate)} left" if rate else ""
            self.console.say(
                f"  {self.what} {done}/{total} {self.unit}, {rate:.1f}/s{left}",
                done=done,
                total=total,
            )

    def finish(self) -> None:
        if self.total:
            seconds = time.monotonic() - self.started
            text = f"  {self.what} {self.done}/{self.total} {self.unit} in {_duration(seconds)}"
            self.console.say(text, done=self.done, total=self.total, seconds=round(seconds, 2))


def json_line(message: str, **facts: object) -> str:
    """Return one line of a log: time (UTC), level, message and facts.

    >>> import json
    >>> entry = json.loads(json_line("FAILED S1: torn", step="tile", slide="S1"))
    >>> entry["level"], entry["step"], entry["slide"], entry["message"]
    ('error', 'tile', 'S1', 'FAILED S1: torn')
    """
    first = message.split(maxsplit=1)[0].rstrip(":")
    level = (
        "error"
        if first in ERRORS
        else "warning"
        if len(first) > 2 and first.isalpha() and first.isupper()
        else "info"
    )
    now = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
    return json.dumps(
        {"time": now, "level": level, "message": message, **facts}, ensure_ascii=False, default=str
    )


def _duration(seconds: float) -> str:
    """
    >>> _duration(75)
    '1 min 15 s'
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
