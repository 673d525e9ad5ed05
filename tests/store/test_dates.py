"""A date is read where it can mean one day only."""

from __future__ import annotations

import datetime as dt

import pytest

from pathoml.store.dates import parse_date, slashed_days

FIRST_OF_MARCH = dt.date(2021, 3, 1)


@pytest.mark.parametrize(
    "cell",
    [
        "2021-03-01", "2021/03/01", "01.03.2021", "1.3.21", "2021-03-01T00:00:00",
        "2021-03-01 00:00:00.000", "2021-03-01T23:30:00+01:00", "01.03.2021 0:00", "1 March 2021",
        "01-MAR-2021", "01MAR2021", "1. Mär 2021".replace(". ", " "), "20210301",
    ],
)  # fmt: skip
def test_ways_to_write_a_day_that_leave_no_doubt(cell: str) -> None:
    assert parse_date(cell) == FIRST_OF_MARCH


@pytest.mark.parametrize(
    "cell", ["2021", "2021-03", "44256", "20211301", "32 Mar 2021", "1 Foo 2021", "03/01/2021"]
)
def test_what_may_be_several_days_or_none_is_no_date(cell: str) -> None:
    assert parse_date(cell) is None


def test_the_order_that_is_stated_decides() -> None:
    assert parse_date("03/04/2021", "day_first") == dt.date(2021, 4, 3)
    assert parse_date("03/04/2021", "month_first") == dt.date(2021, 3, 4)
    assert parse_date("25/03/2021", "month_first") is None


def test_days_of_a_spreadsheet_count_from_its_own_zero() -> None:
    """44256 is 1 March 2021 in Excel; with days from 1904 it is four years and a day later."""
    assert parse_date("44256", "excel") == FIRST_OF_MARCH
    assert parse_date("44256.75", "excel") == FIRST_OF_MARCH
    assert parse_date("44256", "excel_1904") == dt.date(2025, 3, 2)


def test_a_first_number_over_twelve_is_a_day() -> None:
    cells = ["13/01/2021 00:00", "01/13/2021", "1-2-2021", "02/02/2021", "2021-02-03", ""]
    assert slashed_days(cells) == (["13/01/2021 00:00"], ["01/13/2021"], ["1-2-2021"])
