"""The whole path on a tiny synthetic cohort, as a user runs it, and what a stranger finds in its
files.
"""

from __future__ import annotations

import csv
import hashlib
import json
import runpy
import sys
from pathlib import Path

import pytest

from pathoml.cli import guarded, main
from pathoml.slides.finding import find_slides
from pathoml.synthetic.cohort import write_cohort

SETTINGS = {
    "splits": {"folds": 2, "repeats": 2},
    "train": {"epochs": 3, "seeds": 1, "projection": 8, "hidden": 8},
    "significance": {"permutations": 2, "bootstraps": 200},
    "cohort": {"covariates": ["age"]},
}


def pathoml(*arguments: str) -> int:
    return guarded(lambda: main(list(arguments)))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny") / "study"
    write_cohort(
        folder, patients=14, seed=4, workers=1, side_um=420.0, textures=1, settings=SETTINGS
    )
    assert pathoml("run", str(folder)) == 0
    return folder


def hashes(folder: Path) -> dict[str, str]:
    suffixes = {".h5", ".csv", ".safetensors", ".json", ".html", ".geojson"}
    kept = [
        p
        for p in folder.rglob("*")
        if p.suffix in suffixes
        and p.is_file()
        and ".slide_files" not in p.parts  # what is remembered of files grows as they settle
    ]
    return {
        str(p.relative_to(folder)): hashlib.sha256(content(p)).hexdigest() for p in sorted(kept)
    }


def content(path: Path) -> bytes:
    """Return the bytes of a file; of provenance.json without times: those of the files it proves,
    and the hashes of such as hold the hour of their writing.
    """
    if path.name != "provenance.json":
        return path.read_bytes()
    noted = json.loads(path.read_text(encoding="utf-8"))
    for proofs in noted["files"].values():
        for name, proof in proofs.items():
            dated = name.endswith((".sav", ".dta")) or "tfevents" in name
            proofs[name] = "" if dated else proof.split(" ")[:2]
    return json.dumps(noted).encode()


def test_a_stranger_finds_nothing_against_the_contract(
    study: Path, shared_data: Path, monkeypatch, capsys
) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(sys, "argv", ["check_contract.py", str(study)])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(shared_data.parent / "tools" / "check_contract.py"), run_name="__main__")
    assert stop.value.code in (0, False), capsys.readouterr().out


