"""Heads that are solved: exact, honest about what inner folds support, and able to see a focus."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.learning import bag_of, planted_cohort

from pathoml.config import TrainConfig
from pathoml.errors import CohortError, ConfigError
from pathoml.study.splits import make_splits
from pathoml.survival.concordance import harrell_c
from pathoml.training.fit import fit_models
from pathoml.training.loop import model_specs
from pathoml.training.model_stack import ModelSpec
from pathoml.training.scoring import averaged, fold_scores
from pathoml.training.solving import seeds_of, without_effect
from pathoml.types import Cohort, Patient

CPU = torch.device("cpu")
SOLVED = ("ridge_cox", "mean_extremes")


def cohort_of(values: list[np.ndarray], risk: np.ndarray, seed: int):
    """Return a cohort with these (N, D) tiles a patient, whose hazard is exp(risk)."""
    rng = np.random.default_rng(seed)
    time, left = rng.exponential(20 * np.exp(-risk)), rng.uniform(5, 80, len(risk))
    people = tuple(
        Patient(
            patient_id=f"P{i}",
            centre="C",
            time_months=float(min(t, c)) + 0.1,
            event=int(t <= c),
            slide_ids=(f"P{i}-1",),
            covariates={},
        )
        for i, (t, c) in enumerate(zip(time, left))
    )
    cohort = Cohort(patients=people, slides=(), endpoint="e", time_zero="z", excluded=())
    return cohort, [bag_of(x, f"P{i}") for i, x in enumerate(values)]


def focus(patients: int, seed: int):
    """A focus of 2 % of the tiles, far away, in half of the patients; the rest is common tissue."""
    rng = np.random.default_rng(seed)
    has = rng.random(patients) < 0.5
    tiles = [rng.normal(size=(200, 24)) + rng.normal(size=24) for _ in range(patients)]
    for x, there in zip(tiles, has):
        x[:4, :6] += 6.0 * there
    return cohort_of(tiles, 1.6 * has, seed)


def scores(cohort, bags, head: str, **changed: object):
    splits = make_splits(cohort, folds=4, repeats=1)
    config = TrainConfig(head=head, **changed)
    specs = model_specs(splits, seeds_of(config))
    [block] = fit_models(cohort, bags, specs, config=config, device=CPU, seed=1)
    return block, averaged(fold_scores(block.raw, specs, cohort.patient_ids))


@pytest.mark.parametrize("head", SOLVED)
def test_the_head_scores_whole_bags_as_its_solution_does(head):
    cohort, bags, _ = planted_cohort(40)
    block, _ = scores(cohort, bags, head)
    assert block.stack.log_risks(bags) == pytest.approx(block.raw, abs=1e-4)
    output = block.stack.read_bag(bags[0].features)
    assert output.contribution.sum(1).numpy() == pytest.approx(output.log_risk.numpy(), abs=1e-5)


def test_a_focus_that_the_mean_cannot_see_is_seen_by_the_extremes():
    found = {head: [] for head in SOLVED}
    for seed in range(3):
        cohort, bags = focus(100, seed)
        for head, of_seeds in found.items():
            _, score = scores(cohort, bags, head)
            of_seeds.append(harrell_c(score, cohort.time_months, cohort.event))
    assert np.mean(found["mean_extremes"]) > np.mean(found["ridge_cox"]) + 0.05
    assert np.mean(found["mean_extremes"]) > 0.6


def test_where_the_mean_says_all_the_default_is_no_worse_than_ridge_cox():
    found = {head: [] for head in SOLVED}
    for seed in range(3):
        cohort, bags, _ = planted_cohort(80, seed=seed)
        for head, of_seeds in found.items():
            _, score = scores(cohort, bags, head)
            of_seeds.append(harrell_c(score, cohort.time_months, cohort.event))
    assert np.mean(found["mean_extremes"]) > np.mean(found["ridge_cox"]) - 0.01


def test_bags_of_one_tile_are_scored_as_ridge_cox_scores_them():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(80, 1, 12))
    cohort, bags = cohort_of(list(x), 1.2 * x[:, 0, 0], seed=2)
    by_head = [scores(cohort, bags, head)[1] for head in SOLVED]
    assert np.corrcoef(*by_head)[0, 1] > 0.97


@pytest.mark.parametrize("head", SOLVED)
def test_of_a_head_that_is_solved_one_model_a_fold_is_made_whatever_the_seeds(head):
    assert seeds_of(TrainConfig(head=head, seeds=3)) == 1
    assert seeds_of(TrainConfig(head="abmil", seeds=3)) == 3


def test_the_number_of_components_is_as_asked():
    cohort, bags, _ = planted_cohort(40)
    block, _ = scores(cohort, bags, "mean_extremes", projection=5)
    assert block.stack.spec.in_dim == 5 + 1  # and the direction of the mean branch


def test_a_fold_that_cannot_be_solved_is_named():
    cohort, bags = cohort_of([np.ones((5, 4))] * 30, np.zeros(30), seed=1)
    with pytest.raises(CohortError, match=r"fold .*: None of the 4 covariates varies"):
        scores(cohort, bags, "mean_extremes")


@pytest.mark.parametrize("head", SOLVED)
def test_from_one_event_nothing_is_learned_and_everybody_has_the_same_risk(head):
    cohort, bags, _ = planted_cohort(12)
    people = tuple(
        Patient(**{**vars_of(p), "event": int(i == 3)}) for i, p in enumerate(cohort.patients)
    )
    cohort = Cohort(patients=people, slides=cohort.slides, endpoint="e", time_zero="z", excluded=())
    spec = ModelSpec(repeat="a", fold="1", seed=1, train=tuple(cohort.patient_ids))
    [block] = fit_models(cohort, bags, [spec], config=TrainConfig(head=head), device=CPU, seed=1)
    assert not block.raw.any()
    assert not block.stack.log_risks(bags).any()


def test_another_loss_than_coxs_is_refused():
    cohort, bags, _ = planted_cohort(20)
    with pytest.raises(ConfigError, match="name a head that is trained"):
        scores(cohort, bags, "mean_extremes", loss="discrete_time")


def test_keys_that_a_solved_head_has_no_use_for_are_named():
    assert without_effect(TrainConfig(epochs=80, hidden=32)) == [
        "train.epochs, train.hidden: no effect, as the head mean_extremes is solved. A head that is"
        " trained, such as abmil, reads them."
    ]
    assert "train.projection: null" in without_effect(TrainConfig(projection=None))[0]
    assert without_effect(TrainConfig()) == []
    assert without_effect(TrainConfig(head="abmil", epochs=80)) == []


def test_the_outcome_of_the_scored_fold_is_not_read():
    cohort, bags, _ = planted_cohort(40)
    splits = make_splits(cohort, folds=4, repeats=1)
    specs = model_specs(splits, 1)
    unseen = set(splits[0].folds[0].test)
    turned = Cohort(
        patients=tuple(
            p if p.patient_id not in unseen
            else Patient(**{**vars_of(p), "time_months": 1000.0 - p.time_months, "event": 1})
            for p in cohort.patients
        ),
        slides=cohort.slides, endpoint="e", time_zero="z", excluded=(),
    )  # fmt: skip
    config = TrainConfig(head="mean_extremes")
    one, other = (
        next(iter(fit_models(c, bags, specs[:1], config=config, device=CPU, seed=1))).raw
        for c in (cohort, turned)
    )
    assert np.array_equal(one, other)


def vars_of(patient: Patient) -> dict[str, object]:
    return {name: getattr(patient, name) for name in patient.__dataclass_fields__}
