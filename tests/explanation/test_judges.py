"""Where one model scores each patient, others judge its map: they learned from neither the patient
nor from another fifth of those that the model learned from.
"""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from support.learning import planted_cohort, write_study

from pathoml.config import load_study
from pathoml.explanation.contributions import explain_bag
from pathoml.explanation.judges import solve_judges
from pathoml.explanation.step import explain_study
from pathoml.store.maps import read_attention
from pathoml.study.run_folder import RunFolder
from pathoml.training.run import load_run
from pathoml.training.step import train_study

LEFT_OUT = ["train.head=mean_extremes", "splits.scheme=leave_one_centre_out"]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    cohort, bags, _ = planted_cohort(48, centres=3, seed=2)
    write_study(folder, cohort, bags)
    study = load_study(folder, LEFT_OUT)
    train_study(study)
    return study


@pytest.fixture(scope="module")
def run(study):
    return load_run(study)


@pytest.fixture(scope="module")
def judges(study, run):
    return solve_judges(study, run)


def test_nobody_judges_a_patient_of_their_own_fold(run, judges):
    fold_of = {f.fold: f.is_training for f in run.folds}
    for judge in judges.folds:
        assert (judge.is_training == fold_of[judge.fold]).all()
    for position in range(len(run.bags)):
        mine = [j for j in judges.folds if not j.is_training[position]]
        assert len(mine) == 2
        assert {j.fold for j in mine} == {run.cohort.patients[position].centre}


def test_the_map_is_that_of_the_score_whoever_judges_it(run, judges):
    bag = run.bags[0]
    alone = explain_bag(run.stack, run.folds, bag, position=0)
    judged = alone.beside(judges.explain(0, bag))
    assert (judged.contribution == alone.contribution).all()
    assert (judged.attention == alone.attention).all()
    assert judged.log_risk == alone.log_risk
    assert judged.group.tolist() == [0, 1, 1]
    assert (alone.spread == 0).all()
    assert (judged.spread > 0).any()


def test_judges_read_their_own_models(run, judges):
    bag = run.bags[0]
    judged = explain_bag(run.stack, run.folds, bag, position=0).beside(judges.explain(0, bag))
    everything = judged.read(bag)(np.ones(len(bag.features), dtype=bool))
    scored = [f.centred[0] for f in [*run.folds, *judges.folds] if not f.is_training[0]]
    assert everything == pytest.approx(scored, abs=1e-4)


def test_maps_are_checked_where_centres_are_left_out(study):
    explain_study(study)
    files = RunFolder(study.run_folder)
    content = json.loads(files.faithfulness.read_text())
    assert content["cohort"]["slides"] == len(content["slides"])
    assert content["cohort"]["area"]["estimate"] > 0
    # few tiles a slide: those with fewer than ten have no order to speak of
    assert len(content["not_checked"]) < len(content["slides"])
    with open(files.scores, newline="") as file:
        risk = {row["patient_id"]: float(row["log_risk"]) for row in csv.DictReader(file)}
    one = read_attention(files.attention / "S1a.h5")
    assert one.contribution.sum() + one.bias == pytest.approx(risk["P1"], abs=1e-4)


def test_several_partitions_judge_each_other_and_need_no_more(tmp_path):
    cohort, bags, _ = planted_cohort(30, seed=3)
    write_study(tmp_path, cohort, bags)
    study = load_study(tmp_path, ["train.head=mean_extremes"])
    train_study(study)
    assert solve_judges(study, load_run(study)) is None


def test_heads_that_are_trained_have_initialisations_for_that(tmp_path):
    cohort, bags, _ = planted_cohort(30, seed=3)
    write_study(tmp_path, cohort, bags)
    study = load_study(tmp_path, ["splits.repeats=1", "train.seeds=1", "train.epochs=2"])
    train_study(study)
    assert solve_judges(study, load_run(study)) is None


def test_a_fold_in_which_one_event_is_left_has_maps_that_nobody_judges(tmp_path):
    cohort, bags, _ = planted_cohort(24, centres=2, seed=4)
    kept = {"C0": 2, "C1": 2}  # events, of which a judge without a fifth may find one
    patients = []
    for patient in cohort.patients:
        kept[patient.centre] -= patient.event
        patients.append(replace(patient, event=int(patient.event and kept[patient.centre] >= 0)))
    write_study(tmp_path, replace(cohort, patients=tuple(patients)), bags)
    study = load_study(tmp_path, LEFT_OUT)
    train_study(study)
    explain_study(study)
    assert RunFolder(study.run_folder).faithfulness.exists()
