"""scores.csv and the tables beside it: one row per patient; baselines, and one column for each way
to score the patients (fold, seed).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from pathoml.errors import StoreError
from pathoml.store.files import atomic_path
from pathoml.store.tables import parse_number, read_table, write_table
from pathoml.types import NOTICE, Array, Cohort, Floats, RiskScore

SEEDS = "seed_scores.csv"  # score_sd by each seed alone
SCORE_COLUMNS = tuple(RiskScore.__dataclass_fields__)
DESCRIPTIONS = {
    "patient_id": ("patient, as in patients.csv", ""),
    "centre": ("hospital, as in patients.csv", ""),
    "log_risk": (
        (
            "centred log-risk, mean over the models that did not see the patient; higher = earlier"
            " progression"
        ),
        "log hazard",
    ),
    "score_sd": ("the score in units of the out-of-fold SD; use this one in a Cox model", "SD"),
    "score_type": (
        (
            "oof = out of fold, loco = leave one centre out, locked = frozen model on new patients,"
            " insample = never for inference"
        ),
        "",
    ),
    "fold": ("the patient's fold in each repeat, separated by semicolons", ""),
    "n_repeats": ("number of partitions the score is averaged over", ""),
    "repeat_sd": (
        "SD of the patient's centred log-risk between repeats; empty for one repeat",
        "log hazard",
    ),
    "n_slides": ("slides in the patient's bag", ""),
    "n_tiles": ("tiles in the patient's bag", ""),
    "model_sha256": ("hash over the files of the models that made this row", ""),
    "splits_sha256": ("hash of splits.json", ""),
    "data_cut": ("the day that follow-up was closed, from study.yaml", "yyyy-mm-dd"),
    "score_group": (
        "high or low by the median of each model's training patients, majority over repeats",
        "",
    ),
}


def write_columns(
    path: Path, patient_ids: Sequence[str], scores: Mapping[str, Array], *, prefix: str
) -> None:
    """Write (B,) scores as columns called `prefix` + key."""
    with atomic_path(path) as temporary:
        rows = [
            [p, *(float(values[b]) for values in scores.values())]
            for b, p in enumerate(patient_ids)
        ]
        write_table(temporary, ("patient_id", *(prefix + name for name in scores)), rows)


def read_columns(path: Path, patient_ids: Sequence[str], prefix: str) -> dict[str, Array] | None:
    """Return the (B,) scores of these patients in this order by key; None if there is no such file
    or column.

    Raises:
        StoreError: a patient is missing, or a cell is no number.
    """
    if not path.exists():
        return None
    rows = {row["patient_id"]: row for row in read_table(path).rows}
    if set(patient_ids) - set(rows):
        raise StoreError(
            f"{path} lacks patient {min(set(patient_ids) - set(rows))}. Run `pathoml train` again."
        )
    columns = [name for name in rows[patient_ids[0]] if name.startswith(prefix)]
    return {
        name.removeprefix(prefix): np.array([_number(rows[p][name], path, p) for p in patient_ids])
        for name in columns
    } or None


def _number(cell: str, path: Path, patient_id: str) -> float:
    value = parse_number(cell)
    if value is None:
        raise StoreError(
            f"{path}: patient {patient_id} has {cell!r}, expected a number. Run `pathoml train`"
            " again."
        )
    return value


def write_scores(folder: Path, scores: Sequence[RiskScore]) -> None:
    """Write scores.csv, its dictionary, and the same table for Stata and SPSS."""
    import pandas as pd
    import pyreadstat

    rows = [[getattr(score, column) for column in SCORE_COLUMNS] for score in scores]
    with atomic_path(folder / "scores.csv") as path:
        write_table(path, SCORE_COLUMNS, rows)
    with atomic_path(folder / "scores.dictionary.csv") as path:
        table = [(name, *DESCRIPTIONS[name]) for name in SCORE_COLUMNS]
        write_table(path, ("column", "meaning", "unit"), [*table, ("notice", NOTICE, "")])
    frame = pd.DataFrame(rows, columns=list(SCORE_COLUMNS))
    labels = {
        name: DESCRIPTIONS[name][0][:79] for name in SCORE_COLUMNS
    }  # Stata holds 80 characters
    writers: tuple[tuple[str, Callable[..., None]], ...] = (
        ("scores.dta", pyreadstat.write_dta),
        ("scores.sav", pyreadstat.write_sav),
    )
    for name, write in writers:
        with atomic_path(folder / name) as path:
            write(frame, str(path), column_labels=labels)


def write_baselines(path: Path, cohort: Cohort, ridge: Floats, *, clinical: Floats | None) -> None:
    columns = ("patient_id", "ridge_cox", "clinical")
    values = clinical if clinical is not None else np.full(len(cohort.patients), np.nan)
    with atomic_path(path) as temporary:
        write_table(
            temporary,
            columns,
            [(p, float(r), float(c)) for p, r, c in zip(cohort.patient_ids, ridge, values)],
        )
