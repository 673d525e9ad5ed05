"""Tables as people have them (comma or semicolon, decimal comma, dd.mm.yyyy, UTF-8, UTF-16 or
Latin-1, .xlsx) and as readers want them.
"""

from __future__ import annotations

import csv
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pathoml.config import Study
from pathoml.errors import CohortError, nearest
from pathoml.store.dates import parse_date as parse_date
from pathoml.store.files import read_json
from pathoml.store.raw_tables import RawTable, header_place, read_csv
from pathoml.store.workbooks import read_workbook

MISSING = {
    "",
    "na",
    "n/a",
    "nan",
    "null",
    "none",
    ".",
    "-",
    "?",
    "[not available]",
    "[unknown]",
    "[not applicable]",
    "[not evaluated]",
}
WITHDRAWING = ".withdrawing.json"  # of STUDY: whom a withdrawal that is not finished concerns
MOST_COLUMNS = 10_000  # more is not a clinical table
MOST_QUOTED = 40  # characters of a line that a sentence quotes
FORMULA = re.compile(r"^[=+\-@\t\r]")  # cells that a spreadsheet would run
ARMED = re.compile(r"^'+[=+\-@\t\r]")  # those with our mark in front
NUMBER = re.compile(r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
SPACES = re.compile("[ \u00a0\u202f]")  # between thousands


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of text cells with what was understood of its file."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Mapping[str, str], ...]
    understood: str  # for example "semicolon, Latin-1"
    notes: tuple[str, ...] = ()  # what was found beside the cells; WARNING in front of what is odd
    header_line: int = 1  # in the file, counted as a spreadsheet does
    lines: tuple[int, ...] = ()  # of the rows
    # (line, column) -> the word that stood there for a missing cell, where one did
    words_for_missing: Mapping[tuple[int, str], str] = field(default_factory=dict, repr=False)
    # column -> line of the first formula whose value the workbook does not store
    formulas: Mapping[str, int] = field(default_factory=dict)
    numbers: frozenset[tuple[int, str]] = field(default=frozenset(), repr=False)  # by type

    def numbered(self) -> Iterable[tuple[int, Mapping[str, str]]]:
        """Return each row with its line in the file."""
        return zip(self.lines or range(2, len(self.rows) + 2), self.rows)

    @property
    def as_it_stands(self) -> bool:
        """Whether a plain reader of CSV finds the same table in the file."""
        return self.understood != "xlsx" and "UTF-16" not in self.understood and not self.notes

    def require(self, names: Iterable[str]) -> None:
        """Raise CohortError for the first name that is not a column, or whose column holds formulas
        without values.
        """
        for name in names:
            if name not in self.columns:
                raise CohortError(
                    f"{self.path.name} has no column {name!r}; it has "
                    f"{', '.join(self.columns)}.{nearest(name, self.columns)} Rename the column, "
                    f"or name the right one in study.yaml.{self._title()}"
                )
            if name in self.formulas:
                raise CohortError(
                    f"{self.path.name} line {self.formulas[name]}: column {name!r} holds formulas "
                    "whose values are not stored. Open the file in a spreadsheet program, save it, "
                    "and it stores them; or put the values in the place of the formulas."
                )

    def _title(self) -> str:
        if len(self.columns) > 1:
            return ""
        return f" Is line {self.header_line} a title? The header must be the first line."


def table_names(stem: str) -> tuple[str, ...]:
    """Return the file names that a table of a study may have, the one that wins first.

    >>> table_names("slides")
    ('slides.csv', 'slides.xlsx')
    """
    return (f"{stem}.csv", f"{stem}.xlsx")


def find_table(folder: Path, stem: str) -> Path:
    """Return STUDY/stem.csv or STUDY/stem.xlsx.

    Raises:
        CohortError: neither is there.
    """
    for name in table_names(stem):
        if (folder / name).exists():
            return folder / name
    others = sorted(path.name for path in folder.glob(f"{stem}.*"))
    if others:
        raise CohortError(
            f"{folder} has {others[0]}, which is not read. Save it as {stem}.csv (UTF-8) or"
            f" {stem}.xlsx."
        )
    raise CohortError(
        f"{folder} has no {stem}.csv (or {stem}.xlsx). `pathoml init {folder} --slides FOLDER`"
        " writes one to fill in."
    )


def read_study_table(study: Study, stem: str) -> Table:
    """Read the study's table of slides or patients, whichever file it is in; what the study calls
    missing is missing.

    Raises:
        CohortError: there is no such table, or it cannot be read.
    """
    endpoint = study.config.endpoint
    needs = {
        "slides": ("patient_id", "slide_id", "path"),
        "patients": ("patient_id", endpoint.time, endpoint.event, study.config.cohort.centre),
    }
    table = read_table(
        find_table(study.folder, stem), study.config.cohort.missing, needs=needs.get(stem, ())
    )
    _refuse_withdrawn(study, table)
    return table


def _refuse_withdrawn(study: Study, table: Table) -> None:
    path = study.folder / WITHDRAWING
    if path.exists():
        withdrawn = set(read_json(path).get("patients", []))
        if any(row.get("patient_id") in withdrawn for row in table.rows):
            raise CohortError(
                f"A withdrawal was interrupted, and {table.path.name} still names the patient."
                f" Finish it: `pathoml withdraw {study.folder} --confirm`."
            )


def read_own_table(path: Path) -> Table:
    """Read a table that `write_table` wrote: text that was disarmed is as it was.

    Raises:
        CohortError: as `read_table`.
    """
    table = read_table(path)
    return replace(
        table,
        columns=tuple(as_it_was(name) for name in table.columns),
        rows=tuple(
            {as_it_was(name): as_it_was(cell) for name, cell in row.items()} for row in table.rows
        ),
    )


def read_table(path: Path, missing: Iterable[str] = (), *, needs: Collection[str] = ()) -> Table:
    """Read a CSV or .xlsx file as text cells, stripped; missing cells become empty strings.

    Args:
        missing: spellings of a missing cell beside MISSING, in any case of letters.
        needs: names of columns by which the header is known where lines stand above it, and the
            sheet where a workbook has several.

    Raises:
        CohortError: not there, not readable, no header, a column twice or without a name, or a row
            longer than the header.
    """
    if not path.exists():
        raise CohortError(f"{path} does not exist. Give the path of a CSV or .xlsx file.")
    workbook = path.suffix.lower() in (".xlsx", ".xlsm")
    raw = read_workbook(path, needs) if workbook else read_csv(path, needs)
    if not raw.rows:
        raise CohortError(f"{path.name} is empty. It needs a header line and one line a row.")
    place = header_place(raw.rows, needs)
    header_line, names = raw.rows[place]
    columns = _columns(path, raw, place)
    absent = MISSING | {spelling.strip().lower() for spelling in missing}
    shown = _merged_cells(raw, header_line)
    rows, words = [], {}
    for line, cells in raw.rows[place + 1 :]:
        if any(cells[len(names) :]):
            raise CohortError(
                f"{path.name} line {line} has {len(cells)} cells, the header {len(names)}. A "
                "decimal comma in a comma-separated file does this: use semicolons between cells, "
                "or points in numbers."
                + (f" Or line {header_line} is a title: remove it." if len(names) == 1 else "")
            )
        row = {}
        for at, name in columns.items():
            cell = (cells[at] if at < len(cells) else "") or shown.get((line, at + 1), "")
            row[name] = "" if cell.lower() in absent else cell
            if cell and not row[name]:
                words[line, name] = cell
        rows.append((line, row))
    return Table(
        path=path,
        columns=tuple(columns.values()),
        rows=tuple(row for _, row in rows),
        understood=raw.understood,
        notes=(*raw.notes, *_notes(raw, place, columns)),
        header_line=header_line,
        lines=tuple(line for line, _ in rows),
        words_for_missing=words,
        formulas={
            columns[column - 1]: line
            for line, column in sorted(raw.formulas, reverse=True)  # the first of a column stays
            if column - 1 in columns and line > header_line
        },
        numbers=frozenset(
            (line, columns[column - 1]) for line, column in raw.numbers if column - 1 in columns
        ),
    )


def _columns(path: Path, raw: RawTable, place: int) -> dict[int, str]:
    """Return the names of the columns by their place from 0, without those that have none.

    A first column without a name is that of the row names, as R and pandas write it, and stays.
    Further on in a file with commas, a cell without a name may be the second half of a number with
    a decimal comma.
    """
    line, header = raw.rows[place]
    names = list(header)
    while names and not names[-1]:
        names = names[:-1]
    if len(names) > MOST_COLUMNS:
        raise CohortError(
            f"{path.name} has {len(names)} columns, at most {MOST_COLUMNS} are read. Is it the "
            "right file? Keep those you need."
        )
    duplicates = sorted(c for c, count in Counter(names).items() if count > 1 and c)
    if duplicates:
        raise CohortError(
            f"{path.name} has the column {duplicates[0]!r} twice. Rename or remove one."
        )
    unnamed = [at for at, name in enumerate(header) if not name]
    for at in unnamed:
        filled = [(n, c[at]) for n, c in raw.rows[place + 1 :] if at < len(c) and c[at]]
        row_numbers = at == 0 and len(filled) == len(raw.rows) - place - 1
        if filled and not row_numbers and raw.understood.startswith("comma"):
            raise CohortError(
                f"{path.name}: column {at + 1} has no name (line {line}), and line {filled[0][0]} "
                f"holds {filled[0][1][:MOST_QUOTED]!r} there. Name the column or remove it. Or is "
                "it the second half of a number with a decimal comma? Then use semicolons between "
                "cells, or points in numbers."
            )
    return {at: name for at, name in enumerate(names) if name or at == 0}


def _merged_cells(raw: RawTable, header_line: int) -> dict[tuple[int, int], str]:
    """Return what a spreadsheet shows in the rows of a merged cell, by row and column from 1."""
    cells = dict(raw.rows)
    lines = [line for line, _ in raw.rows]
    return {
        (line, column): cells[first][column - 1]
        for first, last, column in raw.merged
        if first > header_line and column <= len(cells.get(first, ()))
        for line in lines[bisect_right(lines, first) : bisect_right(lines, last)]
    }


def _notes(raw: RawTable, place: int, columns: Mapping[int, str]) -> list[str]:
    header_line, header = raw.rows[place]
    notes = [
        f"line {line} is above the header and not read:"
        f" {' '.join(c for c in cells if c)[:MOST_QUOTED]!r}"
        for line, cells in raw.rows[:place]
    ]
    below = raw.rows[place + 1 :]
    widest = max((len(cells) for _, cells in raw.rows), default=0)
    for at in range(min(widest, len(header))):
        if at not in columns and any(at < len(cells) and cells[at] for _, cells in below):
            notes.append(f"column {at + 1} has no name and is not read")
    merged = sorted(
        {columns[c - 1] for first, _, c in raw.merged if first > header_line and c - 1 in columns}
    )
    notes += [f"merged cells of column {name!r} count for each of their rows" for name in merged]
    hidden = sum(line in raw.hidden for line, _ in below)
    if hidden:
        notes.append(
            f"WARNING {hidden} {'row is' if hidden == 1 else 'rows are'} hidden, by a filter or by "
            "hand; hidden rows are read too. Delete those that should not count"
        )
    return notes


def parse_number(text: str) -> float | None:
    """Return the number that a person wrote, or None if it is none.

    >>> parse_number("12,5"), parse_number("1.234,5"), parse_number("7"), parse_number("seven")
    (12.5, 1234.5, 7.0, None)
    """
    text = SPACES.sub("", text.strip()).replace("\N{MINUS SIGN}", "-")
    if "," in text and "." in text:  # the last one is the decimal mark
        mark = max(text.rfind(","), text.rfind("."))
        text = text[:mark].replace(",", "").replace(".", "") + "." + text[mark + 1 :]
    elif text.count(",") == 1:
        text = text.replace(",", ".")
    return float(text) if NUMBER.match(text) else None


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV that R, Stata and spreadsheets read alike: UTF-8, comma, dot, LF, empty =
    missing; text never runs as a formula; `read_own_table` reads it as it was.
    """
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow([disarmed(name) for name in columns])
        writer.writerows([_write_cell(v) for v in row] for row in rows)


def disarmed(text: str) -> str:
    """Return text that no spreadsheet runs as a formula; numbers stay as they are.

    >>> disarmed("=1+1"), disarmed("sheets of cells"), disarmed("-4"), disarmed("'=1")
    ("'=1+1", 'sheets of cells', '-4', "''=1")
    """
    runs = FORMULA.match(text) and parse_number(text) is None
    return "'" + text if runs or ARMED.match(text) else text


def as_it_was(cell: str) -> str:
    """Return the text of a cell that was written with `disarmed`.

    >>> as_it_was("'=1+1"), as_it_was("-4"), as_it_was("'s Heeren Loo")
    ('=1+1', '-4', "'s Heeren Loo")
    """
    return cell[1:] if ARMED.match(cell) else cell


def _write_cell(value: object) -> str:
    if value is None or value != value:  # NaN is the only value that differs from itself
        return ""
    if isinstance(value, str):
        return (
            disarmed(value).replace("\r\n", "\n").replace("\r", "\n")
        )  # csv quotes only its own line end
    if isinstance(value, float):
        return f"{value:.10g}"
    return str(value)
