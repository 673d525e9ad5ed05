"""What people see while a step works: how much is done and how long the rest takes, in words that
read right, on any terminal and in a file.
"""

from __future__ import annotations

import io
import json
import re
import sys

import pytest
from rich.console import Console as Terminal

from pathoml.cli import bars
from pathoml.cli.bars import Pace, PlainLines, duration_text, terminal_bar
from pathoml.cli.console import Console

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Clock:
    """A clock that only goes on when told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(bars.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def last_line(drawn: str) -> str:
    """Return what stands on the screen at the end, without spaces at the end."""
    lines = [line for line in re.split(r"[\r\n]", CONTROL.sub("", drawn)) if line.strip()]
    return lines[-1].rstrip()


def drawn_after(moves, clock: Clock, *, width: int, unit: str = "slides") -> str:
    """Return the last line of a bar in a terminal of a width; a move is (seconds, done, total)."""
    screen = Terminal(file=io.StringIO(), force_terminal=True, width=width)
    with terminal_bar("embed", unit, screen) as bar:
        for seconds, done, total in moves:
            clock.now += seconds
            bar(done, total)
    return last_line(screen.file.getvalue())


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (119.6, "2 min"),
        (3_601, "1 h"),
        (5_400, "1 h 30 min"),
        (86_371, "1 day"),
        (86_400, "1 day"),
        (172_700, "2 days"),
        (1_000_000, "11 days 14 h"),
    ],
)
def test_a_duration_is_said_in_its_two_largest_units(seconds: float, words: str) -> None:
    assert duration_text(seconds) == words


def test_time_left_counts_what_was_done_here_and_not_what_was_there_before() -> None:
    """600 of 1,000 slides are there when the step begins, which prepares for 100 s: ten more in
    20 s leave 390 slides of 2 s each.
    """
    pace = Pace(0.0)
    pace.moved(600, 1000, 100.0)
    assert pace.seconds_left(100.0) is None
    pace.moved(610, 1000, 120.0)
    assert pace.seconds_left(120.0) == pytest.approx(780)
    assert pace.seconds_left(125.0) == pytest.approx(775)  # it counts down while a slide takes long


def test_a_terminal_reads_how_much_and_how_long(clock: Clock) -> None:
    line = drawn_after([(0, 0, 5), (1, 1, 5)], clock, width=80)
    assert line.startswith("embed")
    assert line.endswith("1/5 slides, 4 s left")
    assert not re.search(r"\d:\d\d", line)  # no clock faces, of which one cannot tell what they say


def test_before_the_first_item_nobody_knows_how_long_it_takes(clock: Clock) -> None:
    line = drawn_after([(30, 0, 5)], clock, width=80)
    assert line.endswith("0/5 slides, 30 s so far")


def test_at_the_end_a_terminal_reads_how_long_it_took(clock: Clock) -> None:
    assert drawn_after([(1, 0, 2), (74, 2, 2)], clock, width=80).endswith(
        "2/2 slides in 1 min 15 s"
    )


@pytest.mark.parametrize("width", [30, 40, 60, 80, 200])
def test_a_bar_is_one_line_on_a_terminal_of_any_width(clock: Clock, width: int) -> None:
    unit = "model epochs (75 models and the inner ones of each fold, 40 epochs each)"
    line = drawn_after([(0, 0, 9000), (1, 500, 9000)], clock, width=width, unit=unit)
    assert len(line) <= width
    assert "500/9000" in line
    assert ("75 models" in line) == (width >= bars.WIDE)


def test_a_file_gets_a_line_every_ten_seconds(clock: Clock) -> None:
    said: list[str] = []
    lines = PlainLines(lambda text, **_: said.append(text), "tile", "slides")
    for done in range(5):
        clock.now += 6
        lines(done, 5)
    lines(5, 5)
    lines.finish()
    assert said == [
        "  tile 1/5 slides, 10/min, 24 s left",
        "  tile 3/5 slides, 10/min, 12 s left",
        "  tile 5/5 slides in 30 s",
    ]


@pytest.mark.parametrize("word", ["dumb", "DUMB", "unknown"])
def test_a_terminal_that_cannot_draw_again_gets_lines(
    word: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", word)
    console = Console()
    console.heading("tile  all")
    with console.bar("tile", "slides") as bar:
        bar(1, 1)
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert out.splitlines() == ["== tile  all", "  tile 1/1 slides in 0 s"]


def test_who_wants_no_colour_gets_no_bold_either(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    Console().heading("tile  all")
    assert capsys.readouterr().out == "== tile  all\n"


def test_json_has_no_bar_on_a_terminal_either(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    console = Console()
    console.as_json = True
    with console.bar("tile", "slides") as bar:
        bar(2, 2)
    [line] = capsys.readouterr().out.splitlines()
    assert (json.loads(line)["done"], json.loads(line)["total"]) == (2, 2)
