"""What is odd is said, and an ordinary table is not called odd."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from support.hospital_tables import twelve, warnings_of, workbook_of, write_hospital_study


def said(folder: Path, patients: object, **sections: object) -> str:
    return warnings_of(write_hospital_study(folder, patients, **sections))  # type: ignore[arg-type]


def test_an_ordinary_table_is_not_odd(tmp_path: Path) -> None:
    assert said(tmp_path, twelve()) == ""
    assert said(tmp_path / "book", workbook_of(twelve())) == ""


@pytest.mark.parametrize(
    "name", ["censorship", "censored", "cens", "os_cens", "Zensiert", "alive", "event_free"]
)
def test_an_event_by_the_name_of_censoring_is_odd(tmp_path: Path, name: str) -> None:
    columns = twelve()
    columns[name] = columns.pop("event")
    assert f"column {name!r} is read as 1 = event" in said(
        tmp_path, columns, endpoint={"event": name}
    )


@pytest.mark.parametrize(
    "name", ["pfs_event", "uncensored", "survival_status", "recurrence_free_survival_event"]
)
def test_an_event_by_the_name_of_an_event_is_not_odd(tmp_path: Path, name: str) -> None:
    columns = twelve()
    columns[name] = columns.pop("event")
    assert said(tmp_path, columns, endpoint={"event": name}) == ""


def test_the_codes_once_stated_the_name_is_not_odd(tmp_path: Path) -> None:
    columns = twelve()
    columns["cens"] = [1 - int(str(code)) for code in columns.pop("event")]
    stated = {"event": "cens", "event_codes": [0], "censored_codes": [1]}
    assert said(tmp_path, columns, endpoint=stated) == ""


def test_who_had_the_event_and_lives_longer_is_odd(tmp_path: Path) -> None:
    """Medians of 9.5 and 30.5 months, the other way round."""
    columns = twelve(event=[1 - int(str(code)) for code in twelve()["event"]])
    found = said(tmp_path, columns)
    assert "followed longer (median 30.5 months) than those censored (9.5)" in found


@pytest.mark.parametrize(
    ("column", "cell"), [("pfs", 999), ("age", -9), ("age", 99), ("age", 999), ("age", 150)]
)
def test_a_number_that_stands_for_missing_is_named_with_its_line(
    tmp_path: Path, column: str, cell: int
) -> None:
    columns = twelve()
    columns[column][3] = cell
    assert f"patients.csv: {column} = {cell} in line 5: does it stand for a missing value" in said(
        tmp_path, columns
    )


def test_an_old_patient_among_old_patients_is_not_odd(tmp_path: Path) -> None:
    assert said(tmp_path, twelve(age=[99, 97, 96, 88, *range(80, 88)])) == ""
    assert said(tmp_path / "one", twelve(age=[88, *range(60, 71)])) == ""
    assert "age = 88 in lines 2, 3" in said(tmp_path / "two", twelve(age=[88, 88, *range(60, 70)]))


def test_a_nine_among_codes_is_odd(tmp_path: Path) -> None:
    assert "age = 9 in lines 3, 5" in said(tmp_path, twelve(age=[1, 9, 2, 9, *[1, 2] * 4]))


@pytest.mark.parametrize(
    ("unit", "factor", "odd"),
    [
        ("months", 30.4, True), ("years", 1, True), ("weeks", 1, False), ("days", 1, True),
        ("days", 30.4, False), ("months", 1, False),
    ],
)  # fmt: skip
def test_a_follow_up_that_no_study_has_asks_for_the_unit(
    tmp_path: Path, unit: str, factor: float, odd: bool
) -> None:
    columns = twelve(pfs=[float(str(m)) * factor for m in twelve()["pfs"]])
    found = said(tmp_path, columns, endpoint={"unit": unit})
    assert ("Is endpoint.unit right?" in found) == odd


def test_centres_that_are_empty_or_spelt_twice_are_odd(tmp_path: Path) -> None:
    found = said(tmp_path, twelve(centre=["north", "North ", "", "south"] * 3))
    assert "centre is empty in 3 of 12 rows" in found
    assert "'North' and 'north' as different levels" in found


def test_a_category_of_many_levels_is_odd(tmp_path: Path) -> None:
    found = said(tmp_path, twelve(sex=[f"x{k}" for k in range(12)]))
    assert found == ""
    rows = 14
    columns = {name: (cells * 2)[:rows] for name, cells in twelve().items()}
    columns["patient_id"] = [f"P{k}" for k in range(rows)]
    columns["sex"] = [f"x{k}" for k in range(rows)]
    assert "sex is a category of 14 levels" in said(tmp_path / "more", columns)


def test_numbers_and_words_as_a_category_are_said(tmp_path: Path) -> None:
    found = said(tmp_path, twelve(age=[1, 2, "4a"] * 4))
    assert "age holds numbers and '4a', and is read as a category of 3 levels" in found


def test_dates_of_another_century_or_of_tomorrow_are_odd(tmp_path: Path) -> None:
    tomorrow = dt.date.today() + dt.timedelta(days=1)
    zero = ["1900-01-01", str(tomorrow), *["2020-01-01"] * 10]
    found = said(tmp_path, twelve(zero=zero), dates={"time_zero": "zero"})
    assert "line 2: zero = 1900-01-01 and 1 more" in found


def test_ids_that_would_run_are_said(tmp_path: Path) -> None:
    columns = twelve()
    columns["patient_id"][0] = "=P001"
    assert "'=P001' would run as a formula" in said(tmp_path, columns)


def test_a_workbook_beside_the_csv_is_said(tmp_path: Path) -> None:
    write_hospital_study(tmp_path, workbook_of(twelve()))
    assert "patients.xlsx beside it is not" in said(tmp_path, twelve())


def test_a_centre_written_once_for_many_rows_is_refused(tmp_path: Path) -> None:
    from pathoml.errors import CohortError
    from pathoml.study.cohort import read_cohort

    columns = twelve(centre=["north", *[""] * 5, "south", *[""] * 5])
    with pytest.raises(CohortError, match=r"centre is empty in 10 of 12 rows .line 3 is the first"):
        read_cohort(write_hospital_study(tmp_path, columns))
