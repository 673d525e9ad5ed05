"""What is odd in the tables of a study and yet may be right: said by `check`, refused by nobody."""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from pathoml.config import EndpointConfig, Study
from pathoml.store.dates import parse_date
from pathoml.store.tables import FORMULA, Table, parse_number
from pathoml.study.columns import (
    SAMPLED_ON,
    as_understood,
    kind_of,
    level,
    slides_as_understood,
)
from pathoml.study.event_codes import event_code, median_times
from pathoml.study.file_names import same_file_elsewhere
from pathoml.study.patient_ids import near_ids, near_twins
from pathoml.study.timing import UNITS_A_MONTH, date_columns

CENSORSHIP = re.compile(  # names of columns in which 1 may mean that nothing happened
    r"(?<![a-zäöü])([cz]ens|(alive|living|survived|lebt)(?![a-z]))|free$", re.IGNORECASE
)
SHORTENED = re.compile(r"^\d([.,]\d+)?E\+\d+$")
AGE = re.compile(r"(?<![a-z])(age|alter|âge|edad|leeftijd|età)(?![a-z])", re.IGNORECASE)
OLDEST = 120  # years
NINES = (9, 88, 99, 777, 888, 999, 8888, 9999, 99999)  # spellings of "not known"
AGES = (88,)  # of those, ages that a patient may have: odd only where they come again
BELOW_ZERO = (-1, -7, -8, -9, -77, -88, -99, -777, -888, -999, -9999)
LARGEST_OF_CODES = 4  # beside which 9 stands for "not known"
APART = 0.95  # a spelling of "not known" stands apart: the next is below this share of it
LONGEST_MONTHS = 60 * 12  # nobody is followed so long
LONG_MEDIAN_MONTHS = 10 * 12
SHORTEST_MONTHS = 3  # of the longest follow-up
FEWEST_EACH = 5  # with and without an event, to compare their times
MANY_LEVELS = 12
FIRST_DAY = dt.date(1950, 1, 1)
MOST_NAMED = 5


def odd_things(study: Study, patients: Table, slides: Table | None) -> list[str]:
    """Return a sentence for everything that is odd in the tables, with what to look at.

    Args:
        patients: as it was read.
        slides: as it was read; None where the study has none.
    """
    config = study.config
    said = [
        f"{table.path.name} is read, and {table.path.stem}.xlsx beside it is not"
        for table in (patients, slides)
        if table and table.path.suffix == ".csv" and table.path.with_suffix(".xlsx").exists()
    ]
    said += [
        *(note for table in (patients, slides) if table for note in _odd_notes(table)),
        *_odd_ids(patients, slides),
    ]
    patients = as_understood(study, patients)
    for endpoint in (config.endpoint, *config.secondary_endpoints):
        if {endpoint.time, endpoint.event} <= set(patients.columns):
            said += _odd_outcome(patients, endpoint)
    for name in config.cohort.covariates:
        if kind_of(patients, name, config.cohort.categorical) == "number":
            said += _odd_numbers(patients, name)
        else:
            said += _odd_levels(patients, name, stated=name in config.cohort.categorical)
    said += _odd_centres(patients, config.cohort.centre)
    said += [s for name in date_columns(config.dates) for s in _odd_dates(patients, name)]
    if slides is not None and SAMPLED_ON in slides.columns:
        said += _odd_dates(slides_as_understood(slides, config.dates.format), SAMPLED_ON)
    return said


def _odd_notes(table: Table) -> list[str]:
    mark = "WARNING "
    return [
        f"{table.path.name}: {note.removeprefix(mark)}"
        for note in table.notes
        if note.startswith(mark)
    ]


def _odd_ids(patients: Table, slides: Table | None) -> list[str]:
    said = []
    ids = [row["patient_id"] for row in patients.rows if row["patient_id"]]
    for one, sentence in near_twins(ids).items():
        said.append(f"{patients.path.name}: patient {one!r} has a near twin.{sentence}")
    if slides is not None:
        twins = same_file_elsewhere(row["slide_id"] for row in slides.rows if row["slide_id"])
        said += [
            f"{slides.path.name}: slides {other!r} and {one!r} are one file where small and large"
            " letters are alike (Windows, macOS, most network drives): one would take the other's"
            " place there. Call one of them otherwise"
            for one, other in twins.items()
        ]
        of_slides = {row["patient_id"] for row in slides.rows}
        near = near_ids([i for i in ids if i not in of_slides], of_slides - set(ids))
        said += [f"Patient {one!r} has no slide.{reason}" for one, reason in near.items()]
    short = [one for one in ids if SHORTENED.match(one)]
    if short:
        said.append(
            f"{patients.path.name}: {_named(short)} looks like a number that a spreadsheet"
            " shortened. Format the column as text, and enter the ids again"
        )
    run = [one for one in ids if FORMULA.match(one) and parse_number(one) is None]
    if run:
        said.append(
            f"{patients.path.name}: {_named(run)} would run as a formula in a spreadsheet; the"
            " tables of a run have an apostrophe in front of such ids, which pathoml takes off"
            " again and other programs do not"
        )
    return said


