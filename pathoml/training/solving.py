"""Solve heads instead of training them: ridge Cox models of outcome-blind statistics of the bags,
stacked inside the training fold.

A head says which statistics it reads (`branches`): "mean", of all features, and "extremes", along
the principal components of the training patients' tiles (bags/extremes.py). The penalty of each
branch and the weights between them come from inner folds of the training patients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from pathoml.bags.extremes import component_statistics
from pathoml.bags.harmonisation import Harmonisation, bag_moments, fit_harmonisation
from pathoml.bags.projection import COMPONENTS, fit_projections
from pathoml.bags.reading import mean_features
from pathoml.bags.tile_bank import Projection
from pathoml.config import TrainConfig
from pathoml.errors import CohortError, ConfigError
from pathoml.survival.cox import partial_log_likelihood
from pathoml.survival.ridge_cox import RidgeCox, fit_ridge_cox
from pathoml.survival.stacked_cox import stacking_weights
from pathoml.training.heads import find_head, is_solved
from pathoml.training.model_stack import HeadSpec, ModelSpec, ModelStack
from pathoml.training.outcomes import Lessons
from pathoml.types import Array, Bag, Bools, Cohort, Labels

# log-likelihood that the extremes must add to the prevalidated mean, as a coefficient must (Akaike)
WORTH_A_BRANCH = 1.0
SMALLEST_SD = 1e-6  # of tiles along a component; one that is constant must not be blown up
Seen = tuple[str, str, int]  # ModelSpec.tiles_seen


# keys of train that a solved head has no use for
OF_TRAINED_HEADS = (
    "seeds",
    "epochs",
    "tiles_per_patient",
    "hidden",
    "dropout",
    "learning_rate",
    "weight_decay",
    "precision",
)


def refuse_other_loss(config: TrainConfig) -> None:
    """Raise ConfigError where a head that is solved is asked for another loss than Cox's."""
    if is_solved(config) and config.loss != "cox":
        raise ConfigError(
            f"train.loss = {config.loss!r}: the head {config.head} is solved for Cox's partial"
            " likelihood. Remove train.loss, or name a head that is trained, such as abmil."
        )


def without_effect(config: TrainConfig) -> list[str]:
    """Return a sentence on the keys of train that were changed in vain, as the head is solved."""
    usual = TrainConfig()
    changed = [key for key in OF_TRAINED_HEADS if getattr(config, key) != getattr(usual, key)]
    changed += ["projection: null"] if config.projection is None else []
    if not changed or not is_solved(config):
        return []
    return [
        f"{', '.join(f'train.{key}' for key in changed)}: no effect, as the head {config.head} is"
        " solved. A head that is trained, such as abmil, reads them."
    ]


def components_of(config: TrainConfig) -> int:
    """Return the principal components along which extremes are read; without any there are none."""
    return COMPONENTS if config.projection in ("auto", None) else int(config.projection)


def tiles_seen(config: TrainConfig) -> str:
    """Return a sentence for the log: how a solved head sees the tiles."""
    if "extremes" in _branches(config):
        return (
            "tiles are seen on average, and at both ends of"
            f" {components_of(config)} principal components of each training fold"
        )
    return "tiles are seen on average, with all features"


def _branches(config: TrainConfig) -> Sequence[str]:
    return getattr(find_head(config.head, config.study_folder), "branches", ("mean",))


def seeds_of(config: TrainConfig) -> int:
    """Return how many initialisations of a fold differ: one of a head that is solved."""
    return 1 if is_solved(config) else config.seeds


