"""Workbooks (.xlsx): the sheet that holds the table, and what a spreadsheet shows otherwise than it
stores: hidden rows, merged cells, formulas that nobody computed, numbers shown with zeros.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import zipfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import iterparse

from pathoml.errors import CohortError
from pathoml.store.raw_tables import LINES_ABOVE, RawTable, header_place, plain_cell
from pathoml.store.refusals import refused_by_the_machine

WORKBOOK_FAULTS = (  # of a damaged file
    OSError, EOFError, KeyError, ValueError, TypeError, AttributeError, IndexError, OverflowError,
    NotImplementedError, MemoryError,
    SyntaxError,  # XML's errors are such
)  # fmt: skip
MOST_UNPACKED = 200 * 10**6  # bytes of a workbook
ZEROS = re.compile(r"^0{2,}$")  # the format of a number that is shown as 007


def read_workbook(path: Path, needs: Collection[str] = ()) -> RawTable:
    """Read the sheet whose header has most of the names in `needs`, the first that is shown among
    equals.

    Raises:
        CohortError: it is damaged, or too large for a clinical table.
    """
    import openpyxl
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        refuse_unpacked_too_large(path)
        with contextlib.closing(
            openpyxl.load_workbook(path, read_only=True, data_only=True)
        ) as book:
            return _best_sheet(path, book, needs)
    except (
        zipfile.BadZipFile,
        zlib.error,
        InvalidFileException,
        *WORKBOOK_FAULTS,
    ) as error:  # XML's errors are SyntaxErrors
        if refused := refused_by_the_machine(error, path):
            raise CohortError(refused) from error
        raise CohortError(
            f"{path.name} cannot be read as .xlsx ({type(error).__name__}). Save it again, or as"
            " CSV (UTF-8)."
        ) from error


def read_sheets(path: Path) -> list[list[tuple[int, Sequence[str]]]]:
    """Return, of every sheet of a workbook, its rows with their numbers, hidden ones too.

    Raises:
        CohortError: it is damaged, or too large for a clinical table.
    """
    import openpyxl
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        refuse_unpacked_too_large(path)
        with (
            path.open("rb") as handle,  # whatever its name ends with
            contextlib.closing(
                openpyxl.load_workbook(handle, read_only=True, data_only=True)
            ) as book,
        ):
            return [
                [(number, cells) for number, cells, _ in _rows(sheet, None)]
                for sheet in book.worksheets
            ]
    except (zipfile.BadZipFile, zlib.error, InvalidFileException, *WORKBOOK_FAULTS) as error:
        raise CohortError(
            f"{path.name} cannot be read as .xlsx ({type(error).__name__}). Save it again, or as"
            " CSV (UTF-8)."
        ) from error


def sheet_parts(path: Path) -> list[str]:
    """Return the names of the sheets' parts in the archive, in the order of `read_sheets`."""
    import openpyxl

    with contextlib.closing(openpyxl.load_workbook(path, read_only=True)) as book:
        return [_part(sheet) for sheet in book.worksheets]


def refuse_unpacked_too_large(path: Path) -> None:
    """Raise CohortError if a workbook unpacks to more than any clinical table."""
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(part.file_size for part in archive.infolist())
    if unpacked > MOST_UNPACKED:
        raise CohortError(
            f"{path.name} unpacks to {unpacked / 1e6:.0f} MB, which no clinical table has. "
            "Save it again, or as CSV (UTF-8)."
        )


def _best_sheet(path: Path, book: Any, needs: Collection[str]) -> RawTable:
    found = []  # (names found, shown, has cells, sheet)
    for sheet in book.worksheets:
        top = [(n, cells) for n, cells, _ in _rows(sheet, LINES_ABOVE) if any(cells)]
        names = len(set(needs) & set(top[header_place(top, needs)][1])) if top else 0
        found.append((names, sheet.sheet_state == "visible", bool(top), sheet))
    most = max(found, key=lambda one: one[:3])  # the first of equals
    sheet = most[-1]
    notes = []
    if sheet is not book.worksheets[0]:
        notes.append(f"the table is on sheet {sheet.title!r}")
    if sheet.sheet_state != "visible":
        notes.append(f"WARNING sheet {sheet.title!r} is hidden, and it is the one that is read")
    others = [s.title for names, _, _, s in found if s is not sheet and names == most[0] > 0]
    if others:
        notes.append(
            f"WARNING only sheet {sheet.title!r} is read; {', '.join(map(repr, others))} also"
            f" {'has' if len(others) == 1 else 'have'} {', '.join(sorted(needs))}: are their"
            " rows wanted too?"
        )
    shape = _Shape()
    with zipfile.ZipFile(path) as archive, archive.open(_part(sheet)) as source:
        _see(source, shape)
    rows, numbers = [], set()
    for number, cells, typed in _rows(sheet, None):
        if any(cells):
            rows.append((number, tuple(cells)))
            numbers |= {(number, column) for column in typed}
    return RawTable(
        rows=tuple(rows),
        understood="xlsx",
        notes=tuple(notes),
        hidden=frozenset(shape.hidden),
        merged=tuple(shape.merged),
        formulas=frozenset(shape.formulas),
        numbers=frozenset(numbers),
    )


def _part(sheet: Any) -> str:
    """Return the name of a sheet's part in the archive."""
    return str(sheet._worksheet_path).lstrip("/")


def _rows(sheet: Any, most: int | None) -> Iterator[tuple[int, Sequence[str], Sequence[int]]]:
    """Yield the number of a row, its cells, and the columns (from 1) that are numbers by type."""
    sheet.reset_dimensions()  # what a sheet says of its size is often wrong
    for number, row in enumerate(sheet.iter_rows(max_row=most), 1):
        cells = [_cell(cell) for cell in row]
        yield (
            number,
            cells,
            [c for c, cell in enumerate(row, 1) if isinstance(cell.value, int | float)],
        )


def _cell(cell: Any) -> str:
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"  # as a spreadsheet shows it
    if isinstance(value, dt.datetime):
        return value.date().isoformat()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and ZEROS.match(str(cell.number_format)):
        return f"{value:0{len(cell.number_format)}d}"
    return plain_cell(str(value))


@dataclass
class _Shape:
    hidden: set[int] = field(default_factory=set)
    merged: list[tuple[int, int, int]] = field(default_factory=list)
    formulas: set[tuple[int, int]] = field(default_factory=set)


def _see(source: Any, shape: _Shape) -> None:
    """Walk through a sheet's XML for what cells do not tell."""
    from openpyxl.utils.cell import (
        column_index_from_string,
        coordinate_from_string,
        range_boundaries,
    )

    row = 0
    for _, element in iterparse(source):
        tag = element.tag.rpartition("}")[2]
        if tag == "c":
            reference = element.get("r")
            children = {child.tag.rpartition("}")[2]: child.text for child in element}
            empty_text = element.get("t") == "str" and "v" in children  # what =IF(A1, B1, "") gives
            if "f" in children and not children.get("v") and not empty_text and reference:
                letters, place = coordinate_from_string(reference)
                shape.formulas.add((place, column_index_from_string(letters)))
        elif tag == "row":
            row = int(element.get("r") or row + 1)
            if element.get("hidden") in ("1", "true"):
                shape.hidden.add(row)
            element.clear()
        elif tag == "mergeCell":
            left, top, right, bottom = range_boundaries(element.get("ref") or "")
            if left == right and bottom > top:  # one column: what is shown beside every row
                shape.merged.append((top, bottom, left))