def _odd_outcome(table: Table, endpoint: EndpointConfig) -> list[str]:
    said = []
    stated = (*endpoint.event_codes, *endpoint.censored_codes, *endpoint.competing_codes)
    if CENSORSHIP.search(endpoint.event) and not stated:
        said.append(
            f"column {endpoint.event!r} is read as 1 = event, and its name says censoring, or that"
            " nothing happened. If 1 means censored there, state endpoint.event_codes: [0] and"
            " endpoint.censored_codes: [1]"
        )
    codes = Counter(event_code(row[endpoint.event], endpoint) for row in table.rows)
    medians = median_times(table, endpoint)
    if min(codes[0], codes[1]) >= FEWEST_EACH and medians[1] > medians[0]:
        said.append(
            f"patients with an event by {endpoint.event!r} were followed longer (median"
            f" {medians[1]:g} {endpoint.unit}) than those censored ({medians[0]:g}): are the codes"
            " the other way round? See endpoint.event_codes"
        )
    found = [parse_number(row[endpoint.time]) for row in table.rows]
    times = np.array([time for time in found if time is not None], dtype=np.float64)
    said += _odd_numbers(table, endpoint.time)
    if len(times):
        months = times / UNITS_A_MONTH[endpoint.unit]
        if months.max() > LONGEST_MONTHS or np.median(months) > LONG_MEDIAN_MONTHS:
            said.append(
                f"{endpoint.time} in {endpoint.unit} is {times.max():g} at most, median"
                f" {np.median(times):g}: {months.max() / 12:.0f} and {np.median(months) / 12:.0f}"
                " years of follow-up. Is endpoint.unit right?"
            )
        elif months.max() < SHORTEST_MONTHS:
            said.append(
                f"{endpoint.time} in {endpoint.unit} is {times.max():g} at most, which is"
                f" {months.max():.1f} months of follow-up. Is endpoint.unit right?"
            )
    return said


def _odd_numbers(table: Table, name: str) -> list[str]:
    """Numbers that stand for "not known": -9 among ages, 999 months."""
    numbers = [n for row in table.rows if (n := parse_number(row[name])) is not None]
    values = sorted(set(numbers))
    if len(values) < 2:
        return []
    odd = [v for v in values if v in BELOW_ZERO and all(w >= 0 for w in values if w != v)]
    codes = [v for v in values if v not in odd]
    whole = all(v.is_integer() for v in codes)
    while len(codes) > 1 and codes[-1] in NINES and codes[-2] < APART * codes[-1]:
        if codes[-1] == NINES[0] and not (whole and codes[-2] <= LARGEST_OF_CODES):
            break
        if codes[-1] in AGES and numbers.count(codes[-1]) == 1:
            break
        odd.append(codes.pop())
    if AGE.search(name) and values[-1] > OLDEST and values[-1] not in odd:
        odd.append(values[-1])
    return [
        f"{table.path.name}: {name} = {value:g} in {_lines(table, name, value)}: does it stand for"
        " a missing value? Then name it in cohort.missing"
        for value in odd
    ]


def _odd_levels(table: Table, name: str, *, stated: bool) -> list[str]:
    said = []
    levels = Counter(level(row[name]) for row in table.rows if row[name])
    words = [one for one in levels if parse_number(one) is None]
    if len(words) < len(levels) and words and not stated:
        said.append(
            f"{table.path.name}: {name} holds numbers and {_named(words)}, and is read as a"
            f" category of {len(levels)} levels. Correct the cells, or state it in"
            " cohort.categorical"
        )
    if len(levels) > MANY_LEVELS:
        said.append(
            f"{table.path.name}: {name} is a category of {len(levels)} levels in"
            f" {levels.total()} patients, which no model can learn"
        )
    return said + _near_levels(table, name, levels)


def _near_levels(table: Table, name: str, levels: Mapping[str, int]) -> list[str]:
    by_key: dict[str, list[str]] = {}
    for one in levels:
        key = " ".join(unicodedata.normalize("NFKC", one).casefold().split())
        by_key.setdefault(key, []).append(one)
    return [
        f"{table.path.name}: {name} has {' and '.join(map(repr, sorted(group)))} as different"
        " levels. Write them alike if they are one"
        for group in by_key.values()
        if len(group) > 1
    ]


def _odd_centres(table: Table, name: str) -> list[str]:
    empty = sum(not row[name] for row in table.rows)
    said = []
    if empty:
        said.append(
            f"{table.path.name}: {name} is empty in {empty} of {len(table.rows)} rows; the centre"
            " of these patients is 'unknown'"
        )
    return said + _near_levels(table, name, Counter(row[name] for row in table.rows if row[name]))


def _odd_dates(table: Table, name: str) -> list[str]:
    today = dt.date.today()
    days = [(line, parse_date(row[name])) for line, row in table.numbered() if row[name]]
    odd = [(line, d) for line, d in days if d is not None and not FIRST_DAY <= d <= today]
    if not odd:
        return []
    line, day = odd[0]
    more = f" and {len(odd) - 1} more" if len(odd) > 1 else ""
    return [
        f"{table.path.name} line {line}: {name} = {day}{more} is before {FIRST_DAY.year} or after"
        " today"
    ]


def _lines(table: Table, name: str, value: float) -> str:
    lines = [str(line) for line, row in table.numbered() if parse_number(row[name]) == value]
    shown = ", ".join(lines[:MOST_NAMED]) + (", ..." if len(lines) > MOST_NAMED else "")
    return f"{'line' if len(lines) == 1 else 'lines'} {shown}"


def _named(values: Sequence[str]) -> str:
    more = ", ..." if len(values) > MOST_NAMED else ""
    return ", ".join(map(repr, values[:MOST_NAMED])) + more
