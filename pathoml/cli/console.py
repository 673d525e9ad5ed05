"""What people see while it runs: bars on a terminal, plain lines elsewhere, one JSON object a line
for machines on request.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pathoml.cli.bars import PlainLines, moves_here, terminal_bar

if TYPE_CHECKING:
    from pathoml.types import Bar

# characters that act on a terminal: the control characters but tab and line end, and those that
# turn or hide text (Unicode TR 9 and TR 36)
ACTS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)
ERRORS = {
    "FAILED",
    "MISSING",
    "UNREADABLE",
    "WIDTHS",
}  # a line that begins so is an error in a log; another word in capitals is a warning


class NobodyReads(BaseException):
    """Whoever read what is printed, such as `head`, has gone."""


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
            _print(printable(text))
        elif text.strip():
            _print(json_line(text.strip(), step=self.step, **facts))

    def record(self, text: str, **facts: object) -> None:
        """Say something that only a log needs, such as every single slide."""
        if self.as_json:
            self.say(text, **facts)

    def heading(self, text: str) -> None:
        """Print the name of a step."""
        self.step, self.reached = text.split()[0], None
        self._steps.append((self.step, time.monotonic()))
        bold = self.is_terminal and not os.environ.get("NO_COLOR")
        if bold:
            _print(f"\033[1m{printable(text)}\033[0m")
        else:
            self.say(text if self.as_json else f"== {text}")

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
        cells = [[printable(str(c)).replace("\n", "\\n") for c in row] for row in [header, *rows]]
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
    line = json.dumps(
        {"time": now, "level": level, "message": message, **facts}, ensure_ascii=False, default=str
    )
    return ACTS.sub(lambda found: f"\\u{ord(found[0]):04x}", line)


def printable(text: str) -> str:
    """Return text as it may reach a terminal: a cell of a table may hold codes that colour it, move
    in it, name its window, or turn the direction of reading; they are spelled out.

    >>> printable("north\x1b]0;owned\x07, S\u00fcd")
    'north\\\\x1b]0;owned\\\\x07, S\u00fcd'
    """
    return ACTS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _print(line: str) -> None:
    try:
        print(line, flush=True)
    except BrokenPipeError:
        raise NobodyReads from None
