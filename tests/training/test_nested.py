"""Nested scores: nothing of an outer fold reaches the scores that its Cox model is fitted to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.learning import planted_cohort
from support.score_study import write_score_study

from pathoml.config import SplitsConfig, TrainConfig
from pathoml.errors import StoreError
from pathoml.evaluation.evidence import read_evidence
from pathoml.evaluation.sections import metrics
from pathoml.study.splits import make_splits
from pathoml.survival.concordance import harrell_c
from pathoml.training.loop import model_specs, train_models
from pathoml.training.nested import (
    inner_splits,
    nested_scores,
    nested_specs,
    read_nested,
    write_nested,
)
from pathoml.training.scoring import fold_scores

CONFIG = TrainConfig(
    head="abmil",
    epochs=25,
    tiles_per_patient=24,
    projection=8,
    hidden=8,
    seeds=1,
    learning_rate=1e-2,
)
SPLITS = SplitsConfig(folds=3, repeats=1)
CPU = torch.device("cpu")


def nested_of(cohort, bags, outer):
    specs = model_specs([outer], 1)
    raw = np.concatenate(
        [
            block.raw
            for block in train_models(cohort, bags, specs, config=CONFIG, device=CPU, seed=1)
        ]
    )
    folds = fold_scores(raw, specs, cohort.patient_ids)
    inner = nested_specs(cohort, outer, SPLITS, seeds=1)
    return nested_scores(
        cohort, bags, outer, outer_scores=folds, specs=inner, config=CONFIG, device=CPU, seed=1
    )


@pytest.fixture(scope="module")
def planted():
    cohort, bags, _ = planted_cohort(48, effect=6.0)
    return cohort, bags, make_splits(cohort, SPLITS)[0]


@pytest.fixture(scope="module")
def nested(planted):
    return nested_of(*planted)


def test_the_inner_folds_of_a_fold_divide_its_training_patients_and_nobody_else(planted):
    cohort, _, outer = planted
    for split, fold in zip(inner_splits(cohort, outer, SPLITS), outer.folds):
        assert sorted(p for f in split.folds for p in f.test) == sorted(fold.train)
        assert all(not set(f.train) & (set(fold.test) | set(f.test)) for f in split.folds)


def test_where_one_centre_is_left_the_inner_folds_are_stratified(planted):
    cohort, _, _ = planted
    two = replace(
        cohort,
        patients=tuple(replace(p, centre="AB"[k % 2]) for k, p in enumerate(cohort.patients)),
    )
    leave_out = SplitsConfig(scheme="leave_one_centre_out", folds=3)
    [outer] = make_splits(two, leave_out)
    assert [len(split.folds) for split in inner_splits(two, outer, leave_out)] == [3, 3]


def test_neither_slides_nor_outcomes_of_the_outer_fold_change_its_training_patients_scores(
    planted, nested
):
    cohort, bags, outer = planted
    fold = outer.folds[0]
    outside = set(fold.test)
    changed = replace(
        cohort,
        patients=tuple(
            replace(p, time_months=99.0 - p.time_months) if p.patient_id in outside else p
            for p in cohort.patients
        ),
    )
    leaked = [
        replace(b, features=(-b.features).astype(np.float16)) if b.patient_id in outside else b
        for b in bags
    ]
    again = nested_of(changed, leaked, outer)
    train = [p not in outside for p in cohort.patient_ids]
    np.testing.assert_allclose(again[fold.name][train], nested[fold.name][train], atol=1e-5)
    assert not np.allclose(again[outer.folds[1].name], nested[outer.folds[1].name], atol=1e-3), (
        "the change is large enough to be seen"
    )


def test_nested_scores_find_a_planted_signal_in_training_and_outer_patients(planted, nested):
    cohort, _, outer = planted
    for fold in outer.folds:
        train = np.array([p in fold.train for p in cohort.patient_ids])
        for rows, least in ((train, 0.65), (~train, 0.6)):
            assert (
                harrell_c(nested[fold.name][rows], cohort.time_months[rows], cohort.event[rows])
                > least
            )


def test_nested_scores_survive_the_file_in_any_order_and_a_missing_patient_is_named(tmp_path):
    write_nested(
        tmp_path,
        ["P1", "P2", "P3"],
        {"1": np.array([0.1, 0.2, 0.3]), "2": np.array([1.0, 2.0, 3.0])},
    )
    read = read_nested(tmp_path, ["P3", "P1"])
    assert {name: values.tolist() for name, values in read.items()} == {
        "1": [0.3, 0.1],
        "2": [3.0, 1.0],
    }
    with pytest.raises(StoreError, match=r"nested_scores\.csv lacks patient P9"):
        read_nested(tmp_path, ["P1", "P9"])
    assert read_nested(tmp_path / "elsewhere", ["P1"]) is None


def test_the_risks_of_a_fold_rest_on_its_own_nested_scores_and_the_metrics_say_so(tmp_path):
    study = write_score_study(
        tmp_path, n=246, centres=3, significance={"permutations": 0, "bootstraps": 0}
    )
    evidence = read_evidence(study)
    ids, folds, score = evidence.cohort.patient_ids, sorted(set(evidence.fold)), evidence.score

    def brier(columns):
        if columns:
            write_nested(study.run_folder, ids, columns)
        content = metrics(read_evidence(study))
        assert content["nested_scores"]["used"] is bool(columns)
        assert ("optimistic" in content["nested_scores"]["note"]) is not bool(columns)
        return {
            model: content["brier"]["12"][model]["estimate"]
            for model in ("image", "clinical", "clinical_and_image")
        }

    plain = brier(None)
    same = brier(dict.fromkeys(folds, score))
    noise = brier(
        {name: np.random.default_rng(k).normal(size=len(ids)) for k, name in enumerate(folds)}
    )
    assert same == pytest.approx(plain, abs=1e-9)
    assert noise["clinical"] == pytest.approx(plain["clinical"], abs=1e-9)
    assert noise["image"] > plain["image"] + 0.01
    assert noise["clinical_and_image"] > plain["clinical_and_image"] + 0.01