@dataclass(frozen=True, kw_only=True)
class BagStatistics:
    """What solved heads read of every bag."""

    means: Array  # (B, D)
    projections: dict[Seen, Projection]  # of the tiles, where a head reads extremes
    extremes: dict[Seen, Array]  # (B, 2, K)
    tile_sd: dict[Seen, Array]  # (K,) of the training patients' tiles, each patient weighing alike
    centre: Labels  # (B,)
    # of the tiles, where train.harmonise asks for it; what models read is harmonised then
    harmonisations: dict[Seen, Harmonisation]

    @classmethod
    def of(
        cls,
        cohort: Cohort,
        bags: Sequence[Bag],
        specs: Sequence[ModelSpec],
        *,
        lessons: Lessons,
        config: TrainConfig,
        device: torch.device,
        seed: int,
    ) -> BagStatistics:
        """Read every bag once for eight projections."""
        centre = cohort.centre
        moments = bag_moments(bags, centre) if config.harmonise else None
        means = moments.mean if moments else mean_features(bags)
        trainings: dict[Seen, npt.NDArray[np.int64]] = {}
        for spec in specs:
            if spec.tiles_seen not in trainings:
                rows = lessons.rows(spec)
                trainings[spec.tiles_seen] = (
                    rows if spec.bag_of is None else np.asarray(spec.bag_of)[rows]
                )
        harmonisations = (
            {seen: fit_harmonisation(moments, rows) for seen, rows in trainings.items()}
            if moments
            else {}
        )
        if "extremes" not in _branches(config):
            return cls(
                means=means,
                projections={},
                extremes={},
                tile_sd={},
                centre=centre,
                harmonisations=harmonisations,
            )
        sight: dict[str, Any] = {
            "harmonisations": list(harmonisations.values()),
            "centres": centre,
        }
        found = fit_projections(
            bags,
            list(trainings.values()),
            components_of(config),
            seed=seed,
            device=device,
            **sight,
        )
        read = component_statistics(bags, found, device, **sight)
        squares = read.mean_square.double().numpy()  # (F, B, K)
        return cls(
            means=means,
            projections=dict(zip(trainings, found)),
            extremes=dict(zip(trainings, read.extremes.double().numpy())),
            tile_sd={
                seen: np.sqrt(of_bags[rows].mean(axis=0)).clip(SMALLEST_SD)
                for (seen, rows), of_bags in zip(trainings.items(), squares)
            },
            centre=centre,
            harmonisations=harmonisations,
        )

    def means_of(self, one: ModelSpec) -> Array:
        """Return (B, D) of each patient's bag, as a model sees its tiles."""
        means = self.means
        if one.tiles_seen in self.harmonisations:
            means = self.harmonisations[one.tiles_seen].applied(means, self.centre)
        return means if one.bag_of is None else means[list(one.bag_of)]


def solve_models(
    statistics: BagStatistics,
    specs: Sequence[ModelSpec],
    *,
    lessons: Lessons,
    config: TrainConfig,
    seed: int,
    on_model: Callable[[int], None] = lambda _: None,
) -> tuple[ModelStack, Array]:
    """Solve models of one endpoint.

    Args:
        on_model: called with how many are done.

    Returns:
        The stack, and (M, B) raw log-risks of every patient's bag.

    Raises:
        CohortError: a fold cannot be fitted; says which and why.
    """
    place: dict[Seen, int] = {}
    solved: list[_Solved] = []
    for done, one in enumerate(specs, 1):
        if one.tiles_seen not in place:
            place[one.tiles_seen] = len(place)
            try:
                solved.append(_solve(statistics, one, lessons, config, seed))
            except CohortError as error:
                raise CohortError(f"{one.repeat}, fold {one.fold}: {error}") from error
        on_model(done)
    projection_of = [place[one.tiles_seen] for one in specs]
    stack = ModelStack(
        solved[0].spec,
        [solved[f].head for f in projection_of],
        [s.projection for s in solved],
        projection_of=projection_of,
        harmonisations=[statistics.harmonisations[s] for s in place]
        if statistics.harmonisations
        else (),
    )
    return stack, np.stack([solved[f].raw for f in projection_of])


@dataclass(frozen=True, kw_only=True)
class _Solved:
    spec: HeadSpec
    head: nn.Module
    projection: Projection
    raw: Array  # (B,)


