"""Vectors that were made elsewhere are a baseline beside a run on tiles: the same folds, the same
pairs, the same alarm.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support.learning import planted_cohort, write_study

from pathoml.config import Study, load_study
from pathoml.errors import CohortError, ConfigError
from pathoml.evaluation.step import evaluate_study
from pathoml.interop import vectors
from pathoml.report.page import write_report
from pathoml.store.tables import read_own_table
from pathoml.survival.fold_concordance import FoldedScores, fold_c_interval
from pathoml.training.step import train_study

COHORT = planted_cohort(48, effect=0.0)


def beside(folder: Path, *, patients: int = 48, settings: tuple[str, ...] = ()) -> Study:
    """Return a study whose tiles are noise, with vectors of slides that hold the hazard."""
    write_study(folder, *COHORT[:2])
    cohort, rng = COHORT[0], np.random.default_rng(0)
    rows = ["slide_id,a,b,c"]
    for patient in cohort.patients[:patients]:
        hazard = -np.log(patient.time_months) + rng.normal(scale=0.3)
        for slide_id in patient.slide_ids:
            rows.append(f"{slide_id},{hazard},{rng.normal()},{rng.normal()}")
    (folder / "titan.csv").write_text("\n".join(rows) + "\n")
    assert vectors.import_into(load_study(folder), folder / "titan.csv").failures == {}
    return load_study(folder, ["train.vectors=titan@slide", "train.seeds=1", *settings])


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Study:
    study = beside(tmp_path_factory.mktemp("beside"), settings=("significance.permutations=0",))
    train_study(study)
    evaluate_study(study)
    write_report(study)
    return study


def metrics_of(study: Study):
    return json.loads((study.run_folder / "metrics.json").read_text())


def test_both_models_of_vectors_stand_beside_the_others_in_the_tables(run):
    columns = read_own_table(run.run_folder / "baselines.csv").columns
    assert columns == ("patient_id", "ridge_cox", "clinical", "vectors_ridge_cox", "vectors_head")
    repeats = read_own_table(run.run_folder / "repeat_scores.csv")
    assert {"vectors_ridge_cox", "vectors_head"} <= set(repeats.columns)


def test_their_c_is_that_of_pairs_of_the_same_folds_and_the_difference_is_paired(run):
    metrics, rows = metrics_of(run), read_own_table(run.run_folder / "repeat_scores.csv").rows
    cohort = COHORT[0]
    place = {p: b for b, p in enumerate(cohort.patient_ids)}
    repeats = list(dict.fromkeys(row["repeat"] for row in rows))
    scores = np.empty((len(repeats), len(place)))
    fold = np.empty(scores.shape, dtype=object)
    for row in rows:
        at = repeats.index(row["repeat"]), place[row["patient_id"]]
        scores[at], fold[at] = float(row["vectors_ridge_cox"]), row["fold"]
    folded = FoldedScores(scores=scores, fold=fold.astype(str), mean=scores.mean(0))
    expected = fold_c_interval(folded, cohort.time_months, cohort.event, stratum=cohort.centre)
    found = metrics["vectors_ridge_cox"]
    assert found["encoding"] == "titan@slide"
    assert found["harrell_c_centre_stratified"]["estimate"] == pytest.approx(expected.estimate)
    assert expected.estimate > 0.8  # the vectors hold the hazard, the tiles nothing
    headline = metrics["headline"]
    difference = metrics["differences"]["image_minus_vectors_ridge_cox"]
    assert difference["estimate"] == pytest.approx(
        metrics[headline]["estimate"] - found[headline]["estimate"]
    )
    assert difference["high"] < 0


def test_the_alarm_counts_vectors_and_the_report_names_them(run):
    said = [a["message"] for a in metrics_of(run)["alarms"] if a["name"] == "baseline"]
    assert any("Ridge Cox on the vectors titan@slide" in message for message in said)
    page = (run.run_folder / "report.html").read_text()
    assert "Image score less ridge Cox on titan@slide" in page
    assert "The same head on titan@slide" in page


def test_other_vectors_are_trained_on_again_and_no_vectors_are_no_reason(tmp_path):
    study = beside(tmp_path)
    train_study(study)
    assert train_study(study).fresh
    text = (tmp_path / "titan.csv").read_text().replace("\nS3a,-", "\nS3a,-1")
    (tmp_path / "titan.csv").write_text(text)
    vectors.import_into(study, tmp_path / "titan.csv")
    assert not train_study(study).fresh


def test_what_cannot_be_a_baseline_is_refused_before_training(tmp_path):
    study = beside(tmp_path, patients=46)
    with pytest.raises(CohortError, match=r"2 of 48 patients have no vector .*\(P46, P47\)"):
        train_study(study)
    with pytest.raises(ConfigError, match=r"'titam@slide' is no encoding .*Did you mean"):
        train_study(load_study(tmp_path, ["train.vectors=titam@slide"]))
    with pytest.raises(ConfigError, match="no encoding of vectors"):
        train_study(load_study(tmp_path, ["train.vectors=efficientnet_lite0"]))
    with pytest.raises(ConfigError, match="the models themselves are trained on titan@slide"):
        train_study(load_study(tmp_path, ["encoder=titan@slide", "train.vectors=titan"]))
    assert not (study.run_folder / "models").exists()
