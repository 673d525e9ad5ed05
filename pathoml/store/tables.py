"""Tables as people have them (comma or semicolon, decimal comma, dd.mm.yyyy, UTF-8 or Latin-1,
.xlsx) and as readers want them.
"""

from __future__ import annotations

import contextlib
import csv
import datetime as dt
import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pathoml.config import Study
from pathoml.errors import CohortError, nearest

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
WORKBOOK_FAULTS = (  # of a damaged file
    OSError, EOFError, KeyError, ValueError, TypeError, AttributeError, IndexError, OverflowError,
    NotImplementedError,
    SyntaxError,  # XML's errors are such
)  # fmt: skip
MOST_UNPACKED = 200 * 10**6  # bytes of a workbook
MOST_COLUMNS = 10_000  # more is not a clinical table
FORMULA = re.compile(r"^[=+\-@\t\r]")  # cells that a spreadsheet would run
NUMBER = re.compile(r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of text cells with what was understood of its file."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Mapping[str, str], ...]
    understood: str  # for example "semicolon, Latin-1"

    def require(self, names: Iterable[str]) -> None:
        """Raise CohortError for the first name that is not a column."""
        for name in names:
            if name not in self.columns:
                raise CohortError(
                    f"{self.path.name} has no column {name!r}; it has "
                    f"{', '.join(self.columns)}.{nearest(name, self.columns)} Rename the column, "
                    "or name the right one in study.yaml."
                )


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
    return read_table(find_table(study.folder, stem), study.config.cohort.missing)


def read_table(path: Path, missing: Iterable[str] = ()) -> Table:
    """Read a CSV or .xlsx file as text cells, stripped; missing cells become empty strings.

    Args:
        missing: spellings of a missing cell beside MISSING, in any case of letters.

    Raises:
        CohortError: not there, not readable, no header, a column twice, or a row longer than the
            header.
    """
    if not path.exists():
        raise CohortError(f"{path} does not exist. Give the path of a CSV or .xlsx file.")
    if path.suffix.lower() == ".xlsx":
        lines, understood = _read_xlsx(path), "xlsx"
    else:
        lines, understood = _read_csv(path)
    lines = [(n, cells) for n, cells in lines if any(cells)]
    if not lines:
        raise CohortError(f"{path.name} is empty. It needs a header line and one line a row.")
    header = lines[0][1]
    while header and not header[-1]:
        header = header[:-1]
    if len(header) > MOST_COLUMNS:
        raise CohortError(
            f"{path.name} has {len(header)} columns, at most {MOST_COLUMNS} are read. Is it the "
            "right file? Keep those you need."
        )
    duplicates = sorted(c for c, count in Counter(header).items() if count > 1)
    if duplicates:
        raise CohortError(
            f"{path.name} has the column {duplicates[0]!r} twice. Rename or remove one."
        )
    absent = MISSING | {spelling.strip().lower() for spelling in missing}
    rows = []
    for number, cells in lines[1:]:
        if any(cells[len(header) :]):
            raise CohortError(
                f"{path.name} line {number} has {len(cells)} cells, the header {len(header)}. A "
                "decimal comma in a comma-separated file does this: use semicolons between cells, "
                "or points in numbers."
            )
        cells = [*cells, *[""] * (len(header) - len(cells))]
        rows.append({c: "" if v.lower() in absent else v for c, v in zip(header, cells)})
    return Table(path=path, columns=tuple(header), rows=tuple(rows), understood=understood)


def _read_csv(path: Path) -> tuple[list[tuple[int, list[str]]], str]:
    raw = path.read_bytes()
    if b"\x00" in raw:
        raise CohortError(
            f"{path.name} is not a text file. Save the table as CSV (UTF-8) or .xlsx."
        )
    try:
        text, encoding = raw.decode("utf-8-sig"), "UTF-8"
    except UnicodeDecodeError:
        text, encoding = raw.decode("cp1252", errors="replace"), "Latin-1"
    text = text.replace("\r\n", "\n").replace("\r", "\n")  # Windows, old Macintosh
    first = text.lstrip().split("\n", 1)[0]
    delimiter = max(";,\t", key=first.count)
    named = {";": "semicolon", ",": "comma", "\t": "tab"}[delimiter]
    try:
        lines = [
            (i, [c.strip() for c in row])
            for i, row in enumerate(csv.reader(io.StringIO(text), delimiter=delimiter), 1)
        ]
    except csv.Error as error:
        raise CohortError(
            f"{path.name} cannot be read as CSV ({error}). Save it again as CSV (UTF-8) or .xlsx."
        ) from error
    return lines, f"{named}, {encoding}"


def _read_xlsx(path: Path) -> list[tuple[int, list[str]]]:
    import zipfile
    import zlib

    import openpyxl
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(part.file_size for part in archive.infolist())
        if unpacked > MOST_UNPACKED:
            raise CohortError(
                f"{path.name} unpacks to {unpacked / 1e6:.0f} MB, which no clinical table has. "
                "Save it again, or as CSV (UTF-8)."
            )
        with contextlib.closing(
            openpyxl.load_workbook(path, read_only=True, data_only=True)
        ) as book:
            return [
                (i, [_cell(v) for v in row])
                for i, row in enumerate(book.worksheets[0].iter_rows(values_only=True), 1)
            ]
    except (
        zipfile.BadZipFile,
        zlib.error,
        InvalidFileException,
        *WORKBOOK_FAULTS,
    ) as error:  # XML's errors are SyntaxErrors
        raise CohortError(
            f"{path.name} cannot be read as .xlsx ({type(error).__name__}). Save it again, or as"
            " CSV (UTF-8)."
        ) from error


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, dt.datetime):
        return value.date().isoformat()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def parse_number(text: str) -> float | None:
    """Return the number that a person wrote, or None if it is none.

    >>> parse_number("12,5"), parse_number("1.234,5"), parse_number("7"), parse_number("seven")
    (12.5, 1234.5, 7.0, None)
    """
    text = text.strip().replace(" ", "")
    if "," in text and "." in text:  # the last one is the decimal mark
        mark = max(text.rfind(","), text.rfind("."))
        text = text[:mark].replace(",", "").replace(".", "") + "." + text[mark + 1 :]
    elif text.count(",") == 1:
        text = text.replace(",", ".")
    return float(text) if NUMBER.match(text) else None


def parse_date(text: str) -> dt.date | None:
    """Return the date of "2021-03-01" or "01.03.2021", or None.

    >>> parse_date("01.03.2021")
    datetime.date(2021, 3, 1)
    """
    for pattern in ("%Y-%m-%d", "%d.%m.%Y", "%d.%m.%y"):
        try:
            return dt.datetime.strptime(text.strip(), pattern).date()
        except ValueError:
            continue
    return None


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV that R, Stata and spreadsheets read alike: UTF-8, comma, dot, LF, empty =
    missing; text never runs as a formula.
    """
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_write_cell(v) for v in row] for row in rows)


def disarmed(text: str) -> str:
    """Return text that no spreadsheet runs as a formula; numbers stay as they are.

    >>> disarmed("=1+1"), disarmed("sheets of cells"), disarmed("-4")
    ("'=1+1", 'sheets of cells', '-4')
    """
    return "'" + text if FORMULA.match(text) and parse_number(text) is None else text


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
