"""scores.csv: one reader, and one idea of a broken row."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from pathoml.errors import StoreError
from pathoml.store.scores import (
    BASELINES,
    SCORE_COLUMNS,
    SCORES,
    ScoreTable,
    read_scores,
    write_baselines,
    write_scores,
)
from pathoml.types import Cohort, Patient, RiskScore

SCORE = RiskScore(
    patient_id="P1",
    centre="Leiden",
    log_risk=0.25,
    score_sd=1.5,
    score_type="oof",
    fold="2;1",
    n_repeats=2,
    repeat_sd=0.125,
    n_slides=3,
    n_tiles=900,
    model_sha256="ab",
    splits_sha256="cd",
    data_cut="2024-01-31",
    score_group="high",
)


def written(folder: Path, *scores: RiskScore) -> Path:
    write_scores(folder, scores)
    return folder


def spoil(folder: Path, before: str, after: str) -> None:
    path = folder / SCORES
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after), encoding="utf-8")


def test_scores_are_read_as_they_were_written(tmp_path):
    other = replace(SCORE, patient_id="P0", log_risk=-0.5, repeat_sd=float("nan"), fold="")
    table = read_scores(written(tmp_path, SCORE, other))
    assert table.patient_ids == ("P1", "P0")  # the order of the file
    for b, score in enumerate((SCORE, other)):
        for name in SCORE_COLUMNS[1:]:
            read, meant = getattr(table, name)[b], getattr(score, name)
            assert read == meant or (math.isnan(read) and math.isnan(meant)), name


def test_the_table_has_the_columns_of_a_row():
    names = [f.name for f in fields(ScoreTable)]
    assert names == ["patient_ids", *SCORE_COLUMNS[1:]]


def test_a_percentile_is_the_share_of_patients_with_the_same_or_a_lower_risk(tmp_path):
    risks = (0.3, -1.0, 0.3, 2.0)
    rows = [replace(SCORE, patient_id=f"P{i}", log_risk=risk) for i, risk in enumerate(risks)]
    assert read_scores(written(tmp_path, *rows)).percentile.tolist() == [75, 25, 75, 100]


@pytest.mark.parametrize("column", ["log_risk", "score_sd", "n_tiles", "n_slides"])
@pytest.mark.parametrize("cell", ["", "soon"])
def test_a_cell_that_is_no_number_is_refused_with_file_patient_column_and_value(
    tmp_path, column, cell
):
    written(tmp_path, replace(SCORE, **{column: 12345}))
    spoil(tmp_path, "12345", cell)
    with pytest.raises(
        StoreError, match=rf"{SCORES}: patient P1 has {column} = '{cell}', expected"
    ):
        read_scores(tmp_path)


def test_a_patient_with_two_rows_is_refused(tmp_path):
    written(tmp_path, SCORE, SCORE)
    with pytest.raises(StoreError, match="two rows for patient P1"):
        read_scores(tmp_path)


def test_a_table_that_lacks_a_column_is_refused_with_its_name(tmp_path):
    written(tmp_path, SCORE)
    spoil(tmp_path, "log_risk", "risk")
    with pytest.raises(StoreError, match="no column 'log_risk'"):
        read_scores(tmp_path)


def test_a_run_without_scores_is_refused_with_the_next_step(tmp_path):
    with pytest.raises(StoreError, match=r"scores\.csv is missing\. Run `pathoml train`, or"):
        read_scores(tmp_path)
    written(tmp_path)
    with pytest.raises(StoreError, match="has no row"):
        read_scores(tmp_path)


def test_numbers_are_arrays(tmp_path):
    table = read_scores(written(tmp_path, SCORE))
    assert {np.asarray(table.n_tiles).dtype, table.repeat_sd.dtype} == {np.dtype(np.float64)}


def test_baselines_that_there_are_not_leave_their_column_empty(tmp_path):
    people = [
        Patient(patient_id=p, centre="", time_months=1, event=0, slide_ids=(), covariates={})
        for p in ("P1", "P2")
    ]
    cohort = Cohort(
        patients=tuple(people), slides=(), endpoint="PFS", time_zero="ablation", excluded=()
    )
    path = tmp_path / BASELINES
    write_baselines(path, cohort, ridge=None, clinical=np.array([0.5, -1.0]))
    assert path.read_text().splitlines() == [
        "patient_id,ridge_cox,clinical",
        "P1,,0.5",
        "P2,,-1",
    ]
