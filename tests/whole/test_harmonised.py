"""A training on harmonised features, from the folds to the maps: where it helps, where it hurts,
and that every reader of a bag sees what the models saw.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from support.hospitals import Kind, hospitals
from support.learning import write_study

from pathoml.config import SplitsConfig, Study, TrainConfig, load_study
from pathoml.errors import StoreError
from pathoml.evaluation.permutation import permuted_specs
from pathoml.evaluation.step import evaluate_study
from pathoml.explanation.contributions import explain_bag
from pathoml.report.page import write_report
from pathoml.store.scores import read_scores
from pathoml.study.cohort import read_cohort
from pathoml.study.splits import make_splits
from pathoml.survival.fold_concordance import fold_concordance
from pathoml.training.fit import fit_models
from pathoml.training.loop import model_specs
from pathoml.training.models import load_models
from pathoml.training.nested import nested_specs
from pathoml.training.recipe import train_recipe
from pathoml.training.run import load_run
from pathoml.training.scoring import folded_scores
from pathoml.training.step import train_study
from pathoml.training.validation import cross_validate
from pathoml.types import Bag, Cohort
from pathoml.viewer.what_if import Models, Question

CPU = torch.device("cpu")
CONFIG = TrainConfig(
    epochs=25, tiles_per_patient=24, projection=8, hidden=8, seeds=1, learning_rate=1e-2
)
SEEDS = (0, 1, 2, 3)
Way = Literal["centre"] | None
LEAVE_OUT = "splits.scheme=leave_one_centre_out"


def gain(kind: Kind, scheme: str, count: int = 4) -> tuple[float, float]:
    """Return what harmonising adds to C, mean over a few cohorts: over all pairs of one fold, and
    over those of one centre too.
    """
    found = []
    for seed in SEEDS:
        cohort, bags = hospitals(kind, seed=seed, count=count)
        splits = make_splits(cohort, SplitsConfig(scheme=scheme, repeats=1, seed=seed))  # type: ignore[arg-type]
        ways: tuple[Way, ...] = (None, "centre")
        done = [
            cross_validate(
                "abmil", cohort, bags, splits, config=CONFIG, harmonise=way, device="cpu", seed=seed
            )
            for way in ways
        ]
        c = [
            [
                fold_concordance(
                    folded_scores(one.folds), cohort.time_months, cohort.event, stratum=stratum
                ).estimate
                for stratum in (None, cohort.centre)
            ]
            for one in done
        ]
        found.append(np.subtract(c[1], c[0]))
    in_folds, within = np.mean(found, axis=0)
    return float(in_folds), float(within)


def test_it_finds_the_tissue_where_hospitals_differ_by_their_stain() -> None:
    _, within = gain("stain", "stratified")
    assert within > 0.03


def test_it_finds_the_tissue_of_a_hospital_that_nobody_trained_from() -> None:
    _, within = gain("stain", "leave_one_centre_out")
    assert within > 0.02


def test_it_takes_away_what_hospitals_differ_in_by_their_tissue() -> None:
    in_folds, _ = gain("biology", "stratified")
    assert in_folds < -0.08


def test_where_hospitals_are_many_small_and_alike_it_costs_next_to_nothing() -> None:
    in_folds, _ = gain("alike", "stratified", count=40)
    assert in_folds > -0.015


def test_many_small_hospitals_with_a_stain_of_their_own_are_brought_together() -> None:
    in_folds, _ = gain("stain", "stratified", count=40)
    assert in_folds > 0.05


def study_of(
    folder: Path, *settings: str, cohort: Cohort | None = None, bags: list[Bag] | None = None
) -> Study:
    made = hospitals("stain", seed=0, patients=32)
    write_study(folder, cohort or made[0], bags or made[1])
    return load_study(folder, ["train.harmonise=centre", "splits.repeats=1", *settings])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = study_of(tmp_path_factory.mktemp("harmonised"), LEAVE_OUT)
    train_study(study)
    return study


@pytest.fixture(scope="module")
def trained_abmil(tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = study_of(
        tmp_path_factory.mktemp("abmil"), "train.head=abmil", "train.epochs=2",
        "train.nested=false",
    )  # fmt: skip
    train_study(study)
    return study


@pytest.mark.parametrize("head", ["abmil", "ridge_cox", "mean_extremes", "transmil"])
@pytest.mark.parametrize("projection", ["8", "null"])
@pytest.mark.parametrize("scheme", ["stratified", "leave_one_centre_out"])
def test_models_read_back_score_as_they_did_in_training(
    head: str, projection: str, scheme: str, tmp_path: Path
) -> None:
    study = study_of(
        tmp_path, f"train.head={head}", f"train.projection={projection}", "train.nested=false",
        f"splits.scheme={scheme}", "train.epochs=3", "train.seeds=1",
    )  # fmt: skip
    train_study(study)
    run = load_run(study)
    assert run.stack.log_risks(run.bags) == pytest.approx(run.raw, abs=2e-5)
    assert np.ptp(run.raw) > 0


def test_contributions_and_bias_sum_to_the_score(trained: Study) -> None:
    run = load_run(trained)
    rounding = 1e-5 * np.ptp(run.raw)  # float32, of features far from zero
    for position, bag in enumerate(run.bags):
        explained = explain_bag(run.stack, run.folds, bag, position=position)
        [own] = [fold for fold in run.folds if not fold.is_training[position]]
        assert explained.log_risk == pytest.approx(own.centred[position], abs=rounding)
        assert explained.contribution.sum() + explained.bias == pytest.approx(
            explained.log_risk, abs=1e-6
        )


def test_a_bag_without_a_centre_is_not_read_as_if_it_were_harmonised(trained: Study) -> None:
    run = load_run(trained)
    with pytest.raises(ValueError, match="must know the centre"):
        explain_bag(run.stack, run.folds, replace(run.bags[0], centre=None), position=0)


def test_the_viewer_takes_tiles_away_as_the_map_would(trained: Study) -> None:
    run = load_run(trained)
    bag, patient = run.bags[5], run.cohort.patients[5]
    explained = explain_bag(run.stack, run.folds, bag, position=5)
    kept = np.arange(len(bag.features)) >= 4
    less = replace(bag, features=bag.features[kept])
    scores = read_scores(trained.run_folder)
    row = scores.patient_ids.index(patient.patient_id)
    answer = Models(trained).answer(
        Question(
            patient=patient,
            removed={patient.slide_ids[0]: [0, 1, 2, 3]},
            log_risk=explained.log_risk,
            model_sha256=scores.model_sha256[row],
        )
    )
    expected = explain_bag(run.stack, run.folds, less, position=5).log_risk
    assert answer.without == pytest.approx(expected, abs=1e-5)


def test_permuted_bags_keep_their_centre() -> None:
    """Bags move to other patients of a centre; the models must see them as before: with the
    patients moved instead of the bags, everything is the same.
    """
    cohort, bags = hospitals("stain", seed=1, patients=24)
    splits = make_splits(cohort, SplitsConfig(folds=3, repeats=1))
    config = CONFIG.model_copy(update={"harmonise": "centre", "head": "ridge_cox"})
    specs = permuted_specs(cohort, splits, 1, permutations=1, seed=3)
    order = np.array(specs[0].bag_of)
    assert (order != np.arange(24)).any()
    done: dict[str, object] = {"config": config, "device": CPU, "seed": 1}
    found = np.concatenate([b.raw for b in fit_models(cohort, bags, specs, **done)])  # type: ignore[arg-type]
    moved = [replace(bags[order[i]], patient_id=f"P{i}") for i in range(24)]
    plain = model_specs(splits, 1)
    expected = np.concatenate([b.raw for b in fit_models(cohort, moved, plain, **done)])  # type: ignore[arg-type]
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("head", ["abmil", "ridge_cox", "mean_extremes"])
def test_inner_folds_do_not_look_at_who_they_score(head: str) -> None:
    """Scores of the others do not move when a scored patient of a known centre is another."""
    cohort, bags = hospitals("stain", seed=2, patients=24)
    config = CONFIG.model_copy(update={"harmonise": "centre", "head": head, "epochs": 3})
    splits = SplitsConfig(folds=3, repeats=1)
    [outer] = make_splits(cohort, splits)
    specs = nested_specs(cohort, outer, splits, seeds=1)
    scored = sorted(set(cohort.patient_ids) - set(specs[0].train))[0]
    place = cohort.patient_ids.index(scored)
    other = list(bags)
    other[place] = replace(bags[place], features=bags[place].features + np.float16(3))
    raw = [
        next(fit_models(cohort, some, specs[:1], config=config, device=CPU, seed=1)).raw[0]
        for some in (bags, other)
    ]
    rest = np.arange(24) != place
    assert raw[0][rest] == pytest.approx(raw[1][rest], abs=1e-6)
    assert abs(raw[0][place] - raw[1][place]) > 1e-4


def test_everything_up_to_the_report_is_made_of_it(trained: Study) -> None:
    study = load_study(
        trained.folder,
        ["train.harmonise=centre", "splits.repeats=1", LEAVE_OUT, "significance.permutations=3"],
    )
    evaluate_study(study)
    page = " ".join(write_report(study).read_text(encoding="utf-8").split())
    assert "brought together over centres by empirical Bayes" in page


def test_one_centre_alone_trains_what_it_trains_without(tmp_path: Path) -> None:
    cohort, bags = hospitals("biology", seed=1, patients=24)
    cohort = replace(cohort, patients=tuple(replace(p, centre="C0") for p in cohort.patients))
    study = study_of(tmp_path, "train.epochs=3", "run=with", cohort=cohort, bags=bags)
    done = train_study(study)
    assert "all patients are of one centre" in done.harmonised
    plain = load_study(
        tmp_path,
        ["splits.repeats=1", "train.epochs=3", "run=without"],
    )
    assert train_study(plain).harmonised == ""
    for run in ("with", "without"):
        assert (tmp_path / "runs" / run / "scores.csv").is_file()
    one, other = (load_run(s) for s in (study, plain))
    assert np.array_equal(one.raw, other.raw)


def test_patients_of_unknown_centre_train_too_and_are_counted(tmp_path: Path) -> None:
    cohort, bags = hospitals("stain", seed=1, patients=24)
    people = [
        replace(p, centre="unknown") if i in (3, 8) else p for i, p in enumerate(cohort.patients)
    ]
    study = study_of(
        tmp_path, "train.epochs=2", cohort=replace(cohort, patients=tuple(people)), bags=bags
    )
    done = train_study(study)
    assert done.patients == 24
    assert "over 4 centres; 2 patients of unknown centre stay as they are" in done.harmonised


def test_a_centre_of_one_patient_with_one_tile_is_scored(tmp_path: Path) -> None:
    cohort, bags = hospitals("stain", seed=1, patients=24)
    people = [replace(p, centre="tiny") if i == 5 else p for i, p in enumerate(cohort.patients)]
    bags[5] = replace(
        bags[5], features=bags[5].features[:1], slide_index=bags[5].slide_index[:1],
        xy_l0=bags[5].xy_l0[:1],
    )  # fmt: skip
    study = study_of(
        tmp_path, "train.epochs=2", cohort=replace(cohort, patients=tuple(people)), bags=bags
    )
    train_study(study)
    assert np.isfinite(load_run(study).raw).all()


def test_a_run_of_before_this_key_is_still_up_to_date(tmp_path: Path) -> None:
    write_study(tmp_path, *hospitals("stain", seed=1, patients=16))
    off, on = (load_study(tmp_path, [f"train.harmonise={way}"]) for way in ("null", "centre"))
    cohort = read_cohort(off)
    assert "harmonise" not in train_recipe(off, cohort).inputs["train"]
    assert train_recipe(on, cohort).inputs["train"]["harmonise"] == "centre"


def test_models_without_the_maps_that_their_index_names_are_refused(
    trained: Study, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(trained.run_folder / "models", tmp_path / "models"))
    index = json.loads((folder / "models.json").read_text())
    index["models"][0]["centres"] = ["C0"]
    (folder / "models.json").write_text(json.dumps(index))
    with pytest.raises(StoreError, match="1 centres and 4 maps"):
        load_models(folder, CPU)


def test_models_of_harmonised_tiles_can_begin_another_training(
    trained_abmil: Study, tmp_path: Path
) -> None:
    """The file's projection stands before all folds, and each fold's centres are brought to it."""
    first = sorted((trained_abmil.run_folder / "models").glob("*seed-1.safetensors"))[0]
    study = study_of(
        tmp_path, "train.head=abmil", "train.epochs=2", f"train.init={first}", "train.hidden=8",
        "train.nested=false",
    )  # fmt: skip
    train_study(study)
    run = load_run(study)
    assert run.stack.log_risks(run.bags) == pytest.approx(run.raw, abs=2e-5)
    assert len(run.stack.harmonisations) == len(run.stack.projections) == 3
    assert len({one.offset.tobytes() for one in run.stack.harmonisations}) == 3
