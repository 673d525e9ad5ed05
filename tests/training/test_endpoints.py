"""Several endpoints in one training: nothing of the primary one changes, and a secondary one is
scored as if it had been the primary one on the same folds.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from support.two_endpoints import BESIDE, OS, QUICK, two_endpoint_study, with_os_as_primary

from pathoml.config import load_study
from pathoml.pipeline import status
from pathoml.store.files import read_json
from pathoml.store.scores import read_scores
from pathoml.study.cohort import read_cohort
from pathoml.survival.concordance import harrell_c
from pathoml.training.recipe import train_recipe
from pathoml.training.run import load_run
from pathoml.training.step import train_study

OF_THE_PRIMARY = (
    "scores.csv",
    "splits.json",
    "baselines.csv",
    "repeat_scores.csv",
    "seed_scores.csv",
    "log.csv",
    "models/models.json",
    "models/raw_log_risk.safetensors",
)


@pytest.mark.parametrize("head", ["abmil", "ridge_cox"])
@pytest.mark.parametrize("missing", [(), ("P3", "P8")], ids=["all have both", "two without"])
def test_a_second_endpoint_changes_no_byte_of_the_first(tmp_path, head, missing):
    settings = [*QUICK, f"train.head={head}", "train.nested=true"]
    both = two_endpoint_study(tmp_path / "both", without_os=missing, settings=settings)
    alone = two_endpoint_study(tmp_path / "alone", without_os=missing, yaml="", settings=settings)
    train_study(both)
    train_study(alone)
    for name in (*OF_THE_PRIMARY, "nested_scores.csv"):
        of_both, of_alone = ((s.run_folder / name).read_bytes() for s in (both, alone))
        assert of_both == of_alone, name


@pytest.mark.parametrize("settings", [(), ("train.head=ridge_cox",), ("train.loss=discrete_time",)])
def test_a_secondary_score_is_that_of_a_run_with_it_as_primary_on_the_same_folds(
    tmp_path, settings
):
    study = two_endpoint_study(tmp_path, settings=[*QUICK, *settings, "train.seeds=2"])
    train_study(study)
    swapped = with_os_as_primary(study, "swapped")
    train_study(swapped)
    beside = read_scores(study.run_folder / "endpoints" / OS)
    alone = read_scores(swapped.run_folder)
    assert beside.patient_ids == alone.patient_ids
    assert np.array_equal(beside.log_risk, alone.log_risk)
    assert np.array_equal(beside.score_sd, alone.score_sd)
    assert beside.score_group == alone.score_group


def test_projections_that_do_not_fit_together_change_nothing_of_that(tmp_path, monkeypatch):
    monkeypatch.setattr("pathoml.training.loop.PROJECTED_BYTES", {"cpu": 1})  # a fold at a time
    study = two_endpoint_study(tmp_path, settings=[*QUICK, "train.seeds=2"])
    train_study(study)
    swapped = with_os_as_primary(study, "swapped")
    train_study(swapped)
    folder = study.run_folder / "endpoints" / OS
    beside, alone = read_scores(folder), read_scores(swapped.run_folder)
    assert np.array_equal(beside.log_risk, alone.log_risk)
    assert read_json(folder / "models" / "models.json")["endpoint"] == OS
    models, of_alone = (
        [(m["repeat"], m["fold"], m["seed"], m["sha256"]) for m in read_json(path)["models"]]
        for path in (folder / "models/models.json", swapped.run_folder / "models/models.json")
    )
    assert models == of_alone


def test_who_lacks_an_endpoint_neither_trains_it_nor_is_scored_for_it(tmp_path):
    study = two_endpoint_study(tmp_path, without_os={"P3", "P8"})
    train_study(study)
    folder = study.run_folder / "endpoints" / OS
    assert set(read_scores(study.run_folder).patient_ids) - set(
        read_scores(folder).patient_ids
    ) == {"P3", "P8"}
    for model in read_json(folder / "models" / "models.json")["models"]:
        assert not {"P3", "P8"} & set(model["train"])


def test_each_endpoint_learns_its_own_signal(tmp_path):
    settings = [*QUICK, "train.epochs=25", "splits.repeats=1"]
    study = two_endpoint_study(tmp_path, patients=90, settings=settings)
    train_study(study)
    cohort = read_cohort(study)
    died = {p: (float(r["os_months"]), r["died"] == "1") for p, r in cohort.rows.items()}
    time, event = (np.array(column) for column in zip(*(died[p] for p in cohort.patient_ids)))
    of_os = read_scores(study.run_folder / "endpoints" / OS).log_risk
    of_pfs = read_scores(study.run_folder).log_risk
    assert harrell_c(of_os, time, event) > 0.6
    assert harrell_c(of_pfs, cohort.time_months, cohort.event) > 0.6
    assert harrell_c(of_pfs, time, event) < harrell_c(of_os, time, event) - 0.1


def test_an_endpoint_with_too_few_events_is_left_out_and_said_so(tmp_path):
    study = two_endpoint_study(tmp_path, deaths=["P0"])
    trained = train_study(study)
    [(name, said)] = trained.endpoints
    assert name == OS
    assert said.startswith("NOT TRAINED: repeat-1, fold")
    assert not (study.run_folder / "endpoints").exists()
    assert train_study(study).fresh


@pytest.mark.parametrize(
    ("change", "stale"),
    [
        (lambda yaml: yaml.replace("event: died", "event: died, data_cut: 2024-01-01"), True),
        (lambda yaml: yaml.replace(BESIDE, ""), True),
        (lambda yaml: yaml.replace("bootstraps: 50", "bootstraps: 60"), False),
    ],
    ids=["another key of it", "it is gone", "a key of another section"],
)
def test_its_keys_make_training_stale(tmp_path, change, stale):
    study = two_endpoint_study(tmp_path)
    train_study(study)
    path = tmp_path / "study.yaml"
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    again = load_study(tmp_path, list(QUICK))
    states = status(again)
    assert (states["train"] == "done") is not stale
    assert states["evaluate"] == "to do"


def test_an_outcome_of_a_secondary_endpoint_makes_training_stale(tmp_path):
    study = two_endpoint_study(tmp_path)
    train_study(study)
    path = tmp_path / "patients.csv"
    rows = path.read_text(encoding="utf-8").splitlines()
    rows[3] = rows[3][:-1] + ("0" if rows[3].endswith("1") else "1")
    path.write_text("\n".join(rows), encoding="utf-8")
    assert not train_study(study).fresh


def test_a_study_of_one_endpoint_has_the_recipe_that_it_had(tmp_path):
    study = two_endpoint_study(tmp_path, yaml="")
    assert "secondary_endpoints" not in train_recipe(study, read_cohort(study)).inputs


def test_scores_that_were_removed_are_trained_again(tmp_path):
    study = two_endpoint_study(tmp_path)
    train_study(study)
    shutil.rmtree(study.run_folder / "endpoints")
    assert not train_study(study).fresh
    assert (study.run_folder / "endpoints" / OS / "scores.csv").exists()


def test_an_endpoint_that_is_no_longer_named_leaves_no_folder(tmp_path):
    train_study(two_endpoint_study(tmp_path))
    path = tmp_path / "study.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace(BESIDE, ""), encoding="utf-8")
    study = load_study(tmp_path, list(QUICK))
    train_study(study)
    assert not (study.run_folder / "endpoints").exists()
    assert len(load_run(study).cohort.patients) == 30


def test_the_dictionary_of_the_scores_names_the_endpoint(tmp_path: Path):
    study = two_endpoint_study(tmp_path)
    train_study(study)
    for folder, name in (
        (study.run_folder, "progression"),
        (study.run_folder / "endpoints" / OS, OS),
    ):
        text = (folder / "scores.dictionary.csv").read_text(encoding="utf-8")
        assert f"\nendpoint,{name}," in text
        assert "higher = earlier event" in text
