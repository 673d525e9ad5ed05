"""Rows of cells as they stand in a file, and those of a CSV file: its encoding, and the mark
between its cells.
"""

from __future__ import annotations

import contextlib
import csv
import io
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from pathoml.errors import CohortError

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t"}
CODECS = {"UTF-8": "utf-8", "Latin-1": "cp1252", "UTF-16": "utf-16"}
LINES_ABOVE = 30  # in which a header is looked for
SEPARATOR_LINE = re.compile(r'^"?sep=([;,\t])"?[;,\t]*$', re.IGNORECASE)  # written for Excel
KEPT_AS_TEXT = re.compile(r'^="([^"]*)"$')
UNSEEN = "\N{ZERO WIDTH SPACE}\N{WORD JOINER}\N{ZERO WIDTH NO-BREAK SPACE}"
LEAST_ZEROS = 0.3  # of the bytes of UTF-16 without a mark


@dataclass(frozen=True, kw_only=True)
class RawTable:
    """Rows of cells as they stand in a file; rows and columns count from 1."""

    rows: tuple[
        tuple[int, tuple[str, ...]], ...
    ]  # number of the row, stripped cells; not the empty
    understood: str  # for example "semicolon, Latin-1"
    notes: tuple[str, ...] = ()
    hidden: frozenset[int] = frozenset()  # rows that a workbook does not show
    merged: tuple[tuple[int, int, int], ...] = ()  # (first row, last row, column) of one cell
    formulas: frozenset[tuple[int, int]] = frozenset()  # (row, column) without a stored value
    numbers: frozenset[tuple[int, int]] = frozenset()  # (row, column) that are numbers by type


def header_place(rows: Sequence[tuple[int, Sequence[str]]], needs: Collection[str]) -> int:
    """Return which of the rows is the header: the first that has most of the names that it needs,
    the first row if none has one.

    >>> header_place([(1, ["Export"]), (2, ["patient_id", "age"])], ["patient_id"])
    1
    """
    found = [len(set(needs) & set(cells)) for _, cells in rows[:LINES_ABOVE]]
    return found.index(max(found)) if found else 0


def plain_cell(cell: str) -> str:
    """Return a cell without what cannot be seen at its ends, and without ="007", with which
    programs keep a spreadsheet from taking zeros away.

    >>> plain_cell(' P1\u00a0'), plain_cell('="007"')
    ('P1', '007')
    """
    cell = cell.strip().strip(UNSEEN).strip()
    kept = KEPT_AS_TEXT.match(cell)
    return kept[1].strip() if kept else cell


def read_csv(path: Path, needs: Collection[str] = ()) -> RawTable:
    """Read a text file; the cells are those of the mark with which its header has most of the names
    in `needs`, or else of the commonest in its first line.

    Raises:
        CohortError: it is not text, or not CSV.
    """
    text, encoding = _decoded(path)
    text = text.replace("\r\n", "\n").replace("\r", "\n")  # Windows, old Macintosh
    first = text.lstrip("\n").partition("\n")[0]
    said = SEPARATOR_LINE.match(first.strip(" "))
    separator = said[1] if said else _separator(text, needs)
    named = {mark: name for name, mark in SEPARATORS.items()}[separator]
    try:
        rows = [
            (number, tuple(plain_cell(cell) for cell in cells))
            for number, cells in enumerate(csv.reader(io.StringIO(text), delimiter=separator), 1)
        ]
    except csv.Error as error:
        raise CohortError(
            f"{path.name} cannot be read as CSV ({error}). Save it again as CSV (UTF-8) or .xlsx."
        ) from error
    rows = [(number, cells) for number, cells in rows if any(cells)]
    return RawTable(
        rows=tuple(rows[1:] if said else rows),
        understood=f"{named}, {encoding}",
        notes=(f"line {rows[0][0]} names the mark between cells ({named})",) if said else (),
    )


def _decoded(path: Path) -> tuple[str, str]:
    raw = path.read_bytes()
    marked = raw.startswith((b"\xff\xfe", b"\xfe\xff"))
    zeros = LEAST_ZEROS * len(raw)
    for codec, is_it in (
        ("utf-16", marked),
        ("utf-16-le", not marked and raw[1::2].count(0) > zeros),
        ("utf-16-be", not marked and raw[::2].count(0) > zeros),
    ):
        with contextlib.suppress(UnicodeDecodeError):
            text = raw.decode(codec) if is_it else ""
            if any(mark in text for mark in SEPARATORS.values()) and "\0" not in text:
                return text, "UTF-16"
    if raw.startswith(b"PK\x03\x04"):
        raise CohortError(
            f"{path.name} is a workbook. Call it {path.stem}.xlsx, or save it as CSV (UTF-8)."
        )
    if b"\x00" in raw:
        raise CohortError(
            f"{path.name} is not a text file. Save the table as CSV (UTF-8) or .xlsx."
        )
    try:
        return raw.decode("utf-8-sig"), "UTF-8"
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace"), "Latin-1"


def _separator(text: str, needs: Collection[str]) -> str:
    lines = [line for line in text.split("\n", 4 * LINES_ABOVE)[:-1] or [text] if line.strip()]
    first = lines[0] if lines else ""
    commonest = max(";,\t", key=first.count)
    marks = [commonest, *(mark for mark in ";,\t" if mark != commonest)]
    found = {
        mark: max(
            (
                len(set(needs) & {cell.strip(' "') for cell in line.split(mark)})
                for line in lines[:LINES_ABOVE]
            ),
            default=0,
        )
        for mark in marks
    }
    return max(marks, key=lambda mark: found[mark])
