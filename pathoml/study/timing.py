"""Dates of a patient: what may not come before what, entry, landmark and the start of treatment, in
months from time zero.

A score that reads tissue from after time zero, or a treatment that only those receive who lived to
receive it, makes immortal time: a row that says so is refused with its dates. A column that
study.yaml does not name, and an empty cell, is not checked.

Source: Suissa, Am J Epidemiol 167 (2008) 492-499 (immortal time); Anderson, J Clin Oncol 1 (1983)
710-719 (landmark).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from pathoml.config import DatesConfig, EndpointConfig
from pathoml.errors import CohortError
from pathoml.store.tables import parse_date

DAYS_A_MONTH = 365.25 / 12
UNITS_A_MONTH = {
    "months": 1.0,
    "days": DAYS_A_MONTH,
    "weeks": DAYS_A_MONTH / 7,
    "years": 1 / 12,
}  # of endpoint.unit
TOLERATED_DAYS = 31  # between the time column and the dates: tables round to whole months


@dataclass(frozen=True, kw_only=True)
class Timing:
    """When a patient came under observation and was first treated, in months from time zero, or
    from the landmark.
    """

    entry_months: float
    treatment_months: float | None


def date_columns(dates: DatesConfig) -> list[str]:
    """Return the columns of patients.csv that hold dates."""
    return [
        c
        for c in (dates.time_zero, dates.entry, dates.exit, dates.treatment, dates.metastasis)
        if c
    ]


def refuse_dates_without_time_zero(dates: DatesConfig) -> None:
    """Raise CohortError where entry or treatment is a date and time zero is none: nothing could be
    counted from it, and everybody would silently enter at time zero.
    """
    for key, column in (("entry", dates.entry), ("treatment", dates.treatment)):
        if column and not dates.time_zero:
            raise CohortError(
                f"study.yaml: dates.{key} is {column!r}, but dates.time_zero names no column: the"
                f" months from time zero to the {key} cannot be counted. Name the column with the"
                f" day of time zero, or remove dates.{key}."
            )


def check_timing(
    row: Mapping[str, str],
    sampled: Mapping[str, str],
    dates: DatesConfig,
    *,
    endpoint: EndpointConfig,
    time_months: float,
    where: str,
) -> Timing:
    """Return the timing of one row of patients.csv.

    Args:
        row: the cells.
        sampled: slide -> its sampled_on in slides.csv, "" if not given.
        time_months: from time zero to the event or the last visit, as the time column says.
        where: "patients.csv line 3, patient P031", for the sentence.

    Raises:
        CohortError: what contradicts what, with both days and what to do.
    """
    zero, entry, last, treated, metastasis = (
        _date(row, c, where)
        for c in (dates.time_zero, dates.entry, dates.exit, dates.treatment, dates.metastasis)
    )
    if zero and last:
        _refuse_unless(
            last > zero,
            where,
            "exit",
            last,
            "is not after time zero",
            zero,
            "Correct the dates or drop the row.",
        )
        said = (last - zero).days
        if abs(said - time_months * DAYS_A_MONTH) > TOLERATED_DAYS:
            raise CohortError(
                f"{where}: {endpoint.time} says {time_months:.1f} months, the dates {zero} to "
                f"{last} say {said / DAYS_A_MONTH:.1f}. Correct one of them."
            )
    if last and endpoint.data_cut:
        _refuse_unless(
            last <= endpoint.data_cut,
            where,
            "exit",
            last,
            "is after the data cut",
            endpoint.data_cut,
            "Censor at the cut, or move the cut.",
        )
    if entry and last:
        _refuse_unless(
            entry < last,
            where,
            "entry",
            entry,
            "is not before exit",
            last,
            "Nothing was observed: drop the row.",
        )
    for key, day in (("entry", entry), ("treatment", treated)):
        if day and not zero:
            raise CohortError(
                f"{where}: {key} {day}, but no day of time zero ({dates.time_zero} is empty), from"
                " which it would be counted. Fill it in, or drop the row."
            )
    entered = _months(zero, entry) or 0.0
    if entered >= time_months:
        raise CohortError(
            f"{where}: entry {entry} is {entered:.1f} months after time zero ({zero}), but"
            f" {endpoint.time} says {time_months:.1f} months: who has left cannot enter. Correct"
            " the dates, or drop the row: nothing was observed."
        )
    if treated and metastasis:
        _refuse_unless(
            treated >= metastasis,
            where,
            "treatment",
            treated,
            "is before metastasis",
            metastasis,
            "Correct the dates or drop the row.",
        )
    if zero:
        until = zero + dt.timedelta(days=dates.landmark_months * DAYS_A_MONTH)
        for slide_id, cell in sampled.items():
            day = _parsed(cell, f"{where}, slide {slide_id}: sampled_on")
            if day:
                words = "was taken after " + (
                    "the landmark" if dates.landmark_months else "time zero"
                )
                _refuse_unless(
                    day <= until,
                    where,
                    f"slide {slide_id}",
                    day,
                    words,
                    until,
                    "Remove the slide: it is not known then.",
                )
    shift = dates.landmark_months
    begun = _months(zero, treated)
    return Timing(
        entry_months=max(0.0, entered - shift),
        treatment_months=None if begun is None else begun - shift,
    )


def _refuse_unless(
    holds: bool, where: str, what: str, day: dt.date, words: str, other: dt.date, advice: str
) -> None:
    if not holds:
        raise CohortError(f"{where}: {what} {day} {words} ({other}). {advice}")


def _date(row: Mapping[str, str], column: str | None, where: str) -> dt.date | None:
    return _parsed(row[column], f"{where}: {column}") if column else None


def _parsed(cell: str, where: str) -> dt.date | None:
    if not cell:
        return None
    day = parse_date(cell)
    if day is None:
        raise CohortError(
            f"{where} = {cell!r} is not a date. Write yyyy-mm-dd or dd.mm.yyyy, or state"
            " dates.format."
        )
    return day


def _months(zero: dt.date | None, day: dt.date | None) -> float | None:
    return (day - zero).days / DAYS_A_MONTH if zero and day else None
