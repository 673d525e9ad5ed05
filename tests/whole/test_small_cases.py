"""Degenerate cohorts give a defined result or a sentence, never a loss that is not a number."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.learning import planted_cohort

from pathoml.config import SplitsConfig, TrainConfig
from pathoml.errors import CohortError
from pathoml.study.splits import make_splits
from pathoml.training.loop import model_specs, train_models
from pathoml.training.losses import DiscreteTimeLoss
from pathoml.training.model_stack import ModelSpec
from pathoml.training.scoring import fold_scores, out_of_fold, standardise
from pathoml.types import Bag, Cohort

CONFIG = TrainConfig(head="abmil", epochs=4, tiles_per_patient=8, projection=4, hidden=4, seeds=1)
CPU = torch.device("cpu")


def train(
    cohort: Cohort, bags: list[Bag], config: TrainConfig = CONFIG
) -> tuple[np.ndarray, list[dict[str, float]]]:
    log: list[dict[str, float]] = []
    splits = make_splits(cohort, SplitsConfig(folds=3, repeats=1))
    specs = model_specs(splits, config.seeds)
    raw = np.concatenate(
        [
            b.raw
            for b in train_models(cohort, bags, specs, config=config, device=CPU, seed=1, log=log)
        ]
    )
    score = standardise(out_of_fold(fold_scores(raw, specs, cohort.patient_ids), "standardised"))
    assert np.isfinite(score).all()
    assert np.isfinite([row["loss"] for row in log]).all()
    return score, log


def with_outcome(cohort: Cohort, **values: object) -> Cohort:
    return replace(cohort, patients=tuple(replace(p, **values) for p in cohort.patients))  # type: ignore[arg-type]


def cut(bag: Bag, tiles: int) -> Bag:
    return replace(
        bag,
        features=bag.features[:tiles],
        slide_index=bag.slide_index[:tiles],
        xy_l0=bag.xy_l0[:tiles],
    )


def test_one_tile_a_patient_is_enough() -> None:
    cohort, bags, _ = planted_cohort(24)
    score, _ = train(cohort, [cut(bag, 1) for bag in bags])
    assert score.shape == (24,)


def test_two_hundred_thousand_tiles_of_one_patient_are_read_beside_a_dozen() -> None:
    cohort, bags, _ = planted_cohort(24)
    n = 200_000
    huge = np.random.default_rng(0).normal(size=(n, bags[0].features.shape[1])).astype(np.float16)
    bags[0] = replace(
        bags[0], features=huge, slide_index=np.zeros(n, np.int64), xy_l0=np.zeros((n, 2), np.int64)
    )
    score, _ = train(cohort, bags)
    assert score.shape == (24,)


def test_ties_everywhere_are_a_likelihood_too() -> None:
    cohort, bags, _ = planted_cohort(24)
    _, log = train(with_outcome(cohort, time_months=12.0, event=1), bags)
    assert len(log) > 0


def test_constant_features_give_everyone_the_same_score() -> None:
    cohort, bags, _ = planted_cohort(24)
    score, _ = train(cohort, [replace(bag, features=np.ones_like(bag.features)) for bag in bags])
    assert np.ptp(score) == 0


def test_everyone_censored_is_said() -> None:
    cohort, bags, _ = planted_cohort(24)
    with pytest.raises(CohortError, match="24 patients with 0 events"):
        train(with_outcome(cohort, event=0), bags)


def test_one_patient_is_said() -> None:
    cohort, bags, _ = planted_cohort(24)
    with pytest.raises(CohortError, match="1 patients"):
        train(replace(cohort, patients=cohort.patients[:1]), bags[:1])


@pytest.mark.parametrize("loss", ["cox", "discrete_time"])
def test_a_fold_without_an_event_to_learn_from_is_said(loss: str) -> None:
    cohort, bags, _ = planted_cohort(24)
    censored = tuple(p.patient_id for p in cohort.patients if p.event == 0)
    spec = ModelSpec(repeat="repeat-1", fold="1", seed=1, train=censored)
    with pytest.raises(CohortError, match="no event among its training patients"):
        list(
            train_models(
                cohort,
                bags,
                [spec],
                config=CONFIG.model_copy(update={"loss": loss}),
                device=CPU,
                seed=1,
            )
        )


def test_a_patient_without_tiles_is_named() -> None:
    cohort, bags, _ = planted_cohort(24)
    bags[5] = cut(bags[5], 0)
    with pytest.raises(CohortError, match="Patient P5 has no tiles"):
        train(cohort, bags)


def test_the_discrete_time_loss_finds_a_planted_signal_too() -> None:
    cohort, bags, _ = planted_cohort(48, effect=6.0)
    config = TrainConfig(
        head="abmil",
        epochs=25,
        tiles_per_patient=24,
        projection=8,
        hidden=8,
        seeds=1,
        learning_rate=1e-2,
        loss="discrete_time",
    )
    score, _ = train(cohort, bags, config)
    order = score.argsort()
    assert cohort.time_months[order[:16]].mean() > 1.3 * cohort.time_months[order[-16:]].mean()


def test_the_discrete_time_loss_is_the_likelihood_maximised_over_the_level_of_each_interval() -> (
    None
):
    from scipy.optimize import minimize_scalar

    rng = np.random.default_rng(0)
    time, event, risk = rng.exponential(10, 60) + 0.1, rng.random(60) < 0.6, rng.normal(size=60)
    loss = DiscreteTimeLoss(
        torch.from_numpy(time), torch.from_numpy(event), torch.ones(1, 60, dtype=torch.bool)
    )
    cuts = np.quantile(time[event], np.arange(1, 8) / 8)
    interval = np.searchsorted(cuts, time)
    total = 0.0
    for k in range(8):
        died, lived = (interval == k) & event, interval > k

        def negative(level: float, died: np.ndarray = died, lived: np.ndarray = lived) -> float:
            hazard = np.exp(level + risk)
            return float(-np.log1p(-np.exp(-hazard[died])).sum() + hazard[lived].sum())

        total += minimize_scalar(
            negative, bounds=(-12, 6), method="bounded", options={"xatol": 1e-9}
        ).fun
    last = (
        (interval == 7) & event
    )  # nobody lives through the last interval: its hazard runs to infinity and costs nothing
    assert last.any()
    assert float(loss(torch.from_numpy(risk)[None])[0]) == pytest.approx(total / 60, abs=1e-4)


def test_delayed_entry_keeps_a_patient_out_of_earlier_risk_sets() -> None:
    from pathoml.survival.cox import partial_log_likelihood
    from pathoml.training.losses import CoxLoss

    time, event = np.array([2.0, 5.0, 7.0]), np.array([True, True, False])
    entry = np.array([0.0, 0.0, 3.0])  # the third is not yet there when the first dies
    risk = np.array([0.3, -0.2, 0.9])
    everyone = torch.ones(1, 3, dtype=torch.bool)
    loss = CoxLoss(
        torch.from_numpy(time),
        torch.from_numpy(event),
        everyone,
        entry_months=torch.from_numpy(entry),
    )
    first = 0.3 - np.log(np.exp(0.3) + np.exp(-0.2))
    second = -0.2 - np.log(np.exp(-0.2) + np.exp(0.9))
    assert float(loss(torch.from_numpy(risk)[None])[0]) == pytest.approx(-(first + second) / 2)
    without = CoxLoss(torch.from_numpy(time), torch.from_numpy(event), everyone)
    assert float(without(torch.from_numpy(risk)[None])[0]) == pytest.approx(
        -partial_log_likelihood(risk, time, event) / 2
    )
