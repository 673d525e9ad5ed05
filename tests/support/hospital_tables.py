"""Twelve patients as a hospital's spreadsheet has them, to be spoiled one cell at a time."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import openpyxl
import yaml

from pathoml.config import Study, load_study
from pathoml.study.cohort import read_tables
from pathoml.study.oddities import odd_things

Columns = Mapping[str, Sequence[object]]


def twelve(**changed: Sequence[object]) -> dict[str, list[object]]:
    """Return the columns of patients.csv; `changed` replaces some, or adds."""
    columns: dict[str, Sequence[object]] = {
        "patient_id": [f"P{k:02d}" for k in range(12)],
        "centre": ["north", "south", "east"] * 4,
        "pfs": [3.5, 7, 12.25, 9.5, 22, 30.5, 41, 18, 26.5, 5, 14, 33],
        "event": [1, 1, 1, 1, 0, 0, 0, 1, 0, 1, 1, 0],
        "age": [61, 55, 48, 70, 66, 59, 73, 52, 64, 58, 47, 69],
        "sex": ["f", "m"] * 6,
    } | changed
    return {name: list(cells) for name, cells in columns.items()}


def lines_of(columns: Columns) -> list[list[object]]:
    """Return the header and the rows."""
    return [list(columns), *(list(row) for row in zip(*columns.values(), strict=True))]


def csv_text(columns: Columns, separator: str = ",") -> str:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator, lineterminator="\n").writerows(lines_of(columns))
    return text.getvalue()


def workbook_of(columns: Columns) -> openpyxl.Workbook:
    """Return a workbook with the columns on its first sheet."""
    book = openpyxl.Workbook()
    for line in lines_of(columns):
        book.active.append(line)
    return book


def write_hospital_study(
    folder: Path,
    patients: Columns | str | bytes | openpyxl.Workbook,
    *,
    slides: str = "",
    **sections: Mapping[str, object],
) -> Study:
    """Write study.yaml and the tables, patients without slides allowed; `sections` are added to
    those of study.yaml.
    """
    content: dict[str, dict[str, object]] = {
        "endpoint": {"name": "PFS", "time_zero": "ablation", "time": "pfs", "event": "event"},
        "cohort": {"covariates": ["age", "sex"], "without_slides": "keep"},
    }
    for name, section in sections.items():
        content[name] = {**content.get(name, {}), **section}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    if isinstance(patients, openpyxl.Workbook):
        patients.save(folder / "patients.xlsx")
    elif isinstance(patients, bytes):
        (folder / "patients.csv").write_bytes(patients)
    else:
        text = patients if isinstance(patients, str) else csv_text(patients)
        (folder / "patients.csv").write_text(text, encoding="utf-8")
    if slides:
        (folder / "slides.csv").write_text(slides, encoding="utf-8")
    return load_study(folder)


def warnings_of(study: Study) -> str:
    """Return what `check` finds odd, a line each."""
    return "\n".join(odd_things(study, *read_tables(study)))
