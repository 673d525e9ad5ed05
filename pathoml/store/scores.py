"""scores.csv and the tables beside it: one row per patient; baselines, and one column for each way
to score the patients (fold, seed).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from pathoml.errors import CohortError, StoreError
from pathoml.store.files import atomic_path, write_bytes
from pathoml.store.proofs import refuse_other_table
from pathoml.store.tables import Table, parse_number, read_own_table, write_table
from pathoml.types import NOTICE, Array, Cohort, Floats, RiskScore

SCORES = "scores.csv"
SCORES_DICTIONARY = "scores.dictionary.csv"
SCORES_STATA = "scores.dta"
SCORES_SPSS = "scores.sav"
BASELINES = "baselines.csv"  # out-of-fold scores of the models that the image score is held against
NESTED = "nested_scores.csv"  # training patients scored by inner models, for fair coefficients
SEEDS = "seed_scores.csv"  # score_sd by each seed alone
REPEATS = "repeat_scores.csv"  # every partition's own scores: what C is counted on
SCORE_COLUMNS = tuple(RiskScore.__dataclass_fields__)
DESCRIPTIONS = {
    "patient_id": ("patient, as in patients.csv", ""),
    "centre": ("hospital, as in patients.csv", ""),
    "log_risk": (
        (
            "centred log-risk, mean over the models that did not see the patient; higher = earlier"
            " event"
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


@dataclass(frozen=True, kw_only=True)
class ScoreTable:
    """scores.csv by column, an entry per patient in its order; the fields are RiskScore's."""

    patient_ids: tuple[str, ...]
    centre: tuple[str, ...]
    log_risk: Array  # (B,) higher = earlier event
    score_sd: Array  # (B,)
    score_type: tuple[str, ...]
    fold: tuple[str, ...]
    n_repeats: Array  # (B,)
    repeat_sd: Array  # (B,) NaN for one repeat
    n_slides: Array  # (B,)
    n_tiles: Array  # (B,)
    model_sha256: tuple[str, ...]
    splits_sha256: tuple[str, ...]
    data_cut: tuple[str, ...]
    score_group: tuple[str, ...]

    @property
    def percentile(self) -> Array:
        """(B,) share of these patients with the same or a lower log-risk, 0-100."""
        not_above = np.searchsorted(np.sort(self.log_risk), self.log_risk, side="right")
        return 100 * (not_above / len(self.log_risk))

    @property
    def kind(self) -> str:
        """What the scores are taken together: of a table in which some are in-sample, all are."""
        return "insample" if "insample" in self.score_type else self.score_type[0]

    @property
    def vector_of(self) -> str:
        """What the scores had one vector of (`vector_of_counts`)."""
        return vector_of_counts(self.n_tiles, self.n_slides)


@dataclass(frozen=True, kw_only=True)
class RepeatTable:
    """repeat_scores.csv: who was in which fold of each of R partitions, and how the models scored
    them that did not see them. Scores are comparable within a fold only.
    """

    repeats: tuple[str, ...]
    fold: npt.NDArray[np.str_]  # (R, B)
    scores: Mapping[str, Array]  # (R, B) by name: log_risk, ridge_cox, clinical, "seed 1", ...

    def of_patients(self, rows: npt.ArrayLike) -> RepeatTable:
        """Return the table of some patients: their indices, in any order, or (B,) who they are."""
        chosen = np.asarray(rows)
        return replace(
            self,
            fold=self.fold[:, chosen],
            scores={name: values[:, chosen] for name, values in self.scores.items()},
        )


def vector_of_counts(n_tiles: Array, n_slides: Array) -> str:
    """Return what had one vector: "slide", "patient" where a patient has fewer vectors than slides,
    or "" where some slide had several tiles, or none was counted.

    Args:
        n_tiles: (B,) of each patient.
        n_slides: (B,).

    >>> vector_of_counts(np.array([1, 2]), np.array([1, 2]))
    'slide'
    >>> vector_of_counts(np.array([1, 1]), np.array([1, 2]))
    'patient'
    >>> vector_of_counts(np.array([900, 1]), np.array([1, 1]))
    ''
    """
    if not len(n_tiles) or (n_tiles < 1).any() or (n_tiles > n_slides).any():
        return ""
    return "patient" if (n_tiles < n_slides).any() else "slide"


