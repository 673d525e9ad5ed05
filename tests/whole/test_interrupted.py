"""A step that is stopped while its files change places, files of a run that were lost or changed,
and two commands at once: the run is as it was, as it is to be, or to do again, and says so.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from support.tiny_study import hashes, pathoml, tiny_study

from pathoml.config import Study, load_study
from pathoml.discovery.recipe import DISCOVER_OUTPUTS
from pathoml.evaluation.recipe import EVALUATE_OUTPUTS
from pathoml.explanation.recipe import EXPLAIN_OUTPUTS
from pathoml.pipeline import StepState, step_states
from pathoml.report.recipe import REPORT_OUTPUTS
from pathoml.store import publishing
from pathoml.store.files import read_json
from pathoml.study.cohort import read_cohort
from pathoml.study.current_run import current_run
from pathoml.training.recipe import TRAIN_OUTPUTS

pytestmark = pytest.mark.ci  # every step of a study

OUTPUTS = {
    "train": TRAIN_OUTPUTS,
    "evaluate": EVALUATE_OUTPUTS,
    "explain": EXPLAIN_OUTPUTS,
    "discover": DISCOVER_OUTPUTS,
    "report": REPORT_OUTPUTS,
}
# of every step another recipe, which makes other files
OTHERWISE = {
    "train": "splits.seed=3",
    "evaluate": "significance.permutations=2",
    "report": "report.smallest_cell=3",
}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny_study(tmp_path_factory.mktemp("interrupted") / "study")
    assert pathoml("run", str(folder)) == 0
    return folder


@pytest.fixture
def folder(done: Path, tmp_path: Path) -> Path:
    shutil.copytree(done, tmp_path / "study", symlinks=True)
    return tmp_path / "study"


def states(study: Study) -> dict[str, StepState]:
    return step_states(study, read_cohort(study))


def of_run(folder: Path) -> dict[str, str]:
    """Return the hashes of the files of the run, but those that hold the time."""
    return {name: sha256 for name, sha256 in hashes(folder).items() if name.startswith("runs/main")}


def test_every_file_of_a_run_is_of_one_step(done):
    run = load_study(done).run_folder
    of_no_step = {"study.resolved.yaml", "provenance.json"}
    names = {p.relative_to(run).as_posix() for p in run.rglob("*") if p.is_file()} - of_no_step
    makers = {n: [step for step, made in OUTPUTS.items() if n in made.found(run)] for n in names}
    assert {name: steps for name, steps in makers.items() if len(steps) != 1} == {}


class Stopped(BaseException):
    """As if the process were killed: nothing on the way catches it."""


@pytest.mark.parametrize("step", OTHERWISE)
@pytest.mark.parametrize("moment", [0, 1, 4])
def test_a_step_that_is_stopped_while_files_change_places_is_to_do_again(
    folder, step, moment, monkeypatch
):
    before, left = of_run(folder), [moment]
    replace = os.replace

    def stopping(source, target):
        if publishing.STAGING in str(source) and publishing.STAGING not in str(target):
            left[0] -= 1
            if left[0] < 0:
                raise Stopped
        replace(source, target)

    monkeypatch.setattr(publishing.os, "replace", stopping)
    monkeypatch.setattr(publishing.shutil, "rmtree", lambda *_args, **_kwargs: None)
    made = 1 if step == "report" else 6
    with suppress(Stopped):
        pathoml(step, str(folder), "--set", OTHERWISE[step])
        assert moment >= made, "it was done"
    monkeypatch.undo()
    if moment < made:
        for settings in ((), (OTHERWISE[step],)):
            assert states(load_study(folder, settings))[step].state != "done"
    assert pathoml("run", str(folder)) == 0
    assert of_run(folder) == before
    assert not (folder / "runs/main" / publishing.STAGING).exists()


def test_files_of_another_recipe_are_never_shown_with_those_of_this(folder):
    assert pathoml("train", str(folder), "--set", "splits.seed=3") == 0
    run = current_run(load_study(folder))
    assert run.maps() == []
    assert not run.phenotypes.exists()
    assert "models/models.json, scores.csv changed since" in run.outdated["explain"]
    assert pathoml("report", str(folder), "--set", "splits.seed=3") == 2
    assert pathoml("export", str(folder), str(folder / "out"), "--format", "qupath") == 2


@pytest.mark.parametrize(
    ("name", "change", "step"),
    [
        ("scores.csv", "gone", "train"),
        ("models/repeat-1_fold-1_seed-1.safetensors", "gone", "train"),
        ("splits.json", "cut off", "train"),
        ("metrics.json", "changed", "evaluate"),
        ("attention", "gone", "explain"),
        ("faithfulness.json", "cut off", "explain"),
        ("features/assignments", "gone", "discover"),
        ("report.html", "cut off", "report"),
    ],
)
def test_what_was_lost_or_changed_is_said_and_made_again(folder, name, change, step, capsys):
    before, path = of_run(folder), folder / "runs/main" / name
    if path.is_dir():
        shutil.rmtree(path)
    elif change == "gone":
        path.unlink()
    else:
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2] if change == "cut off" else content + b" ")
    [why] = [one for one in states(load_study(folder))[step].why if " is to do" not in one]
    verb = {"gone": "missing", "cut off": "was changed since", "changed": "was changed since"}
    assert verb[change] in why
    assert name.split("/")[0] in why
    pathoml("status", str(folder))
    assert f"{step} is to do again: " in capsys.readouterr().out
    assert pathoml("run", str(folder)) == 0
    assert of_run(folder) == before


def test_a_copy_without_times_is_up_to_date(done, tmp_path):
    shutil.copytree(done, tmp_path / "copy", copy_function=shutil.copyfile)
    found = states(load_study(tmp_path / "copy"))
    assert {step: one.state for step, one in found.items() if step in OUTPUTS} == dict.fromkeys(
        OUTPUTS, "done"
    )


def test_the_configuration_of_a_run_is_that_of_the_last_run_of_it(folder):
    resolved = folder / "runs/main/study.resolved.yaml"
    assert "scale: robust" in resolved.read_text() or "scale: raw" not in resolved.read_text()
    assert pathoml("run", str(folder), "--set", "figures.scale=raw") == 0
    assert "scale: raw" in resolved.read_text()
    resolved.unlink()
    assert pathoml("run", str(folder)) == 0
    assert "scale: raw" not in resolved.read_text()


def command(*words: str) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "pathoml", *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    while not path.exists():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)


def test_a_second_run_and_a_withdrawal_wait_for_the_first(folder, capsys):
    before, patient = of_run(folder), read_cohort(load_study(folder)).patients[0].patient_id
    with command("run", str(folder), "--set", "splits.seed=3") as first:
        wait_for(folder / "runs/main" / publishing.STAGING, first)
        first.send_signal(signal.SIGSTOP)  # in the middle of its work
        assert pathoml("run", str(folder), "--set", "splits.seed=4") == 2
        said = " ".join(capsys.readouterr().err.split())
        assert f"`pathoml run` is at work (process {first.pid} on " in said
        assert pathoml("withdraw", patient, str(folder), "--confirm") == 2
        assert "is at work" in capsys.readouterr().err
        assert of_run(folder).items() >= before.items(), "the old state is there to be viewed"
        assert pathoml("status", str(folder)) == 0
        first.send_signal(signal.SIGCONT)
        first.communicate()
    assert first.returncode == 0
    found = states(load_study(folder, ["splits.seed=3"]))
    assert {found[step].state for step in OUTPUTS} == {"done"}
    assert read_json(folder / "runs/main/splits.json")["seed"] == 3
