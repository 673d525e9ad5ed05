"""Fit the models of a run, whichever head it has: a stack by gradient, or one that is solved."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch

from pathoml.config import TrainConfig
from pathoml.training.heads import is_solved
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
from pathoml.training.solving import BagStatistics, refuse_other_loss, solve_models
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
        told = _in_epochs(on_epoch, config.epochs, len(specs))
        for mine in runs_of_one_endpoint(specs, range(len(specs))):
            stack, raw = solve_models(
                statistics,
                specs[mine],
                lessons=lessons,
                config=config,
                seed=seed,
                on_model=partial(told, mine.start),
            )
            stack.projections = [
                (mean.to(device), columns.to(device)) for mean, columns in stack.projections
            ]
            yield TrainedBlock(models=mine, stack=stack.to(device), raw=raw)
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


def _in_epochs(on_epoch: OnEpoch | None, epochs: int, models: int) -> Callable[[int, int], None]:
    """Return what is told of models that are solved, counted as those that are trained."""

    def told(before: int, done: int) -> None:
        if on_epoch:
            on_epoch((before + done) * epochs, models * epochs)

    return told