MAY_BE_EMPTY = ("repeat_sd",)  # one repeat has no SD between repeats


def read_scores(run_folder: Path) -> ScoreTable:
    """Read runs/RUN/scores.csv.

    Raises:
        StoreError: it is missing, unreadable or empty, lacks a column, names a patient twice, or
            holds a cell that should be a number and is not.
    """
    path = run_folder / SCORES
    if not path.is_file():
        raise StoreError(f"{path} is missing. Run `pathoml train`, or pathoml.train(study), first.")
    try:
        table = read_own_table(path)
        table.require(SCORE_COLUMNS)
    except CohortError as error:  # this table is not one that people fill in
        raise StoreError(f"{path}: {error} Or run `pathoml train` again.") from error
    ids = tuple(row["patient_id"] for row in table.rows)
    if not ids:
        raise StoreError(f"{path} has no row. Delete it and run `pathoml train`.")
    if len(set(ids)) < len(ids):
        twice = next(p for p in ids if ids.count(p) > 1)
        raise StoreError(f"{path} has two rows for patient {twice}. Run `pathoml train` again.")

    def numbers(name: str) -> Array:
        return np.array([_score_number(table, row, name) for row in table.rows])

    def texts(name: str) -> tuple[str, ...]:
        return tuple(row[name] for row in table.rows)

    return ScoreTable(
        patient_ids=ids,
        centre=texts("centre"),
        log_risk=numbers("log_risk"),
        score_sd=numbers("score_sd"),
        score_type=texts("score_type"),
        fold=texts("fold"),
        n_repeats=numbers("n_repeats"),
        repeat_sd=numbers("repeat_sd"),
        n_slides=numbers("n_slides"),
        n_tiles=numbers("n_tiles"),
        model_sha256=texts("model_sha256"),
        splits_sha256=texts("splits_sha256"),
        data_cut=texts("data_cut"),
        score_group=texts("score_group"),
    )