def test_a_second_run_has_nothing_to_do(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = hashes(study)
    capsys.readouterr()
    assert pathoml("run", str(study)) == 0
    said = capsys.readouterr().out
    assert said.count("up to date") == 5
    assert said.count(": 0 of ") == 2
    assert hashes(study) == before


def test_a_rerun_from_nothing_is_bit_equal_and_warns_of_more_parameters_than_events_pay_for(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    before = hashes(study / "runs")
    shutil.rmtree(study / "runs")
    capsys.readouterr()
    assert pathoml("run", str(study)) == 0
    assert "WARNING: clinical covariates and image score are 2 coefficients" in " ".join(
        capsys.readouterr().out.split()
    )
    assert hashes(study / "runs") == before


def test_a_changed_key_redoes_only_the_steps_that_stand_on_it(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert (
        pathoml(
            "run",
            str(study),
            "--set",
            "significance.bootstraps=240",
            "--set",
            "significance.permutations=0",
        )
        == 0
    )
    said = capsys.readouterr().out
    assert "train  runs/main: up to date" in said
    assert "evaluate  runs/main: no permutations" in said
    assert "explain  runs/main: up to date" in said


def test_scores_have_one_row_a_patient_and_r_reads_them(study: Path) -> None:
    from support.r_oracle import r_data, run_r

    rows = list(csv.DictReader((study / "runs/main/scores.csv").read_text().splitlines()))
    assert len(rows) == len({r["patient_id"] for r in rows}) == 14
    answer = run_r(
        r_data({})
        + f"s <- read.csv('{study / 'runs/main/scores.csv'}')\nshow('rows', nrow(s))\nshow('sd',"
        " sd(s$score_sd))\n"
    )
    assert float(answer["rows"][0]) == 14
    assert float(answer["sd"][0]) == pytest.approx(1, abs=1e-6)


def test_truth_is_never_read_by_the_steps(study: Path) -> None:
    (study / "truth").rename(study / "hidden")
    try:
        assert pathoml("run", str(study), "--set", "run=blind") == 0
    finally:
        (study / "hidden").rename(study / "truth")


@pytest.mark.parametrize(
    ("file", "old", "new", "sentence"),
    [
        ("study.yaml", "epochs", "epoch", "unknown key 'epoch'. Did you mean 'epochs'?"),
        (
            "study.yaml",
            "efficientnet_lite0",
            "efficientnet_lite7",
            "Did you mean 'efficientnet_lite",
        ),
        ("study.yaml", "splits:", "compute: {engine: locl}\nsplits:", "Did you mean 'local'?"),
        ("patients.csv", "pfs_event", "event_pfs", "patients.csv has no column 'pfs_event'"),
        ("patients.csv", "\nP002,", "\nP001,", "2 rows for patient_id 'P001'"),
        (
            "slides.csv",
            ",P002,",
            ",P999,",
            "belongs to patient 'P999', who has no row in patients.csv",
        ),
    ],
)
def test_a_users_mistake_is_exit_code_2_and_a_sentence(
    study: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    file: str,
    old: str,
    new: str,
    sentence: str,
) -> None:
    for name in ("study.yaml", "patients.csv", "slides.csv"):
        text = (study / name).read_text()
        assert name != file or old in text
        (tmp_path / name).write_text(text.replace(old, new) if name == file else text)
    assert pathoml("check", str(tmp_path)) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert "Traceback" not in said


def test_a_negative_time_is_exit_code_2_with_the_patient(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("study.yaml", "slides.csv"):
        (tmp_path / name).write_text((study / name).read_text())
    rows = list(csv.DictReader((study / "patients.csv").read_text().splitlines()))
    rows[2]["pfs_months"] = "-2.0"
    with (tmp_path / "patients.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    assert pathoml("check", str(tmp_path)) == 2
    assert f"patient {rows[2]['patient_id']}: pfs_months = -2 months" in capsys.readouterr().err


def test_a_broken_slide_costs_one_row_and_exit_code_1(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = next(csv.DictReader((study / "slides.csv").read_text().splitlines()))
    slide = study / row["path"]
    original = slide.read_bytes()
    slide.write_bytes(b"not a slide")
    try:
        assert pathoml("tile", str(study)) == 1
        assert row["slide_id"] in (study / "tiles/224px_0.5mpp/failures.csv").read_text()
        assert f"FAILED {row['slide_id']}" in capsys.readouterr().out
    finally:
        slide.write_bytes(original)
        assert pathoml("tile", str(study)) == 0


def test_init_makes_a_study_that_check_understands(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pathoml("init", str(tmp_path / "mine"), "--slides", str(study / "slides")) == 0
    assert pathoml("check", str(tmp_path / "mine")) == 2  # nobody has follow-up yet
    assert "No patient has both a slide and follow-up" in capsys.readouterr().err
    assert pathoml("init", str(tmp_path / "mine"), "--slides", str(study / "slides")) == 2
    assert "nothing was changed" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["slides.xlsx", "patients.xlsx"])
def test_init_puts_no_empty_table_beside_a_workbook_that_would_then_be_read_instead(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / name).write_bytes(b"PK")
    assert pathoml("init", str(tmp_path), "--slides", str(study / "slides")) == 2
    assert f"has {name} already; nothing was changed" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_folder_of_dicom_files_is_one_slide_but_a_stray_one_does_not_swallow_its_neighbours(
    tmp_path: Path,
) -> None:
    for name in ("a.svs", "stray.dcm", "series/1.dcm", "series/2.dcm"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert [str(s.path.relative_to(tmp_path)) for s in find_slides(tmp_path).slides] == [
        "a.svs",
        "series",
        "stray.dcm",
    ]


def test_doctor_and_config_answer(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pathoml("doctor") == 0
    assert pathoml("config", "show", str(study)) == 0
    assert pathoml("config", "schema") == 0
    assert "train.learning_rate" in capsys.readouterr().out


def test_the_permutation_file_says_what_was_tested(study: Path) -> None:
    pathoml("evaluate", str(study))
    content = json.loads((study / "runs/main/permutation.json").read_text())
    assert len(content["null"]) == content["permutations"] == 2
    assert content["p_value"] in (1 / 3, 2 / 3, 1.0)
