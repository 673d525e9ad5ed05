"""Rows go from a workbook, and everything else stays as the program wrote it."""

from __future__ import annotations

import zipfile
from pathlib import Path

import openpyxl
import pytest

from pathoml.errors import CohortError
from pathoml.store.tables import read_table
from pathoml.store.workbook_rows import remove_workbook_rows

SHEET = (
    '<?xml version="1.0" encoding="UTF-8" standalone="yes"?><worksheet xmlns="http://schemas.'
    'openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
    '<row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="s"><v>1</v></c></row>'
    '<row r="2"><c r="A2" t="s"><v>2</v></c><c r="B2"><f>1+1</f><v>2</v></c></row>'
    '<row r="3"><c r="A3" t="s"><v>3</v></c><c r="B3"><f>B2+1</f><v>3</v></c></row>'
    '<row r="4"><c r="A4" t="s"><v>4</v></c><c r="B4" t="s"><v>2</v></c></row>'
    "</sheetData></worksheet>"
)
TEXTS = (
    '<?xml version="1.0" encoding="UTF-8"?><sst xmlns="http://schemas.openxmlformats.org/'
    'spreadsheetml/2006/main" count="5" uniqueCount="5"><si><t>patient_id</t></si><si><t>age</t>'
    "</si><si><t>P1</t></si><si><r><t>P</t></r><r><t>2</t></r></si><si><t>P3</t></si></sst>"
)
CHAIN = '<calcChain xmlns="x"><c r="B2" i="1"/><c r="B3" i="1"/></calcChain>'


def excel_book(path: Path) -> Path:
    """Write a workbook with a table of texts and a chain of formulas, as Excel does."""
    openpyxl.Workbook().save(path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts["xl/worksheets/sheet1.xml"] = SHEET.encode()
    parts["xl/sharedStrings.xml"] = TEXTS.encode()
    parts["xl/calcChain.xml"] = CHAIN.encode()
    kind = b"application/vnd.openxmlformats-officedocument.spreadsheetml."
    of = b"http://schemas.openxmlformats.org/officeDocument/2006/relationships/"
    parts["[Content_Types].xml"] = parts["[Content_Types].xml"].replace(
        b"</Types>",
        b'<Override PartName="/xl/sharedStrings.xml" ContentType="' + kind + b'sharedStrings+xml"/>'
        b'<Override PartName="/xl/calcChain.xml" ContentType="'
        + kind
        + b'calcChain+xml"/></Types>',
    )
    relations = "xl/_rels/workbook.xml.rels"
    parts[relations] = parts[relations].replace(
        b"</Relationships>",
        b'<Relationship Id="s1" Type="' + of + b'sharedStrings" Target="sharedStrings.xml"/>'
        b'<Relationship Id="c1" Type="' + of + b'calcChain" Target="calcChain.xml"/>'
        b"</Relationships>",
    )
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


def everything(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return b"\n".join(archive.read(name) for name in archive.namelist())


def test_a_row_goes_with_its_text_and_formulas_keep_their_values(tmp_path: Path) -> None:
    path = excel_book(tmp_path / "patients.xlsx")
    assert remove_workbook_rows(path, "patient_id", ["P2"]) == 1
    rows = read_table(path).rows
    assert [(row["patient_id"], row["age"]) for row in rows] == [("P1", "2"), ("P3", "P1")]
    left = everything(path)
    assert b"<t>2</t>" not in left
    assert b"calcChain" not in left, "a chain that names cells that are gone is a damaged workbook"


def test_a_text_that_another_row_has_too_stays(tmp_path: Path) -> None:
    path = excel_book(tmp_path / "patients.xlsx")
    remove_workbook_rows(path, "patient_id", ["P1"])
    assert [row["age"] for row in read_table(path).rows] == ["3", "P1"]


def test_rows_go_from_every_sheet_with_the_column_and_others_keep_their_width(
    tmp_path: Path,
) -> None:
    book = openpyxl.Workbook()
    book.active.append(["patient_id", "age"])
    for number in range(1, 5):
        book.active.append([number, 40 + number])
    book.active.column_dimensions["A"].width = 33
    second = book.create_sheet("second")
    for row in (["of 2024"], ["note", "patient_id"], ["x", 2], ["y", 3]):
        second.append(row)
    book.save(tmp_path / "patients.xlsx")
    assert remove_workbook_rows(tmp_path / "patients.xlsx", "patient_id", ["2"]) == 2
    book = openpyxl.load_workbook(tmp_path / "patients.xlsx")
    first = [row[0] for row in book.worksheets[0].iter_rows(values_only=True) if row[0]]
    assert first == ["patient_id", 1, 3, 4]
    assert book.worksheets[0].column_dimensions["A"].width == 33
    assert [r for r in book["second"].iter_rows(values_only=True) if any(r)][-1] == ("y", 3)


def test_nothing_is_written_where_nobody_is_named(tmp_path: Path) -> None:
    path = excel_book(tmp_path / "patients.xlsx")
    before = path.read_bytes()
    assert remove_workbook_rows(path, "patient_id", ["P9"]) == 0
    assert path.read_bytes() == before


def test_a_merged_cell_of_two_patients_is_not_torn_and_one_of_the_patient_goes_whole(
    tmp_path: Path,
) -> None:
    book = openpyxl.Workbook()
    for row in (["patient_id", "centre"], ["P1", "north"], [None, "north"], ["P2", "south"]):
        book.active.append(row)
    book.active.merge_cells("A2:A3")
    book.save(tmp_path / "mine.xlsx")
    assert remove_workbook_rows(tmp_path / "mine.xlsx", "patient_id", ["P1"]) == 2
    assert [row["patient_id"] for row in read_table(tmp_path / "mine.xlsx").rows] == ["P2"]
    book = openpyxl.Workbook()
    for row in (["patient_id", "centre"], ["P1", "north"], ["P2", None]):
        book.active.append(row)
    book.active.merge_cells("B2:B3")
    book.save(tmp_path / "shared.xlsx")
    with pytest.raises(CohortError, match="the merged cell B2:B3 spans a row of the patient"):
        remove_workbook_rows(tmp_path / "shared.xlsx", "patient_id", ["P1"])
