"""The offset score: the plain one less what the covariates say, told of it where that pays inside
the training fold; nothing of the plain score changes.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.known_covariates import known_cohort
from support.learning import planted_cohort
from support.two_endpoints import BESIDE, OS, QUICK, two_endpoint_study

from pathoml.bags.reading import mean_features
from pathoml.config import SplitsConfig, Study, TrainConfig, load_study
from pathoml.errors import CohortError
from pathoml.evaluation.step import evaluate_study
from pathoml.store.files import read_json, sha256_of_file
from pathoml.store.scores import read_repeats, read_scores
from pathoml.study.cohort import read_cohort
from pathoml.study.splits import make_splits
from pathoml.survival.ridge_cox import fit_ridge_cox
from pathoml.training.baselines import clinical_predictor
from pathoml.training.clinical_part import clinical_columns
from pathoml.training.fit import fit_models
from pathoml.training.loop import model_specs
from pathoml.training.model_stack import ModelSpec
from pathoml.training.models import load_models, read_raw_scores
from pathoml.training.offset import offset_models, offset_pays
from pathoml.training.outcomes import Lessons
from pathoml.training.recipe import train_recipe
from pathoml.training.step import train_study
from pathoml.training.validation import cross_validate
from pathoml.types import Cohort

OFFSET = (*QUICK, "train.offset=clinical")
OF_THE_PLAIN_SCORE = (
    "scores.csv",
    "splits.json",
    "baselines.csv",
    "repeat_scores.csv",
    "seed_scores.csv",
    "nested_scores.csv",
    "log.csv",
    "models/models.json",
    "models/raw_log_risk.safetensors",
)


def whole(cohort: Cohort, **about) -> ModelSpec:
    return ModelSpec(repeat="r", fold="1", seed=1, train=tuple(cohort.patient_ids), **about)


def test_models_are_told_where_the_image_shows_the_covariate_and_not_where_it_works_through_it():
    told = {
        kind: sum(
            offset_pays(means, Lessons(cohort), whole(cohort), seed=1)
            for cohort, means in (known_cohort(kind, seed) for seed in range(8))
        )
        for kind in ("shown", "proxy")
    }
    assert told["shown"] == 0
    assert told["proxy"] >= 4


def test_a_fold_with_one_event_or_features_that_do_not_vary_is_not_told():
    cohort, means = known_cohort("proxy", 1, patients=40)
    assert not offset_pays(np.ones_like(means), Lessons(cohort), whole(cohort), seed=1)
    one = replace(
        cohort, patients=tuple(replace(p, event=int(k == 3)) for k, p in enumerate(cohort.patients))
    )
    assert not offset_pays(means, Lessons(one), whole(one), seed=1)


def test_whether_to_tell_is_decided_by_training_patients_alone():
    cohort, means = known_cohort("proxy", 1)
    train = ModelSpec(repeat="r", fold="1", seed=1, train=tuple(cohort.patient_ids[:110]))
    changed = replace(
        cohort,
        patients=tuple(
            p
            if k < 110
            else replace(p, time_months=99.0, event=1, covariates=dict.fromkeys(p.covariates, 9.0))
            for k, p in enumerate(cohort.patients)
        ),
    )
    other = means.copy()
    other[110:] = 50.0
    one = offset_models(cohort, means, [train], strata=None, seed=1)
    two = offset_models(changed, other, [train], strata=None, seed=1)
    assert one.place == two.place
    raw = np.random.default_rng(3).normal(size=(1, 160))
    both = (some.raw(raw, raw[: len(some.trained)])[:, :110] for some in (one, two))
    assert np.array_equal(*both)


def test_a_solved_head_that_is_told_is_ridge_cox_with_that_offset():
    cohort, bags, _ = planted_cohort(60)
    [split] = make_splits(cohort, SplitsConfig(folds=3, repeats=1, seed=1))
    specs = [replace(s, offset=True) for s in model_specs([split], 1)]
    config = TrainConfig(head="ridge_cox", seeds=1, strata="centre")
    about = {"config": config, "device": torch.device("cpu"), "seed": 1}
    [block] = fit_models(cohort, bags, specs, **about)
    means = mean_features(bags)
    for own, spec in zip(block.raw, specs):
        known = clinical_predictor(
            cohort, clinical_columns(cohort), np.isin(cohort.patient_ids, spec.train)
        )
        rows = [cohort.patient_ids.index(who) for who in spec.train]
        model = fit_ridge_cox(
            means[rows],
            cohort.time_months[rows],
            cohort.event[rows],
            seed=1,
            offset=known[rows],
            stratum=cohort.centre[rows],
        )
        assert own == pytest.approx(model.predict(means), abs=1e-9)


@pytest.mark.parametrize("head", ["abmil", "ridge_cox"])
def test_nothing_of_the_plain_score_changes_by_a_byte(tmp_path, head, monkeypatch):
    monkeypatch.setattr("pathoml.training.offset.offset_pays", lambda *_, **__: True)
    settings = [*QUICK, f"train.head={head}", "train.nested=true"]
    both = two_endpoint_study(
        tmp_path / "both", yaml="", settings=[*settings, "train.offset=clinical"]
    )
    alone = two_endpoint_study(tmp_path / "alone", yaml="", settings=settings)
    train_study(both)
    train_study(alone)
    for name in OF_THE_PLAIN_SCORE:
        of_both, of_alone = ((s.run_folder / name).read_bytes() for s in (both, alone))
        assert of_both == of_alone, name
    assert not (alone.run_folder / "offset").exists()


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("offset")
    study = two_endpoint_study(folder, settings=[*OFFSET, "train.nested=true"])
    train_study(study)
    return study


def test_a_secondary_endpoint_stands_beside_it(study):
    assert (study.run_folder / "endpoints" / OS / "scores.csv").exists()
    assert read_scores(study.run_folder / "offset").patient_ids == (
        read_scores(study.run_folder).patient_ids
    )


def test_where_models_were_not_told_the_score_is_the_plain_one_less_what_the_covariates_say(study):
    cohort, run = read_cohort(study), study.run_folder
    entries = read_json(run / "offset/models/models.json")["models"]
    plain, beyond = (read_raw_scores(run / f) for f in ("models", "offset/models"))
    lessons = Lessons(cohort)
    untold = [m for m, entry in enumerate(entries) if not entry["told"]]
    assert untold
    for m in untold:
        spec = ModelSpec(repeat="r", fold="1", seed=1, train=tuple(entries[m]["train"]))
        assert beyond[m] == pytest.approx(lessons.clinical(spec).beyond(plain[m]), abs=1e-12)


def test_its_models_are_saved_with_their_hashes_and_can_be_read(study):
    folder = study.run_folder / "offset" / "models"
    entries = read_json(folder / "models.json")["models"]
    for entry in entries:
        assert sha256_of_file(folder / entry["file"]) == entry["sha256"]
    stack, specs, _ = load_models(folder, torch.device("cpu"), train=study.config.train)
    assert len(stack) == len(specs) == len(entries)


def test_clinical_scores_of_the_same_folds_stand_beside_it(study):
    ids = read_scores(study.run_folder).patient_ids
    own, plain = (
        read_repeats(folder / "repeat_scores.csv", ids)
        for folder in (study.run_folder / "offset", study.run_folder)
    )
    assert np.array_equal(own.scores["clinical"], plain.scores["clinical"])
    assert (own.fold == plain.fold).all()


def test_told_models_are_trained_with_the_offset_of_their_fold(tmp_path, monkeypatch):
    monkeypatch.setattr("pathoml.training.offset.offset_pays", lambda *_, **__: True)
    told = two_endpoint_study(tmp_path, yaml="", settings=[*OFFSET, "train.head=ridge_cox"])
    said = train_study(told).offset
    assert "in 6 of 6 folds" in said
    entries = read_json(told.run_folder / "offset/models/models.json")["models"]
    plain = read_json(told.run_folder / "models/models.json")["models"]
    assert all(e["told"] for e in entries)
    assert {e["sha256"] for e in entries}.isdisjoint(e["sha256"] for e in plain)


def test_an_offset_that_is_no_longer_asked_for_leaves_no_folder(tmp_path):
    train_study(two_endpoint_study(tmp_path, yaml="", settings=OFFSET))
    assert (tmp_path / "runs/main/offset/scores.csv").exists()
    train_study(load_study(tmp_path, list(QUICK)))
    assert not (tmp_path / "runs/main/offset").exists()


def test_an_offset_score_that_was_removed_is_trained_again(tmp_path):
    study = two_endpoint_study(tmp_path, yaml="", settings=OFFSET)
    train_study(study)
    assert train_study(study).fresh
    shutil.rmtree(study.run_folder / "offset")
    assert not train_study(study).fresh
    assert (study.run_folder / "offset/scores.csv").exists()


def test_without_covariates_it_is_refused_before_anything_is_lost(tmp_path):
    study = two_endpoint_study(tmp_path, yaml="")
    train_study(study)
    before = Path(study.run_folder / "scores.csv").read_bytes()
    without = load_study(tmp_path, [*OFFSET, "cohort.covariates=[]"])
    with pytest.raises(CohortError, match=r"name its columns in cohort\.covariates"):
        train_study(without)
    assert Path(study.run_folder / "scores.csv").read_bytes() == before


def test_a_study_without_offset_and_strata_has_the_recipe_that_it_had(tmp_path):
    study = two_endpoint_study(tmp_path, yaml=BESIDE)
    assert not {"offset", "strata"} & set(train_recipe(study, read_cohort(study)).inputs["train"])


def test_a_centre_left_out_is_scored_by_models_of_the_other_strata(tmp_path):
    settings = [*OFFSET, "splits.scheme=leave_one_centre_out", "train.strata=centre"]
    study = two_endpoint_study(tmp_path, yaml="", settings=settings)
    train_study(study)
    for folder in (study.run_folder, study.run_folder / "offset"):
        scores = read_scores(folder)
        assert set(scores.score_type) == {"loco"}
        assert np.isfinite(scores.log_risk).all()


@pytest.mark.parametrize("head", ["abmil", "ridge_cox"])
def test_strata_of_one_patient_each_are_refused_before_anything_is_lost(tmp_path, head):
    study = two_endpoint_study(tmp_path, yaml="")
    train_study(study)
    path = tmp_path / "patients.csv"
    header, *rows = path.read_text(encoding="utf-8").splitlines()
    lines = [f"{row},level {k}" for k, row in enumerate(rows)]
    path.write_text("\n".join([f"{header},subtype", *lines]) + "\n", encoding="utf-8")
    settings = [*QUICK, f"train.head={head}", "train.strata=subtype"]
    alone = load_study(tmp_path, [*settings, "cohort.covariates=[age, subtype]"])
    with pytest.raises(CohortError, match=r"fold \w+: the strata leave no event with anybody else"):
        train_study(alone)
    assert (study.run_folder / "scores.csv").exists()


def test_an_endpoint_for_which_the_strata_leave_nobody_is_left_out_and_said_so(tmp_path):
    """Who died is the only patient of a stratum; who progressed is not."""
    died = [f"P{k}" for k in range(0, 30, 3)]
    two_endpoint_study(tmp_path, deaths=died)
    path = tmp_path / "patients.csv"
    header, *rows = path.read_text(encoding="utf-8").splitlines()
    lines = [f"{row},{f'level {k}' if k % 3 == 0 else 'others'}" for k, row in enumerate(rows)]
    path.write_text("\n".join([f"{header},subtype", *lines]) + "\n", encoding="utf-8")
    asked = load_study(
        tmp_path, [*QUICK, "train.strata=subtype", "cohort.covariates=[age, subtype]"]
    )
    [(name, said)] = train_study(asked).endpoints
    assert name == OS
    assert said.startswith("NOT TRAINED: ")
    assert "the strata leave no event" in said
    evaluated = evaluate_study(asked).metrics["endpoints"][OS]
    assert not evaluated["trained"]


def test_strata_change_the_models_and_the_ridge_baseline(tmp_path):
    plain = two_endpoint_study(tmp_path, yaml="")
    train_study(plain)
    was = {n: (plain.run_folder / n).read_bytes() for n in ("scores.csv", "baselines.csv")}
    train_study(load_study(tmp_path, [*QUICK, "train.strata=centre"]))
    for name, before in was.items():
        assert (plain.run_folder / name).read_bytes() != before, name


def test_a_notebook_has_both_scores():
    cohort, bags, _ = planted_cohort(40)
    splits = make_splits(cohort, SplitsConfig(folds=3, repeats=1, seed=1))
    about = {"epochs": 3, "seeds": 1, "projection": 8, "hidden": 8, "tiles_per_patient": 8}
    both = cross_validate("abmil", cohort, bags, splits, offset="clinical", **about)
    alone = cross_validate("abmil", cohort, bags, splits, **about)
    assert np.array_equal(both.log_risk, alone.log_risk)
    assert alone.offset is None
    age = np.array([p.covariates["age"] for p in cohort.patients])
    for own, beyond in zip(both.folds, both.offset.folds):
        rows = own.is_training
        assert abs(np.cov(beyond.centred[rows], age[rows])[0, 1]) < 0.1 * (
            abs(np.cov(own.centred[rows], age[rows])[0, 1])
        )
