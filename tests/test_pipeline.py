"""A study is run from Python as from the command line: by its folder, in silence, and only what is
stale.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from support.learning import planted_cohort, write_study
from support.tiny_study import hashes, pathoml, tiny_study

from pathoml import pipeline
from pathoml.cli.help import PANELS
from pathoml.config import Study, load_study
from pathoml.embedding.step import embed_study
from pathoml.errors import ConfigError
from pathoml.pipeline import STEPS, RunSummary, run, run_states, status
from pathoml.study.cohort import read_cohort
from pathoml.types import Progress


@dataclass(frozen=True, kw_only=True)
class Answer:
    failures: dict[str, str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny_study(tmp_path_factory.mktemp("pipeline") / "study")
    (folder / "slides" / "bad.svs").write_bytes(b"no slide")
    rows = (folder / "slides.csv").read_text(encoding="utf-8").splitlines()
    of_first = dict(zip(rows[0].split(","), rows[1].split(",")))
    bad = {**of_first, "slide_id": "bad", "path": "slides/bad.svs"}
    (folder / "slides.csv").write_text("\n".join([*rows, ",".join(bad.values())]) + "\n")
    return folder


@pytest.fixture(scope="module")
def ran(folder: Path) -> tuple[RunSummary, list[str]]:
    told: list[str] = []
    return run(folder, on_step=lambda step, _: told.append(step)), told


@pytest.mark.ci  # every step of a study
def test_every_step_is_run_in_order_and_answers(ran: tuple[RunSummary, list[str]]) -> None:
    summary, told = ran
    assert told == list(summary.found) == [step.name for step in STEPS]
    assert summary.found["train"].models == 2
    assert len(summary.found["discover"].rows) >= 2
    assert summary.found["report"].name == "report.html"


@pytest.mark.ci  # every step of a study
def test_a_slide_that_failed_is_in_the_answer_of_its_step(
    ran: tuple[RunSummary, list[str]],
) -> None:
    failures = ran[0].failures
    assert {step: list(slides) for step, slides in failures.items()} == {"tile": ["bad"]}
    assert "bad" in failures["tile"]["bad"]


@pytest.mark.ci  # every step of a study
@pytest.mark.usefixtures("ran")
def test_nothing_is_printed_and_nothing_is_done_twice(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = hashes(folder)
    found = run(folder, on_step=lambda *_: None).found
    assert capsys.readouterr() == ("", "")
    assert [step for step in ("embed", "train", "explain", "discover") if found[step].fresh] == [
        "embed",
        "train",
        "explain",
        "discover",
    ]
    assert hashes(folder) == before


@pytest.mark.ci  # every step of a study
@pytest.mark.usefixtures("ran")
def test_the_command_line_finds_all_of_it_up_to_date(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pathoml("run", str(folder)) == 1  # the bad slide
    assert capsys.readouterr().out.count("up to date") == 5


@pytest.mark.ci  # every step of a study
@pytest.mark.usefixtures("ran")
def test_what_was_run_is_done_and_another_seed_is_to_do_again(folder: Path) -> None:
    study, other = load_study(folder), load_study(folder, ["splits.seed=9"])
    cohort = read_cohort(study)
    assert set(run_states(study, cohort).values()) == {"done"}
    assert set(run_states(other, cohort).values()) == {"to do again"}


def test_the_steps_are_run_in_turn_and_the_answer_of_each_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def step(name: str, failures: dict[str, str]) -> pipeline.Step:
        def work(study: Study, _: Progress) -> Answer:
            done.append(f"{name} {study.folder.name}")
            return Answer(failures=failures)

        return pipeline.Step(name=name, run=work)

    monkeypatch.setattr(pipeline, "STEPS", (step("tile", {"S1": "torn"}), step("embed", {})))
    folder = write_study(tmp_path / "study", *planted_cohort(12)[:2]).folder
    summary = pipeline.run(str(folder), on_step=lambda name, _: done.append(f"{name} told"))
    assert done == ["tile study", "tile told", "embed study", "embed told"]
    assert summary.failures == {"tile": {"S1": "torn"}}


def test_the_help_lists_the_steps_in_the_order_in_which_they_are_run() -> None:
    listed = PANELS["The steps of a study, in order"].split()
    assert listed == ["run", *(step.name for step in STEPS)]


def test_a_folder_that_is_no_study_is_refused_by_every_step(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no study\.yaml"):
        embed_study(str(tmp_path))


def test_status_says_of_a_folder_what_is_done(folder: Path) -> None:
    study = load_study(folder)
    assert status(str(folder)) == run_states(study, read_cohort(study))
