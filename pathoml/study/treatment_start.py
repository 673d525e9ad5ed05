"""When a treatment began: at time zero, or under observation, where only those get it who live to.

A covariate of a model from time zero must be known at time zero. A treatment that begins later is
not: as a fixed covariate it would credit itself with the months that the treated had to live to
receive it (immortal time). Here is counted who began when; such a column is left out of the
clinical model, and its effect is that of start-stop rows (evaluation/start_stop.py). With a
landmark, the fixed covariate is the treatment that had begun by then.

Source: Suissa, Am J Epidemiol 167 (2008) 492-499; Anderson, J Clin Oncol 1 (1983) 710-719.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from pathoml.config import StudyConfig
from pathoml.errors import CohortError
from pathoml.types import Array, Patient, TreatmentStart

# of the patients, for a covariate that nobody called the treatment to be taken for it
AGREEMENT = 0.95
ReadArms = Callable[[Sequence[object], str], Array]


def treatment_starts(
    patients: Sequence[Patient], config: StudyConfig, read_arms: ReadArms
) -> tuple[tuple[Patient, ...], tuple[TreatmentStart, ...]]:
    """Return the patients, and for each column that holds a treatment when it began.

    With dates.landmark_months, the cells of a dated column become 1 where the treatment had begun
    by the landmark, else 0, and empty where a treated patient has no date.

    Args:
        patients: of the analysis, with times from the landmark.
        config: names the columns.
        read_arms: (cells, column) -> (B,) 1, 0 or NaN; raises CohortError for other cells.
    """
    found, landmark = [], config.dates.landmark_months > 0
    changed = tuple(patients)
    for column in _columns(patients, config, read_arms):
        arms = _arms(patients, column, read_arms)
        if arms is None:
            continue
        start = _start(patients, column, arms, config)
        if landmark and start.dated:
            changed = tuple(
                replace(p, covariates={**p.covariates, column: cell})
                for p, cell in zip(changed, _by_landmark(patients, arms))
            )
            start = replace(start, by_landmark=True)
        found.append(start)
    return changed, tuple(found)


def _columns(patients: Sequence[Patient], config: StudyConfig, read_arms: ReadArms) -> list[str]:
    """Return the treatment of study.yaml, and covariates that are 1 just where there is a date."""
    named = config.cohort.treatment
    columns = [named] if named else []
    dated = _dated(patients)
    if not config.dates.treatment or not dated.any() or dated.all():
        return columns
    for name in config.cohort.covariates:
        arms = None if name == named else _arms(patients, name, read_arms)
        if arms is not None and np.mean(arms == dated) >= AGREEMENT:
            columns.append(name)
    return columns


def _arms(patients: Sequence[Patient], column: str, read_arms: ReadArms) -> Array | None:
    try:
        return read_arms([p.covariates.get(column) for p in patients], column)
    except CohortError:
        return None  # said where the treatment is asked for


def _dated(patients: Sequence[Patient]) -> npt.NDArray[np.bool_]:
    return np.array([p.treatment_months is not None for p in patients], dtype=bool)


def _start(
    patients: Sequence[Patient], column: str, arms: Array, config: StudyConfig
) -> TreatmentStart:
    treated, untreated, dated = arms == 1, arms == 0, _dated(patients)
    # dates that the untreated have as often are those of something else
    is_its_date = bool(
        config.dates.treatment
        and dated[treated].any()
        and not (untreated.any() and dated[untreated].mean() >= dated[treated].mean())
    )
    if not is_its_date:
        return TreatmentStart(column=column, dated=False, treated=int(treated.sum()))
    begun = np.array([p.treatment_months if d else np.nan for p, d in zip(patients, dated)], float)
    entry = np.array([p.entry_months for p in patients])
    stop = np.array([p.time_months for p in patients])
    later = treated & dated & (begun > entry)
    return TreatmentStart(
        column=column,
        dated=True,
        treated=int(treated.sum()),
        later=int(later.sum()),
        after_follow_up=int((later & (begun >= stop)).sum()),
        undated=int((treated & ~dated).sum()),
        contradicted=int((untreated & dated & (begun < stop)).sum()),
        median_months=float(np.median(begun[later])) if later.any() else None,
    )


def _by_landmark(patients: Sequence[Patient], arms: Array) -> list[float | None]:
    cells: list[float | None] = []
    for patient, arm in zip(patients, arms):
        begun = patient.treatment_months
        if begun is not None:
            cells.append(float(begun <= 0))
        else:
            cells.append(0.0 if arm == 0 else None)
    return cells
