"""Ctrl-C ends a command within a second, whatever it is at, and says what is kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.tiny_study import pathoml, tiny_study

from pathoml.cli import guarded
from pathoml.cli.console import Console
from pathoml.cli.interrupts import interrupted_text, say_interrupted

ROOT = Path(__file__).parents[2]
LIMIT_S = 1.5  # a second, and half of one for a machine with other work
# begins at the word `go`: a verb whose work is one of the programs below
PROGRAM = """
import sys, time
import numpy as np
import pathoml.cli.report as verb
from pathoml.cli import main

def work(study, console):
    console.heading("train  runs/main")
    with console.bar("train", "models") as bar:
        bar(2, 9)
        print("go", flush=True)
        {work}
    return 0

verb.run = work
sys.argv = ["pathoml", "report", {study!r}]
main()
"""
IN_PYTHON = "time.sleep(60)"
IN_A_LIBRARY = "a = np.ones((2500, 2500))\n        for _ in range(99): a @ a"
IN_A_POOL = (
    "from pathoml.engines.local import map_items\n"
    "        list(map_items(time.sleep, [(str(n), 60.0) for n in range(4)], workers=2))"
)
DEAF = """
        while True:
            try:
                time.sleep(60)
            except BaseException:
                pass"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_study(tmp_path_factory.mktemp("interrupted") / "study", patients=8)


@pytest.fixture(autouse=True)
def _heard() -> Iterator[None]:
    """Let children hear Ctrl-C, also where the tests were started deaf to it (nohup, &)."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Begun:
    """A process of its own, in a session of its own as a terminal gives it."""

    def __init__(self, *command: str) -> None:
        one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        environment = {**os.environ, **one, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [sys.executable, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,
        )

    def until(self, word: str) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if word in line:
                return
        pytest.fail(f"never said {word!r}: {self.process.communicate()[1]}")

    def interrupted(self, times: int = 1, *, everybody: bool = False) -> tuple[int, float, str]:
        """Press Ctrl-C; return the exit code, the seconds it took, and the error stream."""
        begun = time.monotonic()
        for _ in range(times):
            if everybody:  # as a terminal does
                os.killpg(self.process.pid, signal.SIGINT)
            else:
                self.process.send_signal(signal.SIGINT)
            time.sleep(0.02)
        code = self.process.wait(30)
        seconds = time.monotonic() - begun
        return code, seconds, self.process.communicate()[1]

    def left(self) -> list[int]:
        """Return the processes of its session that are still there."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:  # it ended meanwhile
                continue
            if int(fields[3]) == self.process.pid and fields[0] != "Z":
                found.append(int(stat.parent.name))
        return found


def begun(study: Path, work: str) -> Begun:
    process = Begun("-c", PROGRAM.format(work=work, study=str(study)))
    process.until("go")
    return process


@pytest.mark.parametrize(
    "work", [IN_PYTHON, IN_A_LIBRARY, DEAF], ids=["in Python", "in a library", "that hears nothing"]
)
def test_a_command_ends_within_a_second_and_says_what_is_kept(study: Path, work: str) -> None:
    code, seconds, said = begun(study, work).interrupted()
    assert code == 130
    assert seconds < LIMIT_S
    assert said.split("\n") == [
        "Interrupted in train at 2 of 9 models. Tiles and embeddings are kept; training begins"
        " anew.",
        f"It goes on with: pathoml report {study}",
        "",
    ]


@pytest.mark.parametrize("everybody", [False, True], ids=["the command", "its whole group"])
def test_workers_end_with_the_command_and_say_nothing(study: Path, everybody: bool) -> None:
    process = begun(study, IN_A_POOL)
    time.sleep(1.5)  # until they work
    code, seconds, said = process.interrupted(everybody=everybody)
    assert (code, said.count("\n")) == (130, 2), said
    assert seconds < LIMIT_S
    deadline = time.monotonic() + 2
    while process.left() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert process.left() == []


def test_a_second_ctrl_c_ends_it_at_once(study: Path) -> None:
    code, seconds, said = begun(study, DEAF).interrupted(2)
    assert (code, said.count("Interrupted")) == (130, 1)
    assert seconds < 0.4


def test_a_step_goes_on_where_it_was_interrupted(study: Path) -> None:
    process = Begun("-m", "pathoml", "tile", str(study))
    process.until("tile ")
    code, seconds, said = process.interrupted(everybody=True)
    assert code == 130
    assert seconds < LIMIT_S
    assert "Slides that were tiled are kept." in said
    assert "Traceback" not in said
    assert pathoml("tile", str(study)) == 0
    assert (
        len(list((study / "tiles").glob("*/*.h5")))
        == len((study / "slides.csv").read_text().splitlines()) - 1
    )


def test_a_verb_that_changes_nothing_offers_nothing_to_go_on_with() -> None:
    console = Console()
    console.verb = "status"
    assert interrupted_text(console, ["status", "study"]) == "Interrupted. Nothing was changed."


def test_a_command_that_another_program_calls_returns_130(capsys) -> None:
    def pressed() -> None:
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    assert guarded(pressed) == 130
    assert capsys.readouterr().err.startswith("Interrupted")
    assert signal.getsignal(signal.SIGINT) is before


def test_a_log_for_machines_gets_it_as_one_line_of_json(
    capsys: pytest.CaptureFixture[str],
) -> None:
    console = Console()
    console.as_json, console.step = True, "embed"
    say_interrupted(console)
    say_interrupted(console)  # whoever comes second finds it said
    [line] = capsys.readouterr().err.splitlines()
    entry = json.loads(line)
    assert (entry["type"], entry["step"]) == ("Interrupted", "embed")
    assert entry["message"].startswith("Interrupted in embed. Slides that were embedded are kept.")
