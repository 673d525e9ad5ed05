"""Fit the models of a run, whichever head it has: a stack by gradient, or ridge Cox on mean
embeddings, which is solved.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from pathoml.bags.harmonisation import (
    BagMoments,
    Harmonisation,
    bag_moments,
    fit_harmonisation,
)
from pathoml.bags.reading import mean_features
from pathoml.bags.tile_bank import Projection
from pathoml.config import TrainConfig
from pathoml.survival.outcome import at_rows
from pathoml.survival.ridge_cox import fit_ridge_cox
from pathoml.training.heads import find_head
from pathoml.training.loop import (
    LogRow,
    OnEpoch,
    TrainedBlock,
    check_bags,
    runs_of_one_endpoint,
    train_models,
)
from pathoml.training.model_stack import HeadSpec, ModelSpec, ModelStack
from pathoml.training.outcomes import Outcome, Outcomes, outcome_of
from pathoml.types import Array, Bag, Cohort


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
    head = find_head(config.head, config.study_folder)
    if getattr(head, "solved", False):
        known = {"": outcome_of(cohort), **(outcomes or {})}
        check_bags(bags)
        moments = bag_moments(bags, cohort.centre) if config.harmonise else None
        means = moments.mean if moments else mean_features(bags)  # (B, D)
        for mine in runs_of_one_endpoint(specs, range(len(specs))):
            outcome = known[specs[mine.start].endpoint]
            yield _solve(
                cohort, means, specs, mine, config, device, seed, on_epoch, outcome, moments
            )
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


def _solve(
    cohort: Cohort,
    means: Array,
    specs: Sequence[ModelSpec],
    mine: slice,
    config: TrainConfig,
    device: torch.device,
    seed: int,
    on_epoch: OnEpoch | None,
    outcome: Outcome,
    moments: BagMoments | None,
) -> TrainedBlock:
    """Solve the models of one endpoint on the (B, D) mean embeddings, harmonised by training fold
    where there are moments.
    """
    index = {p: i for i, p in enumerate(cohort.patient_ids)}
    spec = HeadSpec.of(
        config.head,
        in_dim=means.shape[1],
        hidden=config.hidden,
        dropout=config.dropout,
        folder=config.study_folder,
    )
    heads, projection_of, raw = [], [], []
    projections: list[Projection] = []
    harmonisations: list[Harmonisation] = []
    place: dict[tuple[str, str, int], int] = {}
    for number, one in enumerate(specs[mine], mine.start + 1):
        if one.tiles_seen not in place:
            place[one.tiles_seen] = len(projections)
            rows = one.copies(np.array([index[p] for p in one.train]))
            seen = means
            if moments:
                bags = rows if one.bag_of is None else np.asarray(one.bag_of)[rows]
                harmonisations.append(fit_harmonisation(moments, bags))
                seen = harmonisations[-1].applied(means, moments.centre)
            of_patient = seen if one.bag_of is None else seen[list(one.bag_of)]
            model = fit_ridge_cox(
                of_patient[rows],
                outcome.time_months[rows],
                outcome.event[rows],
                seed=seed,
                entry_months=at_rows(outcome.late_entry_months, rows),
                copy_of=None if one.drawn is None else rows,
            )
            head = spec.build()
            head.load_state_dict({"risk.weight": torch.from_numpy(model.weights).float()[None]})
            centre = torch.from_numpy(model.mean).float()
            projections.append((centre, torch.ones_like(centre)))
            heads.append(head)
            raw.append(model.predict(of_patient))
        projection_of.append(place[one.tiles_seen])
        if on_epoch:
            on_epoch(number, len(specs))
    stack = ModelStack(
        spec,
        [heads[f] for f in projection_of],
        projections,
        projection_of=projection_of,
        harmonisations=harmonisations,
    ).to(device)
    stack.projections = [(mean.to(device), scale.to(device)) for mean, scale in stack.projections]
    return TrainedBlock(models=mine, stack=stack, raw=np.stack([raw[f] for f in projection_of]))
