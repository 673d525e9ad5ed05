"""Dates as tables have them: which day "03/04/2021" is depends on the column that it stands in."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from typing import Literal

Format = Literal["auto", "day_first", "month_first", "excel", "excel_1904"]

CLOCK = re.compile(  # 2021-03-01T00:00:00.000+01:00, 01.03.2021 0:00
    r"^(?P<day>\S+?)(?:T|\s+)\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?\s*(Z|UTC|[+-]\d{2}:?\d{2}|[AaPp][Mm])?$"
)
SLASHED = re.compile(r"^(\d{1,2})([/-])(\d{1,2})\2(\d{4}|\d{2})$")
MONTH_WORD = re.compile(r"^(\d{1,2})[ -]?([A-Za-zäÄ]{3})[A-Za-z]*\.?[ -]?(\d{4})$")
SERIAL = re.compile(r"^\d{5}(\.\d+)?$")  # days of a spreadsheet: 10000 is in 1927, 99999 in 2173
MONTHS = {
    word: number
    for number, words in enumerate(
        (
            "jan", "feb", "mar mär", "apr", "may mai", "jun", "jul", "aug", "sep", "oct okt",
            "nov", "dec dez",
        ),
        1,
    )
    for word in words.split()
}  # fmt: skip
DAY_ZERO = {"excel": dt.date(1899, 12, 30), "excel_1904": dt.date(1904, 1, 1)}
LAST_FIRST = 12  # a larger first number is no month


def parse_date(text: str, written: Format = "auto") -> dt.date | None:
    """Return the date of "2021-03-01", "01.03.2021", "2021-03-01T00:00", "1 Mar 2021", or None.

    Args:
        written: what "03/04/2021" is, or from when a spreadsheet's days count; "auto" reads
            neither, since a cell alone does not say.

    >>> parse_date("01.03.2021")
    datetime.date(2021, 3, 1)
    >>> parse_date("03/04/2021"), parse_date("03/04/2021", "day_first")
    (None, datetime.date(2021, 4, 3))
    >>> parse_date("44256", "excel")
    datetime.date(2021, 3, 1)
    """
    text = text.strip()
    clock = CLOCK.match(text)
    text = clock["day"] if clock else text
    for pattern in ("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%d.%m.%y"):
        try:
            return dt.datetime.strptime(text, pattern).date()
        except ValueError:
            continue
    if SERIAL.match(text) and written in DAY_ZERO:
        return DAY_ZERO[written] + dt.timedelta(days=int(float(text)))
    try:
        if word := MONTH_WORD.match(text):
            return dt.date(int(word[3]), MONTHS.get(word[2].lower(), 0), int(word[1]))
        if re.match(r"^(19|20)\d{6}$", text):
            return dt.date(int(text[:4]), int(text[4:6]), int(text[6:]))
        if (slashed := SLASHED.match(text)) and written in ("day_first", "month_first"):
            first, second = int(slashed[1]), int(slashed[3])
            day, month = (first, second) if written == "day_first" else (second, first)
            year = dt.datetime.strptime(slashed[4], "%Y" if len(slashed[4]) == 4 else "%y").year
            return dt.date(year, month, day)
    except ValueError:
        return None
    return None


def slashed_days(cells: Iterable[str]) -> tuple[list[str], list[str], list[str]]:
    """Return the cells such as "25/03/2021" that only begin with a day, those that only begin with
    a month, and those that may be either.

    >>> slashed_days(["25/03/2021", "03/25/2021", "03/04/2021", "2021-03-01", "04/04/2021"])
    (['25/03/2021'], ['03/25/2021'], ['03/04/2021'])
    """
    days, months, either = [], [], []
    for cell in cells:
        clock = CLOCK.match(cell.strip())
        slashed = SLASHED.match(clock["day"] if clock else cell.strip())
        if not slashed:
            continue
        first, second = int(slashed[1]), int(slashed[3])
        if first > LAST_FIRST:
            days.append(cell)
        elif second > LAST_FIRST:
            months.append(cell)
        elif first != second:
            either.append(cell)
    return days, months, either
