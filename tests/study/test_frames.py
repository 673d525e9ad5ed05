"""Scores as a DataFrame: by patient, with the outcome beside them."""

from __future__ import annotations

import pytest
from support.score_study import write_score_study

from pathoml.errors import StoreError
from pathoml.study.cohort import read_cohort
from pathoml.study.frames import read_scores


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_score_study(tmp_path_factory.mktemp("study"), n=40)


def test_each_patient_has_a_row_with_the_patients_own_outcome(study):
    scores = read_scores(study)
    patients = read_cohort(study).patients
    assert {*scores.index} == {p.patient_id for p in patients}
    assert scores.time_months.to_dict() == {p.patient_id: p.time_months for p in patients}
    assert scores.event.to_dict() == {p.patient_id: p.event == 1 for p in patients}


def test_numbers_are_numbers_and_words_are_words(study):
    scores = read_scores(str(study.folder))
    assert (
        scores[["score_sd", "log_risk", "n_tiles"]]
        .dtypes.map(lambda d: d.kind)
        .isin(["i", "f"])
        .all()
    )
    assert {*scores.score_group} == {"high", "low"}


def test_scores_that_are_not_there_yet_name_command_and_function(study, tmp_path):
    elsewhere = study.model_copy(update={"folder": tmp_path})
    with pytest.raises(StoreError, match=r"`pathoml train`, or pathoml.train\(study\)"):
        read_scores(elsewhere)


def test_a_patient_who_left_the_tables_is_named(study):
    table = study.folder / "patients.csv"
    kept = table.read_text()
    try:
        table.write_text("\n".join(line for line in kept.splitlines() if "P0007" not in line))
        slides = study.folder / "slides.csv"
        rows = slides.read_text()
        slides.write_text("\n".join(line for line in rows.splitlines() if "P0007" not in line))
        with pytest.raises(StoreError, match="P0007"):
            read_scores(study)
    finally:
        table.write_text(kept)
        slides.write_text(rows)
