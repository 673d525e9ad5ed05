"""Fit the models of a run, whichever head it has: a stack by gradient, or one that is solved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from pathoml.config import TrainConfig
from pathoml.training.initial_weights import refuse_solved
from pathoml.training.loop import (
    LogRow,
    OnEpoch,
    TrainedBlock,
    check_bags,
    runs_of_one_endpoint,
    train_models,
)
from pathoml.training.model_stack import ModelSpec
from pathoml.training.outcomes import Lessons, Outcomes
from pathoml.training.solving import BagStatistics, is_solved, refuse_other_loss, solve_models
from pathoml.types import Bag, Cohort


def fit_models(
    cohort: Cohort,
    bags: Sequence[Bag],
    specs: Sequence[ModelSpec],
    *,
    config: TrainConfig,
    device: torch.device,
    seed: int,
    outcomes: Outcomes | None = None,
    on_epoch: OnEpoch | None = None,
    log: list[LogRow] | None = None,
) -> Iterator[TrainedBlock]:
    """Yield blocks of fitted models; arguments and errors are those of `training.train_models`."""
    refuse_solved(config)
    refuse_other_loss(config)
    if is_solved(config):
        lessons = Lessons(cohort, config.strata, outcomes=outcomes)
        check_bags(bags)
        statistics = BagStatistics.of(
            cohort, bags, specs, lessons=lessons, config=config, device=device, seed=seed
        )
        for mine in runs_of_one_endpoint(specs, range(len(specs))):
            stack, raw = solve_models(
                statistics, specs[mine], lessons=lessons, config=config, seed=seed
            )
            stack.projections = [
                (mean.to(device), columns.to(device)) for mean, columns in stack.projections
            ]
            yield TrainedBlock(models=mine, stack=stack.to(device), raw=raw)
            if on_epoch:
                on_epoch(mine.stop, len(specs))
    else:
        yield from train_models(
            cohort,
            bags,
            specs,
            config=config,
            device=device,
            seed=seed,
            outcomes=outcomes,
            on_epoch=on_epoch,
            log=log,
        )
