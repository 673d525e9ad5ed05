"""What the columns of a table hold: numbers, categories, dates. A column is read as a whole, since
a cell alone does not say whether "1,483" is 1483 or "03/04/2021" a day of April; what is ambiguous,
and what is no value at all, is refused with its cell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from pathoml.config import Study
from pathoml.errors import CohortError
from pathoml.store.dates import SERIAL, Format, parse_date, slashed_days
from pathoml.store.tables import Table, parse_number
from pathoml.study.timing import date_columns

Kind = Literal["number", "category"]
Cells = Sequence[tuple[int, str]]  # (line, cell) of those that are not empty

SAMPLED_ON = "sampled_on"  # the dates of slides.csv
FAULT = re.compile(r"^(#+|#N/A|#NV|#?(REF|BEZUG|VALUE|WERT|DIV/0|NAME|NUM|ZAHL|NULL)[!?])$", re.I)
THREE_DIGITS = re.compile(r"^[+-]?[1-9]\d{0,2}[.,]\d{3}$")  # 1,483: a thousand, or three decimals
MANY_THOUSANDS = re.compile(r"^[+-]?[1-9]\d{0,2}([.,'\u2019])\d{3}(\1\d{3})+$")  # 1.234.567
PLAIN = re.compile(r"^-?[0-9]+(\.[0-9]+)?$")
SWISS = re.compile(r"^[+-]?\d{1,3}(['\u2019]\d{3})+(\.\d+)?$")  # 1'234
WITH_UNIT = re.compile(r"^(?P<number>\d+([.,]\d+)?)\s*(?P<unit>[^\d\s]{1,12})$")  # 61 y
MOST_CODES = 6  # different numbers of a category beside its words, such as 1, 2, 3, 4, 4a
LARGEST_CODE = 9  # larger ones must come back to be codes
OFTEN = 3  # times that a code comes on average
MOST_UNITS = 3
MOST_NAMED = 5  # cells that a sentence names


def as_understood(study: Study, table: Table) -> Table:
    """Return patients.csv with cells as they are understood: numbers with a decimal point, dates as
    yyyy-mm-dd; columns that the study does not name stay as they are.

    Raises:
        CohortError: what is ambiguous or no value, a sentence for each column, with its cell.
    """
    config = study.config
    secondary = config.secondary_endpoints
    numbers = [
        *(e.time for e in (config.endpoint, *secondary)),
        *config.cohort.covariates,
        *columns_of_subgroups(table, config.evaluate.subgroups),
    ]
    used = [
        "patient_id",
        config.cohort.centre,
        *(e.event for e in (config.endpoint, *secondary)),
        *([config.cohort.treatment] if config.cohort.treatment else []),
        *numbers,
    ]
    refused = [found for name in dict.fromkeys(used) if (found := _fault(table, name))]
    understood: dict[str, Mapping[str, str]] = {}
    for name in dict.fromkeys(name for name in numbers if name in table.columns):
        try:
            understood[name] = number_cells(table, name)
        except CohortError as error:
            refused.append(str(error))
    for name in date_columns(config.dates):
        try:
            understood[name] = date_cells(table, name, config.dates.format)
        except CohortError as error:
            refused.append(str(error))
    table = _with_cells(table, understood)
    times = {e.time for e in (config.endpoint, *secondary)}  # these are refused row by row
    refused += [
        found
        for name in dict.fromkeys(numbers)
        if name in understood.keys() - times - set(config.cohort.categorical)
        and not _fault(table, name)
        and (found := _mixture(table, name))
    ]
    if refused:
        raise CohortError("\n".join(refused))
    return table


def slides_as_understood(table: Table, written: Format) -> Table:
    """Return slides.csv with its dates as yyyy-mm-dd and its mpp with a decimal point.

    Raises:
        CohortError: a column is ambiguous.
    """
    understood: dict[str, Mapping[str, str]] = {}
    if SAMPLED_ON in table.columns:
        understood[SAMPLED_ON] = date_cells(table, SAMPLED_ON, written)
    if "mpp" in table.columns:
        understood["mpp"] = number_cells(table, "mpp")
    return _with_cells(table, understood)


def number_cells(table: Table, name: str) -> dict[str, str]:
    """Return how the cells of a column of numbers are understood, with a decimal point; a cell that
    is no number is not in it.

    Raises:
        CohortError: a mark may be a decimal mark or one between thousands, and no other cell of the
            column shows which.
    """
    cells = _filled(table, name)
    written = [(line, cell) for line, cell in cells if (line, name) not in table.numbers]
    thousands, decimal = _marks(written)
    both = sorted(thousands.keys() & decimal.keys())
    if both:
        (line, one), (other_line, other) = thousands[both[0]], decimal[both[0]]
        raise CohortError(
            f"{table.path.name} line {line}: {name} = {one!r} has {both[0]!r} between thousands, "
            f"and {other!r} in line {other_line} before decimals. Write all numbers of the column "
            "alike, without marks between thousands."
        )
    for line, cell in written:
        mark = cell[-4:-3] if THREE_DIGITS.match(cell) else ""
        if mark and mark not in {*thousands, *decimal} and _doubted(table, cells, mark):
            whole, decimals = cell.replace(mark, ""), cell.replace(mark, ".")
            raise CohortError(
                f"{table.path.name} line {line}: {name} = {cell!r} may be {whole} or {decimals}; no"
                f" cell of the column shows which. Write {whole} or {decimals}0, and likewise in "
                "every such cell."
            )
    return {
        cell: plain for _, cell in cells if (plain := _plain_number(cell, thousands)) is not None
    }


def date_cells(table: Table, name: str, written: Format = "auto") -> dict[str, str]:
    """Return how the cells of a column of dates are understood, as yyyy-mm-dd; a cell that is no
    date is not in it.

    Raises:
        CohortError: day or month may come first, or both do, or days are counted from a day that is
            not known.
    """
    cells = _filled(table, name)
    line_of = {cell: line for line, cell in reversed(cells)}
    if written in ("auto", "excel", "excel_1904"):
        days, months, either = slashed_days(cell for _, cell in cells)
        if days and months:
            raise CohortError(
                f"{table.path.name}: {name} = {days[0]!r} (line {line_of[days[0]]}) begins with a "
                f"day, {months[0]!r} (line {line_of[months[0]]}) with a month. Write yyyy-mm-dd."
            )
        if either and not days and not months:
            raise CohortError(
                f"{table.path.name} line {line_of[either[0]]}: {name} = {either[0]!r} may begin "
                "with the day or with the month; no cell of the column shows which. State "
                "dates.format: day_first or month_first, or write yyyy-mm-dd."
            )
        order: Format = "month_first" if months else "day_first"
    else:
        order = written
    counted = [(line, cell) for line, cell in cells if SERIAL.match(cell)]
    if counted and written not in ("excel", "excel_1904"):
        line, cell = counted[0]
        first, second = (parse_date(cell, f) for f in ("excel", "excel_1904"))
        raise CohortError(
            f"{table.path.name} line {line}: {name} = {cell!r} counts days as a spreadsheet does: "
            f"{first}, or {second} where days count from 1904. Format the column as dates before "
            "saving, or state dates.format: excel (or excel_1904)."
        )
    found: dict[str, str] = {}
    for _, cell in cells:
        day = parse_date(cell, written if SERIAL.match(cell) else order)
        if day is not None:
            found[cell] = day.isoformat()
    return found


def kind_of(table: Table, name: str, categorical: Iterable[str]) -> Kind:
    """Return whether a column of a table as understood is read as numbers: all its cells are, and
    the study does not call it a category.
    """
    cells = _filled(table, name)
    numbers = all(parse_number(cell) is not None for _, cell in cells)
    return "number" if numbers and name not in categorical else "category"


def columns_of_subgroups(table: Table, expressions: Iterable[str]) -> list[str]:
    """Return the columns of a table that expressions such as "age <= 60 and sex == 'f'" name."""
    text = "\n".join(expressions)
    return [
        name
        for name in table.columns
        if name and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text)
    ]


def level(cell: str) -> str:
    """Return the level of a category that a cell stands for: 1.0 and 1 are one.

    >>> level("1.0"), level("4a"), level("LMS ")
    ('1', '4a', 'LMS')
    """
    number = parse_number(cell)
    return cell.strip() if number is None else f"{number:.10g}"


def _filled(table: Table, name: str) -> Cells:
    return [(line, row[name]) for line, row in table.numbered() if row.get(name)]


def _with_cells(table: Table, understood: Mapping[str, Mapping[str, str]]) -> Table:
    rows = tuple(
        {name: understood.get(name, {}).get(cell, cell) for name, cell in row.items()}
        for row in table.rows
    )
    return replace(table, rows=rows)


def _fault(table: Table, name: str) -> str:
    """Return the sentence on the first cell that holds a spreadsheet's error, "" if there is
    none.
    """
    for line, cell in _filled(table, name):
        if FAULT.match(cell):
            return (
                f"{table.path.name} line {line}: {name} = {cell!r}, which is a spreadsheet's error "
                "and no value. Correct the cell or leave it empty, or name the word in "
                "cohort.missing."
            )
    return ""


def _marks(cells: Cells) -> tuple[dict[str, tuple[int, str]], dict[str, tuple[int, str]]]:
    """Return which marks certainly stand between thousands, and which before decimals, each with a
    cell that shows it.
    """
    thousands: dict[str, tuple[int, str]] = {}
    decimal: dict[str, tuple[int, str]] = {}
    for line, cell in cells:
        many = MANY_THOUSANDS.match(cell)
        if many:
            thousands.setdefault(many[1], (line, cell))
        elif parse_number(cell) is None or THREE_DIGITS.match(cell):
            continue
        elif "," in cell and "." in cell:
            last = max(",.", key=cell.rfind)
            decimal.setdefault(last, (line, cell))
            thousands.setdefault(",."[last == ","], (line, cell))
        else:
            for mark in ",.":
                if mark in cell:
                    decimal.setdefault(mark, (line, cell))
    return thousands, decimal


def _doubted(table: Table, cells: Cells, mark: str) -> bool:
    """Return whether a mark before three digits may be one between thousands, given how the file
    is written: in a file with commas between cells a point is a decimal mark; in one with
    semicolons a comma is, where every cell has it.
    """
    if mark == ".":
        return not table.understood.startswith("comma")
    return not (table.understood.startswith("semicolon") and all(mark in cell for _, cell in cells))


def _plain_number(cell: str, thousands: Mapping[str, tuple[int, str]]) -> str | None:
    text = re.sub("['\u2019]", "", cell) if SWISS.match(cell) else cell
    if MANY_THOUSANDS.match(text) or THREE_DIGITS.match(text):
        for mark in thousands:
            text = text.replace(mark, "")
    number = parse_number(text)
    if number is None:
        return None
    return text if PLAIN.match(text) else f"{number:.15g}"


def _mixture(table: Table, name: str) -> str:
    """Return the sentence on a column whose cells are neither all numbers nor levels of a category,
    "" if it is one of the two.
    """
    cells = _filled(table, name)
    numbers = [n for _, cell in cells if (n := parse_number(cell)) is not None]
    others = [(line, cell) for line, cell in cells if parse_number(cell) is None]
    if not others:
        return ""
    if not numbers:
        found = [match for _, cell in others if (match := WITH_UNIT.match(cell))]
        different = len({match["number"] for match in found})
        units = {match["unit"] for match in found}
        if len(found) < len(others) or different <= MOST_CODES or len(units) > MOST_UNITS:
            return ""
    else:
        codes, whole = set(numbers), all(n.is_integer() for n in numbers)
        small = max(map(abs, numbers)) <= LARGEST_CODE or OFTEN * len(codes) <= len(numbers)
        if whole and len(codes) <= MOST_CODES and small:
            return ""
    named = ", ".join(f"{cell!r} (line {line})" for line, cell in others[:MOST_NAMED])
    more = f" and {len(others) - MOST_NAMED} more" if len(others) > MOST_NAMED else ""
    levels = len({cell for _, cell in cells})
    return (
        f"{table.path.name}: {name} holds {len(numbers)} numbers and {named}{more}: it would be a "
        f"category of {levels} levels. Correct "
        f"{'the cell' if len(others) == 1 else 'the cells'}; or name what stands for a missing "
        "value in cohort.missing, or the column in cohort.categorical if it is a category."
    )
