"""A column is understood as a whole, or refused with the cell that leaves it open."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.hospital_tables import csv_text, twelve, workbook_of, write_hospital_study

from pathoml.errors import CohortError
from pathoml.study.cohort import read_cohort
from pathoml.types import Cohort

DAYS = {"unit": "days"}
DATES = {"time_zero": "zero"}


def refusal(folder: Path, patients: object, **sections: object) -> str:
    with pytest.raises(CohortError) as error:
        read_cohort(write_hospital_study(folder, patients, **sections))  # type: ignore[arg-type]
    return str(error.value)


def cohort(folder: Path, patients: object, **sections: object) -> Cohort:
    return read_cohort(write_hospital_study(folder, patients, **sections))  # type: ignore[arg-type]


def ages(found: Cohort) -> list[object]:
    return [p.covariates["age"] for p in found.patients]


@pytest.mark.parametrize("cell", ["ca. 60", "<18", "61 y", "~60", "60?", "60-65", "6o", "unknown"])
def test_a_text_among_numbers_is_named_with_its_line(tmp_path: Path, cell: str) -> None:
    columns = twelve()
    columns["age"][4] = cell
    said = refusal(tmp_path, columns)
    assert f"patients.csv: age holds 11 numbers and {cell!r} (line 6)" in said
    assert "cohort.missing" in said
    assert "cohort.categorical" in said
    assert f"{cell!r} (line 6)" in refusal(tmp_path / "book", workbook_of(columns))


@pytest.mark.parametrize("cell", ["#N/A", "#NV", "#REF!", "#DIV/0!", "#WERT!", "####"])
@pytest.mark.parametrize("column", ["age", "centre", "event", "pfs", "sex"])
def test_an_error_of_a_spreadsheet_is_no_value_anywhere(
    tmp_path: Path, column: str, cell: str
) -> None:
    columns = twelve()
    columns[column][2] = cell
    assert f"patients.csv line 4: {column} = {cell!r}, which is a spreadsheet's error" in refusal(
        tmp_path, columns
    )


def test_what_the_study_calls_missing_is_no_text_among_numbers(tmp_path: Path) -> None:
    columns = twelve()
    columns["age"][4], columns["age"][5] = "#N/A", "ca. 60"
    found = cohort(tmp_path, columns, cohort={"missing": ["#N/A", "ca. 60"]})
    assert ages(found)[3:7] == [70.0, None, None, 73.0]


def test_numbers_that_all_have_a_unit_are_no_category(tmp_path: Path) -> None:
    said = refusal(tmp_path, twelve(age=[f"{age} y" for age in twelve()["age"]]))
    assert "'61 y' (line 2)" in said
    groups = ["60-69", "50-59", "<50"] * 4
    assert ages(cohort(tmp_path / "groups", twelve(age=groups))) == groups


@pytest.mark.parametrize("codes", [["1", "2", "3", "4a"], ["101", "102", "103", "B7"]])
def test_codes_of_which_some_have_a_letter_are_a_category(tmp_path: Path, codes: list[str]) -> None:
    cells = (codes * 3)[:12]
    assert ages(cohort(tmp_path, twelve(age=cells))) == cells


def test_the_study_says_which_numbers_are_a_category(tmp_path: Path) -> None:
    columns = twelve(age=["1", "2.0", "3", "1,0", "2", "3", "1", "2", "3", "1", "", "3"])
    found = cohort(tmp_path, csv_text(columns, ";"), cohort={"categorical": ["age"]})
    assert ages(found) == ["1", "2", "3", "1", "2", "3", "1", "2", "3", "1", None, "3"]
    said = refusal(tmp_path / "typo", twelve(), cohort={"categorical": ["agee"]})
    assert "Did you mean 'age'?" in said


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_thousand_that_may_be_three_decimals_is_refused_with_both_readings(
    tmp_path: Path, separator: str
) -> None:
    columns = twelve(pfs=["217", "98", "1,483", "364", "812", *["40"] * 7])
    said = refusal(tmp_path, csv_text(columns, separator), endpoint=DAYS)
    assert "patients.csv line 4: pfs = '1,483' may be 1483 or 1.483" in said
    columns["pfs"][2] = "1.483"
    if separator == ",":  # there a point is the decimal mark
        found = cohort(tmp_path / "point", csv_text(columns, separator), endpoint=DAYS)
        assert found.time_months[2] == pytest.approx(1.483 * 12 / 365.25)
    else:
        said = refusal(tmp_path / "point", csv_text(columns, separator), endpoint=DAYS)
        assert "pfs = '1.483' may be 1483 or 1.483" in said


def test_text_in_a_workbook_is_doubted_and_a_number_is_not(tmp_path: Path) -> None:
    for cell in ("1,483", "1.483"):
        columns = twelve(pfs=[217, 98, cell, *[364] * 9])
        assert "line 4: pfs" in refusal(tmp_path / cell, workbook_of(columns), endpoint=DAYS)
    found = cohort(tmp_path, workbook_of(twelve(pfs=[217, 98, 1.483, *[364] * 9])))
    assert found.time_months[2] == 1.483


@pytest.mark.parametrize(
    ("shows", "months"),
    [("12,5", 1.483), ("0,125", 1.483), ("1.234,5", 1.483), ("1,234,567", 1483.0)],
)
def test_another_cell_of_the_column_shows_which_it_is(
    tmp_path: Path, shows: str, months: float
) -> None:
    columns = twelve(pfs=["217", shows, "1,483", *["40"] * 9])
    assert cohort(tmp_path, csv_text(columns, ";")).time_months[2] == months


@pytest.mark.parametrize(
    ("cell", "months"), [("1.234.567,5", 1234567.5), ("1'234", 1234.0), ("1\u202f234", 1234.0)]
)
def test_thousands_that_leave_no_doubt_are_read(tmp_path: Path, cell: str, months: float) -> None:
    columns = twelve(pfs=[cell, *["40"] * 11])
    assert cohort(tmp_path, csv_text(columns, ";")).time_months[0] == months


def test_one_mark_in_both_parts_is_refused_with_both_cells(tmp_path: Path) -> None:
    said = refusal(tmp_path, csv_text(twelve(pfs=["1.234,5", "12.5", *["40"] * 10]), ";"))
    assert "'1.234,5' has '.' between thousands, and '12.5' in line 3 before decimals" in said


def test_decimal_commas_with_three_digits_in_every_cell_are_decimals(tmp_path: Path) -> None:
    columns = twelve(pfs=[f"{months:.3f}".replace(".", ",") for months in twelve()["pfs"]])
    assert cohort(tmp_path, csv_text(columns, ";")).time_months.tolist() == twelve()["pfs"]


def test_a_column_that_only_a_subgroup_names_is_held_to_the_same(tmp_path: Path) -> None:
    columns = twelve(ldh=["1,483", "217", *["300"] * 10])
    assert cohort(tmp_path / "unused", columns).rows["P00"]["ldh"] == "1,483"
    subgroup = {"evaluate": {"subgroups": ["ldh > 250"]}}
    assert "ldh = '1,483'" in refusal(tmp_path, columns, **subgroup)


def day(cells: list[str]) -> dict[str, list[object]]:
    return twelve(zero=[*cells, *["2020-01-01"] * (12 - len(cells))])


@pytest.mark.parametrize(
    ("cells", "second"),
    [(["25/03/2020", "03/04/2020"], "2020-04-03"), (["03/25/2020", "03/04/2020"], "2020-03-04")],
)
def test_a_day_over_twelve_decides_for_its_column(
    tmp_path: Path, cells: list[str], second: str
) -> None:
    assert cohort(tmp_path, day(cells), dates=DATES).rows["P01"]["zero"] == second


def test_a_column_of_days_that_may_be_months_is_refused_until_it_is_stated(tmp_path: Path) -> None:
    columns = day(["03/04/2020", "05/06/2020"])
    said = refusal(tmp_path, columns, dates=DATES)
    assert "patients.csv line 2: zero = '03/04/2020' may begin with the day" in said
    assert "dates.format" in said
    stated = {**DATES, "format": "month_first"}
    assert cohort(tmp_path, columns, dates=stated).rows["P00"]["zero"] == "2020-03-04"


def test_days_and_months_first_in_one_column_are_refused_with_both(tmp_path: Path) -> None:
    said = refusal(tmp_path, day(["25/03/2020", "03/26/2020"]), dates=DATES)
    assert "'25/03/2020' (line 2) begins with a day, '03/26/2020' (line 3) with a month" in said


def test_days_that_a_spreadsheet_counted_are_refused_until_it_is_stated(tmp_path: Path) -> None:
    columns = day(["43831"])  # 1 January 2020
    assert "2020-01-01, or 2024-01-02 where days count from 1904" in refusal(
        tmp_path, columns, dates=DATES
    )
    stated = {**DATES, "format": "excel"}
    assert cohort(tmp_path, columns, dates=stated).rows["P00"]["zero"] == "2020-01-01"


def test_dates_of_slides_are_read_by_their_own_column(tmp_path: Path) -> None:
    slides = "slide_id,patient_id,path,sampled_on\nA,P00,,25/12/2019\nB,P01,,03/04/2021\n"
    said = refusal(tmp_path, day([]), slides=slides, dates=DATES)
    assert "slide B 2021-04-03 was taken after time zero (2020-01-01)" in said


def test_every_ambiguous_column_is_named_at_once(tmp_path: Path) -> None:
    columns = day(["03/04/2020"]) | {"pfs": ["1,483", *["217"] * 11]}
    said = refusal(tmp_path, columns, dates=DATES)
    assert "pfs = '1,483'" in said
    assert "zero = '03/04/2020'" in said
