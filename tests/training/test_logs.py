"""Logs for machines: one JSON object a line with time, level, step and slide; --debug shows where
an error came from.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pathoml.cli import guarded, main
from pathoml.synthetic.cohort import write_cohort


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("logs") / "study"
    settings = {"compute": {"workers": 1}}
    write_cohort(
        folder, patients=6, seed=4, workers=1, side_um=420.0, textures=1, settings=settings
    )
    slides = (folder / "slides.csv").read_text(encoding="utf-8").splitlines()
    columns = slides[0].split(",")
    row = dict(zip(columns, slides[1].split(",")))
    (folder / "slides" / "bad.svs").write_bytes(b"no slide")
    row |= {"slide_id": "bad", "path": "slides/bad.svs"}
    (folder / "slides.csv").write_text(
        "\n".join([*slides, ",".join(row[c] for c in columns)]) + "\n", encoding="utf-8"
    )
    return folder


def test_every_line_of_a_log_is_json_with_step_level_and_slide(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert guarded(lambda: main(["--log-json", "tile", str(study)])) == 1
    entries = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert all({"time", "level", "message", "step"} <= entry.keys() for entry in entries)
    assert {entry["step"] for entry in entries} == {"tile"}
    done = [entry["slide"] for entry in entries if entry["message"] == "slide"]
    assert (
        len(done)
        == len(set(done))
        == len((study / "slides.csv").read_text(encoding="utf-8").splitlines()) - 1
    )
    [failed] = [entry for entry in entries if entry["level"] == "error"]
    assert failed["slide"] == "bad"


def test_a_users_mistake_is_one_json_line_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert guarded(lambda: main(["--log-json", "tile", str(tmp_path)])) == 2
    entry = json.loads(capsys.readouterr().err)
    assert (entry["level"], entry["type"]) == ("error", "ConfigError")


def test_how_one_command_speaks_is_not_how_the_next_one_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert guarded(lambda: main(["--log-json", "--debug", "tile", str(tmp_path)])) == 2
    capsys.readouterr()
    assert guarded(lambda: main(["tile", str(tmp_path)])) == 2
    assert capsys.readouterr().err.startswith(f"{tmp_path} has no study.yaml")


def test_the_environment_asks_for_json_where_a_script_cannot(
    tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATHOML_LOG_JSON", "1")
    assert guarded(lambda: main(["tile", str(tmp_path)])) == 2
    json.loads(capsys.readouterr().err)


def test_debug_shows_the_traceback_of_a_users_mistake_and_nothing_else_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert guarded(lambda: main(["tile", str(tmp_path)])) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert guarded(lambda: main(["--debug", "tile", str(tmp_path)])) == 2
    assert "Traceback" in capsys.readouterr().err
