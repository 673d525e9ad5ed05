"""Start-stop rows: what a patient was from when to when, for Cox models with delayed entry and a
treatment that begins on the way.

A patient who was treated later counts as untreated until then; counting them as treated from time
zero would credit the treatment with the time they had to live to receive it.

Source: Andersen & Gill, Ann Stat 10 (1982) 1100-1120; R survival::coxph with Surv(start, stop,
event).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pathoml.errors import CohortError
from pathoml.store.files import atomic_path
from pathoml.store.tables import write_table
from pathoml.survival.cox import fit_cox, hazard_ratio
from pathoml.survival.estimate import Estimate, widened_ratio
from pathoml.survival.not_estimable import or_not_estimable
from pathoml.types import Cohort, Floats

COLUMNS = ("patient_id", "centre", "start_months", "stop_months", "event", "treated", "score_sd")


@dataclass(frozen=True, kw_only=True)
class StartStop:
    """One stretch of a patient's follow-up."""

    patient: int  # row of the cohort
    start_months: float
    stop_months: float
    event: int  # at stop: 0 none, 1 event, 2 competing event
    treated: int


def start_stop_rows(cohort: Cohort) -> list[StartStop]:
    """Return one row per patient, two where the treatment begins under observation.

    Raises:
        CohortError: a patient's entry is not before their event or last visit.
    """
    rows = []
    for index, patient in enumerate(cohort.patients):
        start, stop, begun = patient.entry_months, patient.time_months, patient.treatment_months
        if start >= stop:
            raise CohortError(
                f"Patient {patient.patient_id} enters at {start:g} months and leaves at {stop:g}."
                " Correct the dates."
            )
        if begun is not None and start < begun < stop:
            rows.append(
                StartStop(patient=index, start_months=start, stop_months=begun, event=0, treated=0)
            )
            rows.append(
                StartStop(
                    patient=index,
                    start_months=begun,
                    stop_months=stop,
                    event=patient.event,
                    treated=1,
                )
            )
        else:
            treated = int(begun is not None and begun <= start)
            rows.append(
                StartStop(
                    patient=index,
                    start_months=start,
                    stop_months=stop,
                    event=patient.event,
                    treated=treated,
                )
            )
    return rows


def write_start_stop(path: Path, cohort: Cohort, score: Floats) -> None:
    """Write runs/RUN/start_stop.csv: our columns, then the covariates of study.yaml."""
    names = [n for n in cohort.patients[0].covariates if n not in COLUMNS]
    table = []
    for row in start_stop_rows(cohort):
        patient = cohort.patients[row.patient]
        own = (
            patient.patient_id,
            patient.centre,
            row.start_months,
            row.stop_months,
            row.event,
            row.treated,
            float(score[row.patient]),
        )
        table.append((*own, *(patient.covariates[n] for n in names)))
    with atomic_path(path) as temporary:
        write_table(temporary, (*COLUMNS, *names), table)


def timing_section(cohort: Cohort, score: Floats, *, widening: float = 1.0) -> dict[str, Any]:
    """Return what metrics.json says of timing: how many enter late or are treated on the way, and
    the models that respect it. n are patients; rows are theirs in start_stop.csv.

    Args:
        widening: of the score's error where these patients trained it.
    """
    rows = start_stop_rows(cohort)
    entry = cohort.entry_months
    on_the_way = len(rows) - len(cohort.patients)
    content: dict[str, Any] = {
        "n": len(cohort.patients),
        "events": int(cohort.event.sum()),
        "rows": len(rows),
        "delayed_entry": 0 if entry is None else int((entry > 0).sum()),
        "treated_under_observation": on_the_way,
        "treatments": [vars(start) for start in cohort.treatment_starts],
    }
    if entry is not None:
        content |= {
            "first_entry_months": float(entry.min()),
            "median_entry_months": float(np.median(entry[entry > 0])),
        }
    if entry is not None or on_the_way:
        content["hazard_ratio_per_sd"] = or_not_estimable(
            lambda: _model(rows, score, "score_sd", widening)
        )
    if on_the_way:
        content["treatment_hazard_ratio"] = or_not_estimable(lambda: _model(rows, score, "treated"))
    return content


def _model(
    rows: list[StartStop], score: Floats, wanted: str, widening: float = 1.0
) -> dict[str, Any]:
    """Return the hazard ratio of one column of Surv(start, stop, event) ~ score_sd [+ treated]."""
    columns = {"score_sd": np.array([score[r.patient] for r in rows])}
    part = intervals(rows)
    if np.ptp(part.treated) > 0:
        columns["treated"] = part.treated
    fit = fit_cox(
        np.column_stack(list(columns.values())),
        part.stop_months,
        part.event,
        entry_months=part.start_months,
        names=list(columns),
    )
    ratio = widened_ratio(hazard_ratio(fit, list(columns).index(wanted)), widening)
    ratio = of_patients(ratio, rows)
    return {**ratio.to_json(), "rows": len(rows)}


@dataclass(frozen=True, kw_only=True)
class Intervals:
    """Start-stop rows as columns, (R,) each."""

    patient: npt.NDArray[np.int64]
    start_months: Floats
    stop_months: Floats
    event: npt.NDArray[np.bool_]
    treated: Floats


def intervals(rows: Sequence[StartStop]) -> Intervals:
    """Return the rows as columns; a competing event is a censoring."""
    return Intervals(
        patient=np.array([r.patient for r in rows]),
        start_months=np.array([r.start_months for r in rows]),
        stop_months=np.array([r.stop_months for r in rows]),
        event=np.array([r.event == 1 for r in rows]),
        treated=np.array([float(r.treated) for r in rows]),
    )


def of_patients(estimate: Estimate, rows: Sequence[StartStop]) -> Estimate:
    """Return an estimate from start-stop rows whose n is the patients, not their rows."""
    return replace(estimate, n=len({r.patient for r in rows}))
