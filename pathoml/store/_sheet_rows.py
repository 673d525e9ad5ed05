"""A workbook's sheet row by row, in time and memory that its file bounds: what it says of its size
is not read, rows and cells that are not there are not made up, and more than a sheet can have is
refused. Beside the cells: hidden rows, merged cells, formulas that nobody computed.

Source: ECMA-376 part 1, 18.3.1; a sheet has 1,048,576 rows and 16,384 columns.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import Element, iterparse

from openpyxl.cell.read_only import ReadOnlyCell
from openpyxl.utils.cell import (
    column_index_from_string,
    coordinate_from_string,
    range_boundaries,
)
from openpyxl.worksheet._reader import WorkSheetParser

MOST_ROWS = 2**20
MOST_COLUMNS = 2**14
MOST_MERGED = 20_000  # cells that span rows; a table has one a group of patients
# signs "<" in the parts beside the sheets: texts are four each, of styles and names Excel holds
# 65,000
MOST_OF_TEXTS = 2_000_000
MOST_BESIDE = 300_000
READ_BYTES = 2**20  # at once


class SheetRows(WorkSheetParser):  # type: ignore[misc]  # openpyxl has no types
    """The rows of a sheet that hold something, and what was seen on the way to each."""

    row_counter: int

    def __init__(self, sheet: Any, source: Any) -> None:
        book = sheet.parent
        super().__init__(
            source,
            sheet._shared_strings,
            data_only=True,
            epoch=book.epoch,
            date_formats=book._date_formats,
            timedelta_formats=book._timedelta_formats,
        )
        self._sheet = sheet
        self._seen = 0
        self.hidden: set[int] = set()
        self.merged: list[tuple[int, int, int]] = []  # first row, last row, column
        self.formulas: set[tuple[int, int]] = set()  # row, column

    def rows(self) -> Iterator[tuple[int, list[tuple[int, Any]]]]:
        """Yield the number of a row, and its cells by column; both count from 1, and hidden,
        merged and formulas are of all rows when the last has come.

        Raises:
            ValueError: more than a sheet has.
        """
        data: Element | None = None
        cells = 0
        for event, element in iterparse(self.source, ("start", "end")):
            tag = element.tag.rpartition("}")[2]
            if event == "start":
                if tag == "sheetData":
                    data = element
                elif tag == "row":
                    cells = 0
                elif tag == "c":
                    cells += 1
                    if cells > MOST_COLUMNS:
                        raise ValueError(f"a row with over {MOST_COLUMNS} cells")
            elif tag == "row":
                yield self._row(element)
                if data is not None:
                    data.clear()
            elif tag == "mergeCell":
                self._merge(element)
                element.clear()

    def _row(self, element: Element) -> tuple[int, list[tuple[int, Any]]]:
        self._seen += 1
        self.row_counter = int(float(element.get("r") or self.row_counter + 1))
        self.col_counter = 0
        if self._seen > MOST_ROWS or not 1 <= self.row_counter <= MOST_ROWS:
            raise ValueError(f"more than the {MOST_ROWS} rows of a sheet")
        if element.get("hidden") in ("1", "true"):
            self.hidden.add(self.row_counter)
        cells, behind = [], ""  # the place of an empty cell, where the next one may not say its own
        for one in element:
            if not len(one):
                behind = one.get("r") or behind
                if not behind:
                    self.col_counter += 1
                continue
            if behind and not one.get("r"):
                self.col_counter = column_index_from_string(coordinate_from_string(behind)[0])
            behind = ""
            found = self.parse_cell(one)
            if not 1 <= found["column"] <= MOST_COLUMNS:
                raise ValueError(f"more than the {MOST_COLUMNS} columns of a sheet")
            place = (self.row_counter, found["column"])
            children = {child.tag.rpartition("}")[2]: child.text for child in one}
            empty_text = one.get("t") == "str" and "v" in children  # what =IF(A1, B1, "") gives
            if "f" in children and not children.get("v") and not empty_text:
                self.formulas.add(place)
            if found["value"] is not None:
                cells.append((found["column"], ReadOnlyCell(self._sheet, **found)))
        return self.row_counter, cells

    def _merge(self, element: Element) -> None:
        left, top, right, bottom = range_boundaries(element.get("ref") or "")
        if left == right and bottom > top:  # one column: what is shown beside every row
            self.merged.append((top, bottom, left))
        if len(self.merged) > MOST_MERGED:
            raise ValueError(f"over {MOST_MERGED} merged cells")


def refuse_bombs(archive: zipfile.ZipFile, most_bytes: int) -> int:
    """Return how many bytes a workbook unpacks to, if they are few enough and its parts beside the
    sheets are no larger than Excel's own; parts are read through, and nothing is built of them.

    Raises:
        ValueError: a part is larger.
    """
    parts = archive.infolist()
    unpacked = sum(part.file_size for part in parts)
    if unpacked > most_bytes:
        return unpacked
    for part in parts:
        name = part.filename.lower()
        is_sheet = "/worksheets/" in name and name.endswith(".xml")
        if is_sheet or not name.endswith((".xml", ".rels")):
            continue
        most, found = (MOST_OF_TEXTS if "sharedstrings" in name else MOST_BESIDE), 0
        with archive.open(part) as source:
            while block := source.read(READ_BYTES):
                found += block.count(b"<")
        if found > most:
            raise ValueError(f"its part {part.filename} has more entries than Excel holds")
    return unpacked
