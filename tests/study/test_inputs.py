"""What a step reads of the tables is hashed as it was understood, and what changed is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import openpyxl
import pytest

from pathoml.config import load_study
from pathoml.study.cohort import read_cohort
from pathoml.study.inputs import (
    changed_tables,
    columns_read,
    patients_read,
    slides_read,
    what_changed,
)
from pathoml.types import Cohort

HEAD = "patient_id,centre,months,event,age,sex"
ROWS = ["P1,a,12.5,1,61,f", "P2,a,7,0,,m", "P3,b,30,2,55,f"]
YAML = (
    "endpoint: {name: PFS, time_zero: surgery, time: months, event: event}\n"
    "cohort: {covariates: [age, sex], missing: [not done]}\n"
)


def cohort(folder: Path, rows: list[str], head: str = HEAD, *, settings: str = YAML) -> Cohort:
    folder.mkdir(exist_ok=True)
    (folder / "study.yaml").write_text(settings, encoding="utf-8")
    (folder / "patients.csv").write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    ids = [row.split(head[10])[0] for row in rows]
    slides = [f"{p}_1,{p},,{'primary' if k else 'other'}" for k, p in enumerate(ids)]
    text = "\n".join(["slide_id,patient_id,path,specimen", *slides])
    (folder / "slides.csv").write_text(text, encoding="utf-8")
    return read_cohort(load_study(folder))


def read(of: Cohort) -> dict[str, dict[str, str]]:
    columns = columns_read(of, ["centre", "event", "age", "sex"])
    return {"patients": patients_read(of), "columns": columns, "slides": slides_read(of)}


def cell_value(text: str) -> float | str | None:
    return float(text) if text.replace(".", "").isdigit() else text or None


def as_a_workbook(folder: Path) -> Cohort:
    book = openpyxl.Workbook()
    for line in [HEAD, *ROWS]:
        book.active.append([cell_value(text) for text in line.split(",")])
    book.save(folder / "patients.xlsx")
    (folder / "patients.csv").unlink()
    return read_cohort(load_study(folder))


def in_days(folder: Path) -> Cohort:
    days = [r.replace(",12.5,", ",380.46875,").replace(",7,", ",213.0625,") for r in ROWS]
    days[2] = days[2].replace(",30,", ",913.125,")
    return cohort(folder, days, settings=YAML.replace("event: event", "event: event, unit: days"))


SAME: dict[str, Callable[[Path], Cohort]] = {
    "a workbook": as_a_workbook,
    "times in days": in_days,
    "a column that nothing reads": lambda f: cohort(f, [f"{r},x" for r in ROWS], HEAD + ",note"),
    "another spelling of missing": lambda f: cohort(
        f, [r.replace("0,,m", "0,not done,m") for r in ROWS]
    ),
    "words for an event": lambda f: cohort(f, [ROWS[0], ROWS[1].replace(",0,", ",no,"), ROWS[2]]),
    "semicolons and decimal commas": lambda f: cohort(
        f, [r.replace(",", ";").replace("12.5", "12,5") for r in ROWS], HEAD.replace(",", ";")
    ),
    "rows in another order": lambda f: cohort(f, [ROWS[2], ROWS[0], ROWS[1]]),
    "other digits": lambda f: cohort(f, [r.replace("12.5", "12.50") for r in ROWS]),
}


@pytest.mark.parametrize("way", SAME)
def test_a_table_that_says_the_same_in_another_way_is_the_same(tmp_path: Path, way: str) -> None:
    before = read(cohort(tmp_path, ROWS))
    after = read(SAME[way](tmp_path))
    if way == "words for an event":  # analysis.R reads the cells of this column itself
        before["columns"].pop("event")
        after["columns"].pop("event")
    assert after == before


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ([*ROWS[:2], ROWS[2].replace(",2,", ",1,")], "event"),
        ([ROWS[0].replace("12.5", "12.6"), *ROWS[1:]], "time_months"),
        ([ROWS[0].replace(",a,", ",b,"), *ROWS[1:]], "centre"),
        ([ROWS[0], ROWS[1].replace(",,", ",70,"), ROWS[2]], "age"),
        ([ROWS[0], ROWS[1], ROWS[2].replace(",f", ",m")], "sex"),
        (ROWS[:2], "rows"),
    ],
)
def test_what_changed_in_a_table_is_named(tmp_path: Path, rows: list[str], named: str) -> None:
    before = read(cohort(tmp_path, ROWS))
    said = changed_tables(before, cohort(tmp_path, rows))
    assert said[0] == f"patients.csv: {named}"


def test_no_cell_of_a_table_is_recorded(tmp_path: Path) -> None:
    text = str(read(cohort(tmp_path, ROWS)))
    assert not any(cell in text for cell in ("12.5", "P1", "not done"))


def test_a_step_that_recorded_no_table_is_not_held_against_one(tmp_path: Path) -> None:
    assert changed_tables({"version": 3}, cohort(tmp_path, ROWS)) == []


def test_many_slides_are_not_all_named() -> None:
    before = {"embeddings": {f"S{k}": "a" for k in range(9)}}
    now = {"embeddings": {f"S{k}": "b" for k in range(9)}}
    assert what_changed(before, now) == ["embeddings of S0, S1, S2, S3 and 5 more"]
