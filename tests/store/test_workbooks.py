"""A workbook is read as a person sees it, and what a person does not see is said."""

from __future__ import annotations

import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pytest
from support.hospital_tables import lines_of, twelve, workbook_of

from pathoml.errors import CohortError
from pathoml.store.tables import Table, read_table

NEEDS = ("patient_id", "pfs")


def read(folder: Path, book: openpyxl.Workbook, *needs: str) -> Table:
    book.save(folder / "patients.xlsx")
    return read_table(folder / "patients.xlsx", needs=needs or NEEDS)


def test_the_table_may_be_on_any_sheet(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(["Read me first", "2024"])
    data = book.create_sheet("Data")
    for line in lines_of(twelve()):
        data.append(line)
    table = read(tmp_path, book)
    assert [row["patient_id"] for row in table.rows] == twelve()["patient_id"]
    assert table.notes == ("the table is on sheet 'Data'",)


def test_a_second_sheet_with_the_same_columns_is_not_forgotten_in_silence(tmp_path: Path) -> None:
    book = workbook_of(twelve())
    book.active.title = "2019"
    for line in lines_of(twelve()):
        (book["2020"] if "2020" in book.sheetnames else book.create_sheet("2020")).append(line)
    (note,) = read(tmp_path, book).notes
    assert note.startswith("WARNING only sheet '2019' is read; '2020' also has")


def test_hidden_rows_are_read_and_counted(tmp_path: Path) -> None:
    book = workbook_of(twelve())
    for row in (3, 4, 9):
        book.active.row_dimensions[row].hidden = True
    book.active.row_dimensions[40].hidden = True  # holds nothing
    table = read(tmp_path, book)
    assert len(table.rows) == 12
    assert table.notes[0].startswith("WARNING 3 rows are hidden")


def test_a_cell_merged_over_rows_counts_for_each_of_them(tmp_path: Path) -> None:
    centres = ["north", *[None] * 5, "south", *[None] * 5]
    book = workbook_of(twelve(centre=centres))
    book.active.merge_cells("B2:B7")
    book.active.merge_cells("B8:B13")
    table = read(tmp_path, book)
    assert [row["centre"] for row in table.rows] == ["north"] * 6 + ["south"] * 6
    assert table.notes == ("merged cells of column 'centre' count for each of their rows",)


def test_a_merged_title_leaves_the_rows_alone(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for line in (["Sarcoma 2024"], [], *lines_of(twelve())):
        book.active.append(line)
    book.active.merge_cells("A1:F2")
    table = read(tmp_path, book)
    assert (table.header_line, table.rows[0]["centre"]) == (3, "north")


def test_formulas_that_nobody_computed_are_refused_where_they_are_used(tmp_path: Path) -> None:
    book = workbook_of(twelve(pfs=["=1+1"] * 12, bmi=["=2+2"] * 12))
    table = read(tmp_path, book)
    table.require(["patient_id", "age"])
    with pytest.raises(CohortError, match=r"patients.xlsx line 2: column 'pfs' holds formulas"):
        table.require(["pfs"])


def test_a_number_that_is_shown_with_zeros_keeps_them(tmp_path: Path) -> None:
    book = workbook_of(twelve(patient_id=range(1, 13)))
    for row in range(2, 14):
        book.active[f"A{row}"].number_format = "000"
    assert [row["patient_id"] for row in read(tmp_path, book).rows][:2] == ["001", "002"]


def test_what_a_sheet_says_of_its_size_is_not_believed(tmp_path: Path) -> None:
    """Reporting tools write A1 as the dimension of every sheet."""
    import zipfile

    workbook_of(twelve()).save(tmp_path / "whole.xlsx")
    with (
        zipfile.ZipFile(tmp_path / "whole.xlsx") as whole,
        zipfile.ZipFile(tmp_path / "patients.xlsx", "w") as part,
    ):
        for name in whole.namelist():
            part.writestr(name, whole.read(name).replace(b'ref="A1:F13"', b'ref="A1"'))
    assert len(read_table(tmp_path / "patients.xlsx", needs=NEEDS).rows) == 12


def test_truth_values_are_spelt_as_they_are_shown(tmp_path: Path) -> None:
    table = read(tmp_path, workbook_of(twelve(event=[True, False] * 6)))
    assert [row["event"] for row in table.rows][:2] == ["TRUE", "FALSE"]


def edited(folder: Path, edit: Callable[[bytes], bytes], part: str = "sheet1.xml") -> Path:
    """Return a workbook of twelve patients one of whose parts was written otherwise."""
    workbook_of(twelve()).save(folder / "whole.xlsx")
    with (
        zipfile.ZipFile(folder / "whole.xlsx") as whole,
        zipfile.ZipFile(folder / "patients.xlsx", "w", zipfile.ZIP_DEFLATED) as other,
    ):
        for name in whole.namelist():
            content = whole.read(name)
            other.writestr(name, edit(content) if name.endswith(part) else content)
    return folder / "patients.xlsx"


def behind_the_rows(more: bytes) -> Callable[[bytes], bytes]:
    return lambda sheet: sheet.replace(b"</sheetData>", more + b"</sheetData>")


HARMLESS = {
    "a stray cell in the last corner": b'<row r="1048576"><c r="XFD1048576"><v></v></c></row>',
    "formatted rows to the end": b"".join(
        b'<row r="%d"><c r="A%d" s="0"/><c s="0"/></row>' % (i, i) for i in range(14, 100_000)
    ),
    "rows as wide as a sheet": b"".join(
        b'<row r="%d"><c r="XFD%d"/></row>' % (i, i) for i in range(14, 20_000)
    ),
    "rows without numbers": b"<row/>" * 100_000,
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_holds_nothing_costs_no_row_little_time_and_little_memory(tmp_path, name):
    path = edited(tmp_path, behind_the_rows(HARMLESS[name]))
    begun = time.process_time()
    tracemalloc.start()
    assert len(read_table(path, needs=NEEDS).rows) == 12
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 100e6
    assert time.process_time() - begun < 20


@pytest.mark.parametrize("ref", [b"A1", b"A1:B3", b"A1:XFD1048576", b"C5:C5", b"A1:F99"])
def test_every_row_is_read_whatever_the_sheet_says_of_its_size(tmp_path, ref):
    path = edited(tmp_path, lambda sheet: sheet.replace(b"A1:F13", ref))
    assert len(read_table(path, needs=NEEDS).rows) == 12


BOMBS = {
    "more rows than a sheet has": ("sheet1.xml", behind_the_rows(b"<row/>" * 1_200_000)),
    "a row far beyond": ("sheet1.xml", behind_the_rows(b'<row r="99999999"><c><v>1</v></c></row>')),
    "a column far beyond": ("sheet1.xml", behind_the_rows(b'<row><c r="ZZZ14"><v>1</v></c></row>')),
    "a row without end": ("sheet1.xml", behind_the_rows(b"<row>" + b"<c/>" * 99_999 + b"</row>")),
    "merged cells without end": (
        "sheet1.xml",
        lambda sheet: sheet.replace(
            b"</sheetData>", b"</sheetData>" + b'<mergeCell ref="A2:A1048576"/>' * 99_999
        ),
    ),
    "styles without end": (
        "styles.xml",
        lambda styles: styles.replace(b"</cellXfs>", b"<xf/>" * 999_999 + b"</cellXfs>"),
    ),
    "names without end": (
        "workbook.xml",
        lambda book: book.replace(b"</workbook>", b"<definedName/>" * 999_999 + b"</workbook>"),
    ),
    "entities of entities": (
        "sheet1.xml",
        lambda sheet: (
            b"<!DOCTYPE x [<!ENTITY a0 'aaaaaaaaaa'>"
            + b"".join(b"<!ENTITY a%d '%s'>" % (i, b"&a%d;" % (i - 1) * 10) for i in range(1, 10))
            + b"]>"
            + behind_the_rows(b"<row><c t='inlineStr'><is><t>&a9;</t></is></c></row>")(sheet)
        ),
    ),
    "a gigabyte": ("sheet1.xml", lambda sheet: sheet + b" " * 10**9),
}


@pytest.mark.parametrize("name", BOMBS)
def test_more_than_a_workbook_can_hold_is_refused_soon(tmp_path, name):
    part, edit = BOMBS[name]
    path = edited(tmp_path, edit, part)
    assert path.stat().st_size < 2e6
    begun = time.process_time()
    with pytest.raises(CohortError, match=r"patients\.xlsx.*Save"):
        read_table(path, needs=NEEDS)
    assert time.process_time() - begun < 20


def test_a_cell_that_says_no_place_stands_behind_the_one_before(tmp_path):
    row = b'<row r="14"><c r="A14" s="0"/><c t="str"><v>x</v></c><c/><c t="str"><v>y</v></c></row>'
    last = read_table(edited(tmp_path, behind_the_rows(row)), needs=NEEDS).rows[-1]
    assert list(last.values())[:5] == ["", "x", "", "y", ""]
