"""What people see while it runs: bars on a terminal, plain lines elsewhere, one JSON object a line
for machines on request.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pathoml.cli.bars import PlainLines, moves_here, terminal_bar

if TYPE_CHECKING:
    from pathoml.types import Bar

ERRORS = {
    "FAILED",
    "MISSING",
    "UNREADABLE",
}  # a line that begins so is an error in a log; another word in capitals is a warning


class Console:
    """What one command says, the progress of its steps too; the only place besides the verbs that
    prints.
    """

    def __init__(self) -> None:
        self.as_json = False  # --log-json
        self.debug = False  # --debug
        self.step = ""
        # the bar that was moved last and how far it was, as an interrupted command says it
        self.reached: tuple[str, str] | None = None
        self.verb = ""
        self.interrupted = False  # and that was said
        self.failed: Counter[str] = Counter()  # step -> slides that failed
        self.on_end: Callable[[int], None] = lambda exit_code: None  # noqa: ARG005 - nobody listens
        self._steps: list[tuple[str, float]] = []  # with the second in which they began

    @property
    def is_terminal(self) -> bool:
        """Whether somebody looks on, and bars may move."""
        return moves_here() and not self.as_json

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
        self.step, self.reached = text.split()[0], None
        self._steps.append((self.step, time.monotonic()))
        bold = self.is_terminal and not os.environ.get("NO_COLOR")
        self.say(text if self.as_json else f"\033[1m{text}\033[0m" if bold else f"== {text}")

    def step_seconds(self) -> dict[str, float]:
        """Return how long each step took, the last one until now."""
        ends = [start for _, start in self._steps[1:]] + [time.monotonic()]
        seconds: dict[str, float] = {}
        for (step, start), end in zip(self._steps, ends):
            seconds[step] = seconds.get(step, 0.0) + end - start
        return {step: round(took, 1) for step, took in seconds.items()}

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
            with terminal_bar(what, unit) as bar:
                yield self._noted(bar, what, unit)
            return
        line = PlainLines(self.say, what, unit)
        yield self._noted(line, what, unit)
        line.finish()

    def _noted(self, bar: Bar, what: str, unit: str) -> Bar:
        """Return the bar, whose last state is known when the command is interrupted."""

        def show(done: int, total: int) -> None:
            self.reached = (what, f"{done} of {total} {unit.partition(' (')[0]}")
            bar(done, total)

        return show


def say_failures(failures: Mapping[str, str], console: Console) -> int:
    """Print which slides failed and why; return the exit code."""
    for slide_id, reason in sorted(failures.items()):
        console.say(f"  FAILED {slide_id}: {reason}", slide=slide_id)
    if failures:
        console.failed[console.step] += len(failures)
    return int(bool(failures))


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
