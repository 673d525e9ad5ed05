"""What a command leaves in the study's log, and what it never does."""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.tiny_study import pathoml, tiny_study

from pathoml.cli import logbook
from pathoml.store.study_log import log_path, read_entries


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_study(tmp_path_factory.mktemp("logged") / "study", patients=8)


@pytest.fixture
def study(drawn: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(drawn, tmp_path / "study"))


def ids_of_people(study: Path) -> set[str]:
    """Return every patient_id and slide_id of the study."""
    found = set()
    for name in ("slides.csv", "patients.csv"):
        with (study / name).open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                found |= {row["patient_id"], row.get("slide_id", "")}
    return found - {""}


def test_a_command_leaves_when_it_began_and_how_it_ended(study: Path) -> None:
    assert pathoml("tile", str(study), "--set", "compute.workers=1") == 0
    begun, ended = read_entries(study)
    assert (begun["event"], ended["event"]) == ("begin", "end")
    assert begun["verb"] == ended["verb"] == "tile"
    assert begun["options"] == ["compute.workers"]
    assert begun["versions"].keys() >= {"pathoml", "python", "numpy", "torch", "system"}
    assert ended["exit"] == 0
    assert 0 < ended["steps"]["tile"] <= ended["seconds"] + 0.1
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", begun["time"])


def test_slides_that_failed_are_counted_and_no_slide_patient_path_or_person_is_named(
    study: Path,
) -> None:
    with (study / "slides.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    (study / rows[0]["path"]).write_bytes(b"no slide")
    assert pathoml("tile", str(study)) == 1
    assert read_entries(study)[-1]["slides_failed"] == {"tile": 1}
    patient = rows[1]["patient_id"]
    assert pathoml("withdraw", patient, str(study)) == 0
    assert pathoml("withdraw", "nobody at all", str(study)) in (1, 2)
    assert read_entries(study)[-1]["exit"] in (1, 2)
    assert pathoml("tile", str(study), "--set", f"tiles.regions={Path.home()}/none") == 2
    assert read_entries(study)[-1]["error"] == "ConfigError"
    text = log_path(study).read_text(encoding="utf-8")
    words = set(re.findall(r"[\w.-]+", text))
    assert not words & ids_of_people(study)
    assert "nobody" not in text
    assert str(Path.home()) not in text
    assert str(study.parent) not in text


def test_what_is_withdrawn_was_never_in_the_log(study: Path) -> None:
    assert pathoml("tile", str(study)) == 0
    before = log_path(study).read_bytes()
    [patient, *_] = sorted(i for i in ids_of_people(study) if "_" not in i)
    assert pathoml("withdraw", patient, str(study), "--confirm") in (0, 1)
    assert patient not in (study / "patients.csv").read_text(encoding="utf-8")
    assert log_path(study).read_bytes().startswith(before)


def test_a_mistake_leaves_its_kind_and_where_it_was_found_but_not_its_words(study: Path) -> None:
    text = (study / "patients.csv").read_text(encoding="utf-8")
    (study / "patients.csv").write_text(text.replace("P001,", "P001x,"), encoding="utf-8")
    (study / "study.yaml").write_text("endpoint: {nmae: secret}\n", encoding="utf-8")
    assert pathoml("train", str(study)) == 2
    last = read_entries(study)[-1]
    assert (last["exit"], last["error"]) == (2, "ConfigError")
    assert re.fullmatch(r"config\.py:\d+", last["at"])
    assert "secret" not in log_path(study).read_text(encoding="utf-8")


def test_our_own_mistakes_are_told_by_their_place(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("P001")

    monkeypatch.setattr("pathoml.tiling.step.tile_study", broken)
    assert pathoml("tile", str(study)) == 70
    capsys.readouterr()
    last = read_entries(study)[-1]
    assert (last["exit"], last["error"]) == (70, "KeyError")
    assert "P001" not in log_path(study).read_text(encoding="utf-8")


@pytest.mark.parametrize("way", ["key", "override", "key of a broken file"])
def test_it_is_switched_off_by_a_key(study: Path, way: str) -> None:
    text = (study / "study.yaml").read_text(encoding="utf-8")
    if way != "override":
        text = text.replace("compute:\n", "compute:\n  log: false\n")
        assert "log: false" in text
    if way == "key of a broken file":
        text += "nonsense: 1\n"
    (study / "study.yaml").write_text(text, encoding="utf-8")
    pathoml("tile", str(study), *(("--set", "compute.log=false") if way == "override" else ()))
    assert not (study / "logs").exists()


@pytest.mark.parametrize("verb", logbook.UNLOGGED)
def test_verbs_that_only_look_leave_nothing(
    study: Path, verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(study)
    pathoml(verb)
    capsys.readouterr()
    assert not (study / "logs").exists()


def test_a_folder_that_is_no_study_gets_no_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pathoml("tile", str(tmp_path)) == 2
    capsys.readouterr()
    assert list(tmp_path.iterdir()) == []


def test_a_study_that_cannot_be_written_does_not_fail_because_of_its_log(
    study: Path,
) -> None:
    assert pathoml("tile", str(study)) == 0
    shutil.rmtree(study / "logs")
    (study / "logs").write_text("a file is in the way", encoding="utf-8")
    assert pathoml("tile", str(study)) == 0


def test_a_command_that_is_killed_leaves_that_it_began(study: Path) -> None:
    program = (
        "import os, signal, sys; import pathoml.cli.tile as verb; from pathoml.cli import main\n"
        "verb.run = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "main(['tile', sys.argv[1]])\n"
    )
    root = str(Path(__file__).parents[2])
    subprocess.run([sys.executable, "-c", program, study], env={"PYTHONPATH": root}, check=False)
    assert [entry["event"] for entry in read_entries(study)] == ["begin"]


def test_a_study_that_is_made_by_the_command_keeps_a_log_from_then_on(
    drawn: Path, tmp_path: Path
) -> None:
    assert pathoml("init", str(tmp_path / "new"), "--slides", str(drawn / "slides")) == 0
    [entry] = read_entries(tmp_path / "new")
    assert (entry["event"], entry["verb"], entry["options"]) == ("end", "init", ["--slides"])
    assert str(drawn) not in log_path(tmp_path / "new").read_text(encoding="utf-8")
