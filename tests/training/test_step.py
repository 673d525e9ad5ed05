"""Training is a function of a study: it is done when something changed, says what it does to
whoever listens, and answers with what it did.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.learning import planted_cohort, write_study

from pathoml.config import load_study
from pathoml.training.step import train_study
from pathoml.types import Bar

QUICK = ["train.epochs=1", "train.seeds=1", "train.nested=false", "splits.repeats=1"]


class Heard:
    """A progress that writes down what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.done = (0, 0)

    def heading(self, text: str) -> None:
        self.lines.append(text)

    def say(self, text: str = "", **_: object) -> None:
        self.lines.append(text)

    def record(self, text: str, **facts: object) -> None: ...

    @contextmanager
    def bar(self, *_: str) -> Iterator[Bar]:
        def show(done: int, total: int) -> None:
            self.done = (done, total)

        yield show


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_study(tmp_path_factory.mktemp("train") / "study", *planted_cohort(12)[:2]).folder
    train_study(load_study(folder, QUICK))
    return folder


def test_what_was_trained_is_the_answer_and_nothing_is_printed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = train_study(load_study(folder, [*QUICK, "run=other"]))
    assert capsys.readouterr() == ("", "")
    assert (trained.fresh, trained.models, trained.patients) == (False, 3, 12)
    assert trained.folder == folder / "runs" / "other"


def test_what_is_up_to_date_is_not_trained_again_and_says_so(folder: Path) -> None:
    heard, scores = Heard(), folder / "runs" / "main" / "scores.csv"
    before = scores.stat().st_mtime_ns
    assert train_study(load_study(folder, QUICK), progress=heard).fresh
    assert heard.lines == ["train  runs/main: up to date"]
    assert scores.stat().st_mtime_ns == before


def test_a_listener_hears_the_heading_before_the_work_and_the_bar_to_its_end(folder: Path) -> None:
    heard = Heard()
    train_study(load_study(folder, [*QUICK, "run=heard"]), progress=heard)
    heading, *notes = heard.lines
    assert heading == "train  runs/heard: abmil, stratified, 1 repeats"
    assert all(note.startswith("  ") for note in notes)
    assert heard.done == (3, 3)


def test_that_a_run_is_up_to_date_is_found_without_torch(folder: Path) -> None:
    code = (
        "import pathlib, sys\nfrom pathoml.config import load_study\nfrom pathoml.training.step"
        " import train_study\nstudy = load_study(pathlib.Path(sys.argv[1]), sys.argv[2:])\n"
        "print(train_study(study).fresh, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder), *QUICK],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["True", "False"]
