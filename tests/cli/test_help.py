"""What a new user types, rightly and wrongly: the list of verbs, and the answers to natural
mistakes.
"""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from support.learning import planted_cohort, write_study

import pathoml.cli
from pathoml.cli import app, guarded, main
from pathoml.cli.help import PANELS, keys_named


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    """Return the exit code and what was said, line breaks and frames taken out."""
    code = guarded(lambda: main(list(words)))
    said = capsys.readouterr()
    return code, re.sub(r"[\s│╭╮╰╯─]+", " ", said.out + said.err)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("verbs") / "study", *planted_cohort(12)[:2]).folder


def test_every_verb_stands_in_the_help_once_in_the_order_in_which_it_is_used(
    capsys: pytest.CaptureFixture[str],
) -> None:
    verbs = " ".join(PANELS.values()).split()
    assert sorted(verbs) == sorted(str(info.name) for info in app.registered_commands)
    _, said = answer(capsys, "--help")
    places = [
        said.index(f" {verb} ", said.index(panel))
        for panel, names in PANELS.items()
        for verb in names.split()
    ]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("option", "ways"),
    [
        ("--epochs", "--set train.epochs=VALUE"),
        ("--tile-px", "--set tiles.tile_px=VALUE"),
        ("--encoder", "--set encoder=VALUE"),
    ],
)
def test_a_key_of_study_yaml_given_as_an_option_is_answered_with_the_way_to_give_it(
    study: Path, capsys: pytest.CaptureFixture[str], option: str, ways: str
) -> None:
    code, said = answer(capsys, "train", str(study), option, "3")
    assert code == 2
    assert f"No such option: {option}. It is a key of study.yaml: {ways}" in said


def test_the_options_of_every_verb_are_known_without_loading_what_the_verbs_work_with() -> None:
    code = "import sys, pathoml.cli; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) & {"numpy", "pydantic", "yaml", "h5py", "torch"} == set()


def test_a_verb_is_called_as_its_file_or_as_the_file_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, verb in (("greet", ""), ("leaving", "VERB = 'leave'")):
        code = f"{verb}\ndef command() -> None:\n    '''Say\n    {name}.'''\n"
        (tmp_path / f"{name}.py").write_text(code)
    (tmp_path / "no_verb.py").write_text("run = print\n")
    monkeypatch.setattr(pathoml.cli, "__path__", [str(tmp_path)])
    found = typer.Typer()
    pathoml.cli.register_verbs(found)
    assert {(info.name, info.help) for info in found.registered_commands} == {
        ("greet", "Say greet."),
        ("leave", "Say leaving."),
    }


def test_a_key_of_two_sections_is_shown_in_both() -> None:
    assert keys_named("seeds") == ["train.seeds", "significance.seeds"]
    assert keys_named("nonsense") == []


def test_an_option_that_is_no_key_is_only_refused(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = answer(capsys, "train", str(study), "--nonsense")
    assert code == 2
    assert "No such option: --nonsense" in said
    assert "--set" not in said


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["discover", "STUDY", "--labels", "nowhere.csv"],
            "nowhere.csv does not exist. Give the path of a CSV or .xlsx file.",
        ),
        (
            ["discover", "STUDY", "--spots", "nowhere.h5ad", "--slide", "S0a"],
            "nowhere.h5ad does not exist. Give the .h5ad file",
        ),
        (
            ["predict", "STUDY", "--bundle", "nowhere"],
            "nowhere holds no bundle. Give the folder that `pathoml lock STUDY` wrote",
        ),
        (
            ["withdraw", "STUDY", "P1"],
            "The patient comes first, then the study: `pathoml withdraw PATIENT",
        ),
        (["config", "STUDY"], "say what first, `pathoml config show"),
        (["export", "STUDY", "--to", "figure"], "Did you mean 'figures'?"),
        (
            ["import", "STUDY", "nowhere.csv", "--from", "scores"],
            "Give a CSV file with a column patient_id and one of scores.",
        ),
    ],
)
def test_a_natural_mistake_is_answered_with_what_to_type(
    study: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    code, said = answer(capsys, *[str(study) if word == "STUDY" else word for word in words])
    assert code == 2
    assert told in said


def test_a_viewer_on_a_port_that_is_taken_says_so_before_any_address(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, said = answer(capsys, "view", str(study), "--port", str(port))
    assert code == 2
    assert (
        f"127.0.0.1, port {port}: Address already in use. If another viewer runs there, stop it, or"
        " take the next port" in said
    )
    assert "http://" not in said
