"""Every column that a study uses, as it was understood: its type, range or levels, and how many
cells are missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from pathoml.config import EndpointConfig, Study
from pathoml.store.tables import Table, parse_number
from pathoml.study.columns import (
    SAMPLED_ON,
    as_understood,
    columns_of_subgroups,
    kind_of,
    level,
    slides_as_understood,
)
from pathoml.study.event_codes import event_code, median_times, yes_or_no
from pathoml.study.timing import date_columns

CODES = ("censored", "event", "competing")
OF_SLIDES = ("specimen", "organ")
MOST_LEVELS = 6  # that are shown


@dataclass(frozen=True, kw_only=True)
class ColumnSummary:
    """A column as it was understood."""

    table: str  # name of the file
    column: str
    used_as: str  # id, time, event, centre, covariate, treatment, date, subgroup, or one of slides
    read_as: str  # id, number, category, date
    rows: int
    missing: int
    low: float | str | None = None  # smallest number, or first day
    high: float | str | None = None
    median: float | None = None
    levels: tuple[tuple[str, int], ...] = ()  # with how often each comes, the commonest first
    unit: str = ""
    beside: str = ""  # what else is said of the levels

    @property
    def holds(self) -> str:
        """The range or the levels, in a line.

        >>> ColumnSummary(table="p", column="sex", used_as="covariate", read_as="category", rows=3,
        ...     missing=0, levels=(("f", 2), ("m", 1))).holds
        'f 2, m 1'
        """
        if self.low is None:
            shown = [f"{name} {count}" for name, count in self.levels[:MOST_LEVELS]]
            more = f", ... ({len(self.levels)} levels)" if len(self.levels) > MOST_LEVELS else ""
            return ", ".join(shown) + more + self.beside
        if isinstance(self.low, str):
            return f"{self.low} to {self.high}"
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.low:g} to {self.high:g}{unit}, median {self.median:g}"

    def to_json(self) -> dict[str, Any]:
        """Return the fields, levels as a dictionary."""
        return asdict(self) | {"levels": dict(self.levels)}


def summarise_columns(
    study: Study, patients: Table, slides: Table | None
) -> tuple[ColumnSummary, ...]:
    """Return the columns that the study uses, those of patients first.

    Args:
        patients: as it was read.
        slides: as it was read; None where the study has none.

    Raises:
        CohortError: a column is ambiguous.
    """
    patients = as_understood(study, patients)
    config = study.config
    found = [_ends(patients, "patient_id", "id")]
    for endpoint in (config.endpoint, *config.secondary_endpoints):
        if {endpoint.time, endpoint.event} <= set(patients.columns):
            found += [
                _numbers(patients, endpoint.time, "time", unit=endpoint.unit),
                _events(patients, endpoint),
            ]
    found.append(_levels(patients, config.cohort.centre, "centre"))
    for name in config.cohort.covariates:
        if kind_of(patients, name, config.cohort.categorical) == "number":
            found.append(_numbers(patients, name, "covariate"))
        else:
            found.append(_levels(patients, name, "covariate", level))
    if config.cohort.treatment:
        found.append(_levels(patients, config.cohort.treatment, "treatment", _arm))
    found += [_ends(patients, name, "date") for name in date_columns(config.dates)]
    for name in columns_of_subgroups(patients, config.evaluate.subgroups):
        if kind_of(patients, name, ()) == "number":
            found.append(_numbers(patients, name, "subgroup"))
        else:
            found.append(_levels(patients, name, "subgroup"))
    if slides is not None:
        slides = slides_as_understood(slides, config.dates.format)
        found += [_ends(slides, "slide_id", "id"), _ends(slides, "patient_id", "id")]
        found += [_levels(slides, c, "slides") for c in OF_SLIDES if c in slides.columns]
        if "mpp" in slides.columns:
            found.append(_numbers(slides, "mpp", "slides"))
        if SAMPLED_ON in slides.columns:
            found.append(_ends(slides, SAMPLED_ON, "date"))
    return tuple(found)


def _meaning(endpoint: EndpointConfig) -> Callable[[str], str]:
    """Return what an event's cell is shown as: "event (dead)"."""

    def say(cell: str) -> str:
        code = event_code(cell, endpoint)
        return f"{'?' if code is None else CODES[code]} ({cell})"

    return say


def _events(table: Table, endpoint: EndpointConfig) -> ColumnSummary:
    medians = median_times(table, endpoint)
    said = ", ".join(f"{median:g} {CODES[code]}" for code, median in medians.items())
    return replace(
        _levels(table, endpoint.event, "event", _meaning(endpoint)),
        beside=f"; median {endpoint.unit} {said}" if said else "",
    )


def _arm(cell: str) -> str:
    arm = yes_or_no(cell)
    return f"{'?' if arm is None else ('not treated', 'treated')[arm]} ({cell})"


def _filled(table: Table, name: str) -> Sequence[str]:
    return [row[name] for row in table.rows if row[name]]


def _numbers(table: Table, name: str, used_as: str, *, unit: str = "") -> ColumnSummary:
    cells = _filled(table, name)
    values = [n for cell in cells if (n := parse_number(cell)) is not None]
    return ColumnSummary(
        table=table.path.name,
        column=name,
        used_as=used_as,
        read_as="number",
        rows=len(table.rows),
        missing=len(table.rows) - len(cells),
        low=min(values, default=None),
        high=max(values, default=None),
        median=float(np.median(values)) if values else None,
        unit=unit,
    )


def _levels(
    table: Table, name: str, used_as: str, shown: Callable[[str], str] = str
) -> ColumnSummary:
    cells = _filled(table, name)
    counts = sorted(Counter(shown(cell) for cell in cells).items(), key=lambda x: (-x[1], x[0]))
    return ColumnSummary(
        table=table.path.name,
        column=name,
        used_as=used_as,
        read_as="category",
        rows=len(table.rows),
        missing=len(table.rows) - len(cells),
        levels=tuple(counts),
    )


def _ends(table: Table, name: str, used_as: str) -> ColumnSummary:
    """Return the first and the last of ids or dates."""
    cells = _filled(table, name)
    return ColumnSummary(
        table=table.path.name,
        column=name,
        used_as=used_as,
        read_as=used_as,
        rows=len(table.rows),
        missing=len(table.rows) - len(cells),
        low=min(cells, default=None),
        high=max(cells, default=None),
    )