def _solve(
    statistics: BagStatistics,
    one: ModelSpec,
    lessons: Lessons,
    config: TrainConfig,
    seed: int,
) -> _Solved:
    rows, outcome = lessons.rows(one), lessons.of(one)
    means = statistics.means_of(one)
    about = outcome.at(rows)
    given: dict[str, Any] = {
        "seed": seed,
        "copy_of": None if one.drawn is None else rows,
        **about,
    }
    known = outcome.time_months[rows], outcome.event[rows]
    events = int(outcome.event[np.unique(rows)].sum())
    if events == 1:
        return _silent(statistics, one, config)
    standardised = fit_ridge_cox(means[rows], *known, **given)
    if not statistics.extremes:
        head, spec = _built(config, means.shape[1])
        head.load_state_dict({"risk.weight": torch.from_numpy(standardised.weights).float()[None]})
        centre = torch.from_numpy(standardised.mean).float()
        return _Solved(
            spec=spec,
            head=head,
            projection=(centre, torch.ones_like(centre)),
            raw=standardised.predict(means),
        )
    tile_mean, components = statistics.projections[one.tiles_seen]  # (D,), (D, K)
    columns = components.double().cpu().numpy() / np.sqrt(statistics.tile_sd[one.tiles_seen])
    mean = _mean_branch(standardised, means, columns, rows, known, given)
    values = statistics.extremes[one.tiles_seen]  # (B, 2, K)
    values = (values if one.bag_of is None else values[list(one.bag_of)]).reshape(len(means), -1)
    # the extremes learn what the mean leaves: its log-risk is known, as honest as on new patients
    [alone] = stacking_weights(mean.prevalidated[:, None], *known, **about)
    told = alone * mean.prevalidated + (0.0 if outcome.offset is None else outcome.offset[rows])
    extremes = fit_ridge_cox(values[rows], *known, **(given | {"offset": told}), standardise=False)
    both = np.column_stack([mean.prevalidated, extremes.prevalidated])
    of_mean, of_extremes = stacking_weights(both, *known, **about)
    gained = partial_log_likelihood(
        both @ [of_mean, of_extremes], *known, **about
    ) - partial_log_likelihood(both @ [alone, 0.0], *known, **about)
    if gained < WORTH_A_BRANCH:
        of_mean, of_extremes = float(alone), 0.0
    column = torch.from_numpy(mean.weights).to(components)  # (D,): the mean branch, one column more
    head, spec = _built(config, components.shape[1] + 1)
    shift = float(mean.mean @ mean.weights - tile_mean.double().cpu().numpy() @ mean.weights)
    spread = values[rows].std(axis=0)  # (2 K,)
    high, low = (
        (
            np.append(of_extremes * extremes.weights[end], 0.0),
            np.append(extremes.mean[end], 0.0),
            np.append(spread[end], 0.0),
        )
        for end in (slice(None, components.shape[1]), slice(components.shape[1], None))
    )
    nothing = np.zeros(components.shape[1])
    own_spread = (means[rows] @ mean.weights).std()
    own = (np.append(nothing, value) for value in (of_mean, shift, own_spread))
    head.set_branches(tuple(own), high, low)  # log hazard ratio per unit, centre, SD of each
    return _Solved(
        spec=spec,
        head=head,
        projection=(tile_mean, torch.cat([components, column[:, None]], dim=1)),
        raw=of_mean * mean.predict(means) + of_extremes * extremes.predict(values),
    )


def _silent(statistics: BagStatistics, one: ModelSpec, config: TrainConfig) -> _Solved:
    """Return a model that gives everybody the same risk: from one event no penalty can be chosen,
    and under the strongest nothing is learned.
    """
    patients, width = statistics.means.shape
    if one.tiles_seen in statistics.projections:
        centre, components = statistics.projections[one.tiles_seen]
        columns = torch.cat([components, torch.zeros_like(components[:, :1])], dim=1)
    else:
        centre, columns = torch.zeros(width), torch.ones(width)
    head, spec = _built(config, columns.shape[-1])
    return _Solved(spec=spec, head=head, projection=(centre, columns), raw=np.zeros(patients))


class _Linear(NamedTuple):
    """A linear log-risk of the mean of all tiles, zero on average over the training rows."""

    mean: Array  # (D,) of the training rows
    weights: Array  # (D,)
    prevalidated: Array  # (B,) of the training rows

    def predict(self, means: Array) -> Array:
        return np.asarray((means - self.mean) @ self.weights)


def _mean_branch(
    standardised: RidgeCox,
    means: Array,
    columns: Array,
    rows: npt.NDArray[np.int64],
    known: tuple[Array, Bools],
    given: dict[str, Any],
) -> _Linear:
    """Return the mean of two ridge Cox models of the mean of all tiles: of the standardised
    features, whose penalty goes by how patients differ, and of (D, K) components of the tiles,
    whose penalty goes by how tiles differ, so that its map has less noise.
    """
    of_components = fit_ridge_cox(means[rows] @ columns, *known, **given, standardise=False)
    return _Linear(
        mean=standardised.mean,
        weights=(standardised.weights + columns @ of_components.weights) / 2,
        prevalidated=(standardised.prevalidated + of_components.prevalidated) / 2,
    )


def _built(config: TrainConfig, in_dim: int) -> tuple[Any, HeadSpec]:
    spec = HeadSpec.of_section(config, in_dim)
    return spec.build(), spec
