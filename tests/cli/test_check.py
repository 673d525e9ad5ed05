"""`pathoml check` shows what was understood, warns of what is odd, refuses what is ambiguous."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.hospital_tables import csv_text, twelve, workbook_of, write_hospital_study

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
