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
from pathlib import Path
from typing import Any

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
    with _opened(path) as book:
        return _best_sheet(book, needs)


def read_sheets(path: Path) -> list[list[tuple[int, Sequence[str]]]]:
    """Return, of every sheet of a workbook, its rows with their numbers, hidden ones too.

    Raises:
        CohortError: it is damaged, or too large for a clinical table.
    """
    with _opened(path) as book:
        return [_lines_of(sheet, None) for sheet in book.worksheets]


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Yield a workbook, whatever its name ends with; damage is a sentence wherever it shows."""
    import openpyxl
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        refuse_unpacked_too_large(path)
        with (
            path.open("rb") as handle,
            contextlib.closing(
                openpyxl.load_workbook(handle, read_only=True, data_only=True)
            ) as book,
        ):
            yield book
    except (zipfile.BadZipFile, zlib.error, InvalidFileException, *WORKBOOK_FAULTS) as error:
        if refused := refused_by_the_machine(error, path):
            raise CohortError(refused) from error
        raise CohortError(
            f"{path.name} cannot be read as .xlsx ({type(error).__name__}: {str(error)[:80]}). Save"
            " it again, or as CSV (UTF-8)."
        ) from error


def sheet_parts(path: Path) -> list[str]:
    """Return the names of the sheets' parts in the archive, in the order of `read_sheets`."""
    import openpyxl

    with contextlib.closing(openpyxl.load_workbook(path, read_only=True)) as book:
        return [str(sheet._worksheet_path).lstrip("/") for sheet in book.worksheets]


def refuse_unpacked_too_large(path: Path) -> None:
    """Raise CohortError if a workbook unpacks to more than any clinical table, ValueError if one of
    its parts holds more than Excel writes.
    """
    # here, because loading openpyxl takes time that a table in CSV need not
    from pathoml.store._sheet_rows import refuse_bombs

    with zipfile.ZipFile(path) as archive:
        unpacked = refuse_bombs(archive, MOST_UNPACKED)
    if unpacked > MOST_UNPACKED:
        raise CohortError(
            f"{path.name} unpacks to {unpacked / 1e6:.0f} MB, which no clinical table has. "
            "Save it again, or as CSV (UTF-8)."
        )


def _best_sheet(book: Any, needs: Collection[str]) -> RawTable:
    from pathoml.store._sheet_rows import SheetRows

    found = []  # (names found, shown, has cells, sheet)
    for sheet in book.worksheets:
        top = _lines_of(sheet, LINES_ABOVE)
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
    rows, numbers = [], set()
    with sheet._get_source() as source:
        shape = SheetRows(sheet, source)
        for number, found_cells in shape.rows():
            cells, typed = _lines(found_cells)
            if cells:
                rows.append((number, cells))
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


def _lines_of(sheet: Any, most: int | None) -> list[tuple[int, Sequence[str]]]:
    """Return the rows of a sheet that hold something with their numbers, up to a number."""
    from pathoml.store._sheet_rows import SheetRows

    found: list[tuple[int, Sequence[str]]] = []
    with sheet._get_source() as source:
        for number, cells in SheetRows(sheet, source).rows():
            if most is not None and number > most:
                break
            line, _ = _lines(cells)
            if line:
                found.append((number, line))
    return found


def _lines(cells: Sequence[tuple[int, Any]]) -> tuple[tuple[str, ...], list[int]]:
    """Return the cells of a row as text, from its first column to the last that holds something,
    and the columns (from 1) that are numbers by type.
    """
    texts = {column: _cell(cell) for column, cell in cells}
    last = max((column for column, text in texts.items() if text), default=0)
    typed = [column for column, cell in cells if isinstance(cell.value, int | float)]
    return tuple(texts.get(column, "") for column in range(1, last + 1)), typed


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