def _score_number(table: Table, row: Mapping[str, str], column: str) -> float:
    cell = row[column]
    value = parse_number(cell)
    if value is None and cell == "" and column in MAY_BE_EMPTY:
        return float("nan")
    if value is None or not math.isfinite(value):
        raise StoreError(
            f"{table.path}: patient {row['patient_id']} has {column} = {cell!r}, expected a number."
            " Run `pathoml train` again."
        )
    return value


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
        StoreError: a patient is missing, or a cell is not a number.
    """
    if not path.exists():
        return None
    rows = {row["patient_id"]: row for row in read_own_table(path).rows}
    if set(patient_ids) - set(rows):
        raise StoreError(
            f"{path} lacks patient {min(set(patient_ids) - set(rows))}. Run `pathoml train` again."
        )
    columns = [name for name in rows[patient_ids[0]] if name.startswith(prefix)]
    return {
        name.removeprefix(prefix): np.array([_number(rows[p][name], path, p) for p in patient_ids])
        for name in columns
    } or None


def write_repeats(path: Path, patient_ids: Sequence[str], table: RepeatTable) -> None:
    """Write repeat_scores.csv: a row for each patient and partition; a column for each score."""
    rows = [
        [p, repeat, table.fold[r, b], *(float(values[r, b]) for values in table.scores.values())]
        for r, repeat in enumerate(table.repeats)
        for b, p in enumerate(patient_ids)
    ]
    with atomic_path(path) as temporary:
        write_table(temporary, ("patient_id", "repeat", "fold", *table.scores), rows)


def read_repeats(path: Path, patient_ids: Sequence[str]) -> RepeatTable | None:
    """Read repeat_scores.csv for these patients in this order; None if there is no such file.

    Raises:
        StoreError: a patient is missing from a partition, or a cell is not a number.
    """
    if not path.exists():
        return None
    table = read_own_table(path)
    names = [c for c in table.columns if c not in ("patient_id", "repeat", "fold")]
    rows = {(row["repeat"], row["patient_id"]): row for row in table.rows}
    repeats = tuple(dict.fromkeys(row["repeat"] for row in table.rows))
    for wanted in ((r, p) for r in repeats for p in patient_ids):
        if wanted not in rows:
            raise StoreError(
                f"{path} lacks patient {wanted[1]} in {wanted[0]}. Run `pathoml train` again."
            )
    return RepeatTable(
        repeats=repeats,
        fold=np.array([[rows[r, p]["fold"] for p in patient_ids] for r in repeats], dtype=str),
        scores={
            name: np.array(
                [[_number(rows[r, p][name], path, p) for p in patient_ids] for r in repeats]
            )
            for name in names
        },
    )


def _number(cell: str, path: Path, patient_id: str) -> float:
    value = parse_number(cell)
    if value is None:
        raise StoreError(
            f"{path}: patient {patient_id} has {cell!r}, expected a number. Run `pathoml train`"
            " again."
        )
    return value


def write_scores(folder: Path, scores: Sequence[RiskScore], *, endpoint: str = "") -> None:
    """Write scores.csv, its dictionary, and the same table for Stata and SPSS.

    Args:
        endpoint: whose event the scores are of, for the dictionary.
    """
    import pandas as pd
    import pyreadstat

    rows = [[getattr(score, column) for column in SCORE_COLUMNS] for score in scores]
    with atomic_path(folder / SCORES) as path:
        write_table(path, SCORE_COLUMNS, rows)
    with atomic_path(folder / SCORES_DICTIONARY) as path:
        table = [(name, *DESCRIPTIONS[name]) for name in SCORE_COLUMNS]
        notes = [("endpoint", endpoint, "")] if endpoint else []
        write_table(path, ("column", "meaning", "unit"), [*table, *notes, ("notice", NOTICE, "")])
    frame = pd.DataFrame(rows, columns=list(SCORE_COLUMNS))
    labels = {
        name: DESCRIPTIONS[name][0][:79] for name in SCORE_COLUMNS
    }  # Stata holds 80 characters
    formats: tuple[tuple[str, Callable[..., None], Callable[..., Any]], ...] = (
        (SCORES_STATA, pyreadstat.write_dta, pyreadstat.read_dta),
        (SCORES_SPSS, pyreadstat.write_sav, pyreadstat.read_sav),
    )
    with TemporaryDirectory(prefix="pathoml-scores-") as scratch:
        for name, write, read in formats:  # which says nothing of a disk that is full
            made = Path(scratch) / name
            write(frame, str(made), column_labels=labels)
            refuse_other_table(made, frame=frame, read=read)
            write_bytes(folder / name, made.read_bytes())


def write_baselines(
    path: Path,
    cohort: Cohort,
    *,
    ridge: Floats | None,
    clinical: Floats | None,
    vectors: Mapping[str, Floats] | None = None,
) -> None:
    """Write baselines.csv; a model that there is not, such as a ridge Cox model where the scores
    came without embeddings, leaves its column empty.

    Args:
        vectors: (B,) by column, of models of vectors that were made elsewhere.
    """
    absent = np.full(len(cohort.patients), np.nan)
    columns = {
        "ridge_cox": absent if ridge is None else ridge,
        "clinical": absent if clinical is None else clinical,
        **(vectors or {}),
    }
    with atomic_path(path) as temporary:
        write_table(
            temporary,
            ("patient_id", *columns),
            [
                (p, *(float(values[b]) for values in columns.values()))
                for b, p in enumerate(cohort.patient_ids)
            ],
        )
