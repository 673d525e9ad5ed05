"""`pathoml check` shows what was understood, warns of what is odd, refuses what is ambiguous."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.hospital_tables import csv_text, twelve, workbook_of, write_hospital_study
from support.initial import head_tensors, write_weights
from support.learning import planted_cohort, write_study

from pathoml.cli import guarded, main


def check(folder: Path, *before: str) -> int:
    return guarded(lambda: main([*before, "check", str(folder)]))


def test_every_column_that_is_used_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_hospital_study(tmp_path, csv_text(twelve(notes=["x"] * 12), ";"))
    assert check(tmp_path) == 0
    said = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in said.split("\n")]
    assert "patients.csv age covariate number 47 to 73, median 60 0" in lines
    assert "patients.csv centre centre category east 4, north 4, south 4 0" in lines
    assert "notes" not in said
    assert "WARNING" not in said


def test_a_machine_reads_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_hospital_study(tmp_path, twelve())
    assert check(tmp_path, "--log-json") == 0
    rows = [json.loads(line).get("row", {}) for line in capsys.readouterr().out.splitlines()]
    (age,) = [row for row in rows if row.get("column") == "age"]
    assert (age["read as"], age["holds"], age["missing"]) == ("number", "47 to 73, median 60", 0)


def test_what_is_odd_is_a_warning_and_no_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    book = workbook_of(twelve())
    book.active.row_dimensions[5].hidden = True
    write_hospital_study(tmp_path, book)
    assert check(tmp_path) == 0
    assert "WARNING patients.xlsx: 1 row is hidden" in capsys.readouterr().out


def test_what_is_ambiguous_is_refused_with_file_line_and_cell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = twelve()
    columns["age"][7] = "ca. 60"
    write_hospital_study(tmp_path, columns)
    assert check(tmp_path) == 2
    assert "patients.csv: age holds 11 numbers and 'ca. 60' (line 9)" in capsys.readouterr().err


def test_weights_to_begin_with_are_held_against_the_head_and_the_cohort(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_study(tmp_path / "study", *planted_cohort(12)[:2]).folder
    write_weights(folder / "w.safetensors", head_tensors(), public_cohorts="TCGA")
    begun = ["--set", "train.init=w.safetensors", "--set", "train.projection=null"]
    assert guarded(lambda: main(["check", str(folder), *begun])) == 0
    said = capsys.readouterr().out
    assert "initial weights: w.safetensors (" in said
    assert "WARNING The weights" not in said
    stated = [*begun, "--set", "cohort.source=TCGA-SARC"]
    assert guarded(lambda: main(["check", str(folder), *stated])) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "public cohort TCGA-SARC: cohort.source" in said
    assert (
        "WARNING The weights that the models began with (w.safetensors) learned from TCGA" in said
    )
    wider = [*begun, "--set", "train.hidden=16"]
    assert guarded(lambda: main(["check", str(folder), *wider])) == 2
    assert "Set train.hidden to 8." in " ".join(capsys.readouterr().err.split())
    solved = [*begun, "--set", "train.head=ridge_cox"]
    assert guarded(lambda: main(["check", str(folder), *solved])) == 2
    assert "Remove train.init" in capsys.readouterr().err


def test_slides_that_the_encoder_may_have_seen_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = twelve()
    columns["patient_id"] = [f"TCGA-3C-AA{i:02d}" for i in range(12)]
    write_hospital_study(tmp_path, columns)
    for encoder, said in (
        ("phikon", "WARNING The encoder phikon learned from TCGA"),
        ("h_optimus_0", "NOTE The encoder h_optimus_0 may have learned from TCGA"),
        ("uni", "public cohort TCGA: 12 patients carry its ids"),
    ):
        assert (
            guarded(lambda e=encoder: main(["check", str(tmp_path), "--set", f"encoder={e}"])) == 0
        )
        assert said in " ".join(capsys.readouterr().out.split())
