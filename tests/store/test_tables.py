"""Tables as people have them: what is understood, what is refused, and that nothing written runs in
a spreadsheet.
"""

from __future__ import annotations

import csv
import datetime as dt
import tempfile
from pathlib import Path

import openpyxl
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pathoml.errors import CohortError
from pathoml.store.readings import Reading, Readings
from pathoml.store.tables import (
    MISSING,
    find_table,
    parse_date,
    parse_number,
    read_own_table,
    read_table,
    write_table,
)

GERMAN = "Patient;Zentrum;Größe;Ablation\nP1;Köln;12,5;01.03.2021\nP2;Zürich;7;\n"


def write(path: Path, content: bytes | str) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refusal(path: Path) -> str:
    with pytest.raises(CohortError) as error:
        read_table(path)
    return str(error.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
def test_semicolons_umlauts_and_decimal_commas_are_understood(tmp_path, encoding):
    table = read_table(write(tmp_path / "patients.csv", GERMAN.encode(encoding)))
    assert table.columns == ("Patient", "Zentrum", "Größe", "Ablation")
    assert [row["Zentrum"] for row in table.rows] == ["Köln", "Zürich"]
    assert parse_number(table.rows[0]["Größe"]) == 12.5
    assert parse_date(table.rows[0]["Ablation"]) == dt.date(2021, 3, 1)
    assert table.understood == (
        "semicolon, Latin-1" if encoding == "latin-1" else "semicolon, UTF-8"
    )


def test_an_excel_table_reads_as_the_csv_does(tmp_path):
    book = openpyxl.Workbook()
    for row in (
        ["Patient", "Zentrum", "Größe", "Ablation"],
        ["P1", "Köln", 12.5, dt.datetime(2021, 3, 1)],
        ["P2", "Zürich", 7, None],
    ):
        book.active.append(row)
    book.save(tmp_path / "patients.xlsx")
    excel, csv = (
        read_table(tmp_path / "patients.xlsx"),
        read_table(write(tmp_path / "patients.csv", GERMAN)),
    )
    assert excel.columns == csv.columns
    for a, b in zip(excel.rows, csv.rows, strict=True):
        assert (a["Zentrum"], parse_number(a["Größe"]), parse_date(a["Ablation"])) == (
            b["Zentrum"],
            parse_number(b["Größe"]),
            parse_date(b["Ablation"]),
        )


def test_patient_numbers_of_excel_stay_whole(tmp_path):
    book = openpyxl.Workbook()
    book.active.append(["patient_id"])
    book.active.append([1001.0])
    book.save(tmp_path / "patients.xlsx")
    assert read_table(tmp_path / "patients.xlsx").rows[0]["patient_id"] == "1001"


@pytest.mark.parametrize("missing", ["", "NA", "n/a", "[Not Available]", "?", " "])
def test_words_for_missing_are_missing(tmp_path, missing):
    assert read_table(write(tmp_path / "p.csv", f"a,b\nP1,{missing}\n")).rows[0]["b"] == ""


def test_quoted_separators_and_line_breaks_stay_in_their_cell(tmp_path):
    assert read_table(write(tmp_path / "p.csv", 'a,b\nP1,"x, y\nz"\n')).rows[0]["b"] == "x, y\nz"


def test_short_rows_empty_lines_and_windows_line_ends_are_tolerated(tmp_path):
    assert [
        dict(r) for r in read_table(write(tmp_path / "p.csv", "a,b,\r\n\r\nP1\r\n,,\r\n")).rows
    ] == [{"a": "P1", "b": ""}]


def test_line_ends_of_an_old_macintosh_are_understood(tmp_path):
    assert [dict(r) for r in read_table(write(tmp_path / "p.csv", "a;b\rP1;2\r")).rows] == [
        {"a": "P1", "b": "2"}
    ]


def test_a_decimal_comma_between_commas_is_refused_with_the_line(tmp_path):
    assert refusal(write(tmp_path / "p.csv", "id,age\nP1,61\nP2,61,5\n")).startswith(
        "p.csv line 3 has 3 cells, the header 2."
    )


def test_a_column_twice_is_refused(tmp_path):
    assert "p.csv has the column 'age' twice" in refusal(write(tmp_path / "p.csv", "id,age,age\n"))


@pytest.mark.parametrize("content", [b"", b"\n\n", b"id,a\x00ge\nP1,3\n", b"\xff\xfei\x00d\x00"])
def test_empty_and_binary_files_are_refused(tmp_path, content):
    assert "p.csv is" in refusal(write(tmp_path / "p.csv", content))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a workbook"])
def test_a_broken_workbook_is_refused(tmp_path, content):
    assert "p.xlsx cannot be read as .xlsx" in refusal(write(tmp_path / "p.xlsx", content))


def test_a_missing_column_names_the_nearest(tmp_path):
    table = read_table(write(tmp_path / "p.csv", "patient_id,pfs_month\n"))
    with pytest.raises(CohortError, match="Did you mean 'pfs_month'"):
        table.require(["patient_id", "pfs_months"])


def test_a_missing_table_says_how_to_get_one(tmp_path):
    with pytest.raises(CohortError, match="pathoml init"):
        find_table(tmp_path, "slides")
    write(tmp_path / "slides.csv", "a\n")
    assert find_table(tmp_path, "slides").name == "slides.csv"


@pytest.mark.parametrize("cell", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\tx", "\rx"])
def test_text_that_a_spreadsheet_would_run_is_defused(tmp_path, cell):
    write_table(tmp_path / "t.csv", ("a",), [[cell]])
    assert read_table(tmp_path / "t.csv").rows[0]["a"].startswith("'")


def test_negative_numbers_stay_numbers(tmp_path):
    write_table(
        tmp_path / "t.csv", ("a", "b", "c"), [[-1.5, "-1.5", float("nan")], [1e-12, "+2", None]]
    )
    frame = pd.read_csv(tmp_path / "t.csv")
    assert frame["a"].tolist() == [-1.5, 1e-12]
    assert frame["b"].tolist() == [-1.5, 2.0]
    assert frame["c"].isna().all()


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_a_number_reads_alike_with_point_and_with_comma(number):
    assert parse_number(repr(number)) == number
    assert parse_number(repr(number).replace(".", ",")) == number


@pytest.mark.parametrize(
    ("text", "number"),
    [("1.234,5", 1234.5), ("1,234.5", 1234.5), ("1 234", 1234.0), ("12,3,4", None), ("nan", None)],
)
def test_thousands_marks_are_told_from_decimal_marks(text, number):
    assert parse_number(text) == number


@pytest.mark.parametrize("text", ["31.02.2021", "2021-13-01", "03/04/2021", "gestern", ""])
def test_what_is_no_date_is_none(text):
    assert parse_date(text) is None


IDS = ["-P003", "=P001", "+S1", "@x", "'=Q", "''+R", "00012", "1e5", "TRUE", "-4", "'s Gravenhage"]


def test_ids_that_a_spreadsheet_would_run_or_change_come_back_from_our_own_tables(tmp_path):
    write_table(tmp_path / "t.csv", ("=id", "n"), [[one, 1] for one in IDS])
    table = read_own_table(tmp_path / "t.csv")
    assert table.columns == ("=id", "n")
    assert [row["=id"] for row in table.rows] == IDS
    with (tmp_path / "t.csv").open() as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert [c for c in cells if c[0] in "=+@\t" or (c[0] == "-" and c != "-4")] == []


@given(st.text(alphabet="'=+-@aP1. ", min_size=1, max_size=6).map(str.strip))
def test_any_text_that_is_no_word_for_missing_comes_back(text):
    assume(text not in MISSING)
    with tempfile.TemporaryDirectory() as folder:
        write_table(Path(folder) / "t.csv", ("a", "b"), [[text, "x"]])
        (row,) = read_own_table(Path(folder) / "t.csv").rows
    assert row["a"] == text


def test_an_old_workbook_is_named_with_what_to_do(tmp_path):
    write(tmp_path / "patients.xls", b"")
    with pytest.raises(CohortError, match=r"has patients.xls, which is not read. Save it as"):
        find_table(tmp_path, "patients")


def test_what_raters_wrote_comes_back_from_their_csv(tmp_path):
    readings = Readings(tmp_path / "readings.sqlite")
    written = [("=KB", "-fat", "+1"), ("@x", "'=a", "-4"), ("KB", "necrosis", "")]
    for rater, name, note in written:
        readings.save(
            Reading(rater=rater, item="S1", slide_id="S1", name=name, presence=4, note=note), ""
        )
    write(tmp_path / "labels.csv", readings.as_csv(blinded=False))
    rows = read_own_table(tmp_path / "labels.csv").rows
    assert [(r["rater"], r["name"], r["note"]) for r in rows] == written
