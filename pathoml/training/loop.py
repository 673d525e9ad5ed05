"""Every fold, repeat, seed and permutation in one pass over the cohort: what step `train` and the
permutation test have in common.

Each epoch samples the same number of tiles from every bag, runs all models on it, and takes one
step on the exact Cox loss of the whole training fold. The number of epochs is fixed beforehand:
nothing is selected on the fold that is scored.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pathoml.bags.batches import batches_by_size, padded_rows, sample_tiles
from pathoml.bags.harmonisation import (
    BagMoments,
    Harmonisation,
    bag_moments,
    fit_harmonisation,
)
from pathoml.bags.projection import choose_projection, fit_projections
from pathoml.bags.reading import feature_parts
from pathoml.bags.tile_bank import Projection, TileBank
from pathoml.config import TrainConfig
from pathoml.errors import CohortError, ConfigError
from pathoml.survival.outcome import at_rows
from pathoml.training.heads import is_solved
from pathoml.training.initial_weights import InitialWeights, read_initial_weights
from pathoml.training.losses import survival_loss
from pathoml.training.model_stack import READ_VALUES, HeadSpec, ModelSpec, ModelStack, blocks
from pathoml.training.outcomes import Lessons, Outcomes
from pathoml.types import Bag, Cohort, Split

PROJECTED_BYTES = {
    "cpu": 2 * 2**30,
    "cuda": 16 * 2**30,
}  # tiles under the projections of the models that are in hand
BLOCK_VALUES = {
    "cpu": 2**22,
    "cuda": 2**29,
}  # activations of one layer that train together; the graph holds about six layers
CHUNK_VALUES = {
    "cpu": 2**19,
    "cuda": 2**29,
}  # activations of one layer computed at once: 2 MB stay in the cache
GRADIENT_CLIP = 5.0  # per model; the Cox gradient of a small fold can jump

OnEpoch = Callable[[int, int], None]  # (model epochs done, model epochs in all)
LogRow = dict[str, Any]
RawScores = npt.NDArray[np.float64]
Sights = tuple[list[Projection], list[Harmonisation]]  # F each; no harmonisations, where none


@dataclass(frozen=True, kw_only=True)
class TrainedBlock:
    """Models of one endpoint that were trained together."""

    models: slice  # of the specs
    stack: ModelStack
    raw: RawScores  # (M, B) raw log-risk of each patient's whole bag


def model_specs(splits: Sequence[Split], seeds: int) -> list[ModelSpec]:
    """Return one spec for each fold of each repeat and each seed."""
    return [
        ModelSpec(repeat=split.name, fold=fold.name, seed=seed, train=fold.train)
        for split in splits
        for fold in split.folds
        for seed in range(1, seeds + 1)
    ]


def train_models(
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
    """Train models in blocks that fit into memory and yield each block when it is done.

    Tiles are projected once for the models of all endpoints. A block has models of one endpoint
    only, since models of a block share the random numbers of dropout: so a further endpoint changes
    nothing of the others, and is trained as it would be alone. Blocks come in the order of the
    projections, which is that of the specs where there is one endpoint.

    Args:
        bags: one per patient, in the cohort's order.
        specs: the models, endpoint after endpoint; of an endpoint, those of one fold, repeat and
            permutation stand together. A projection is fitted to the training patients of the
            first that has it.
        seed: of initialisations, tile samples and dropout.
        outcomes: of the endpoints that the specs name, beside the cohort's own.
        log: filled with one row per model and epoch.

    Raises:
        CohortError: a bag has no tiles or its features are not finite; a fold has no event to learn
            from.
        ConfigError: the weights of train.init do not fit, or the head is solved.
    """
    if is_solved(config):
        raise ConfigError(
            f"The head {config.head} is solved, not trained: call training.fit.fit_models, or name"
            " a head that is trained, such as abmil."
        )
    check_bags(bags)
    initial = read_initial_weights(config, bags[0].features.shape[1])
    sizes = [len(b.features) for b in bags]
    tiles = min(config.tiles_per_patient, max(sizes))
    rng = np.random.default_rng(seed)
    plan = [
        torch.from_numpy(sample_tiles(sizes, tiles, rng)).to(device) for _ in range(config.epochs)
    ]  # epochs x (B, n)
    projection = choose_projection(config.projection, len(bags), device)
    width = projection or bags[0].features.shape[1]
    if initial:  # whose one projection stands before all models; harmonised, once for each fold
        own = config.harmonise and initial.projection[1].ndim > 1
        projection, width = initial.in_dim if own else None, initial.in_dim
    stored = sum(sizes) * width * 4 if projection else 1
    progress = _Progress(on_epoch, config.epochs * len(specs))
    moments = bag_moments(bags, cohort.centre) if config.harmonise else None
    lessons = Lessons(cohort, config.strata, outcomes=outcomes)
    a_patient = tiles * max(config.hidden, width)
    size = max(1, BLOCK_VALUES[device.type] // (len(bags) * a_patient))
    for group in _groups(specs, max(1, PROJECTED_BYTES[device.type] // stored)):
        of_group = [spec for run in group for spec in specs[run]]
        bank, sights, projection_of = _project(
            cohort,
            bags,
            of_group,
            config,
            seed=seed,
            device=device,
            moments=moments,
            initial=initial,
        )
        place = iter(projection_of)
        for mine in (
            slice(run.start + block.start, run.start + block.stop)
            for run in group
            for block in blocks(run.stop - run.start, size)
        ):
            used = [next(place) for _ in specs[mine]]
            stack = _new_stack(specs[mine], config, sights, used, seed, device, initial)
            rows = _fit(stack, bank, used, cohort, specs[mine], config, plan, progress, lessons)
            if log is not None:
                log.extend(rows)
            yield TrainedBlock(
                models=mine, stack=stack, raw=_whole_bags(stack, bank, used, specs[mine])
            )


def check_bags(bags: Sequence[Bag]) -> None:
    """Raise CohortError for a bag without tiles or with features that are not finite."""
    for bag in bags:
        finite = all(
            np.isfinite(part[first : first + 2**14]).all()
            for part in feature_parts(bag)
            for first in range(0, len(part), 2**14)
        )
        if not len(bag.features) or not finite:
            raise CohortError(
                f"Patient {bag.patient_id} has no tiles, or features that are not finite. Embed the"
                " slides again."
            )


class _Progress:
    def __init__(self, on_epoch: OnEpoch | None, total: int) -> None:
        self._on_epoch, self._total, self._done = on_epoch, total, 0

    def add(self, model_epochs: int) -> None:
        self._done += model_epochs
        if self._on_epoch:
            self._on_epoch(self._done, self._total)


def _groups(specs: Sequence[ModelSpec], most: int) -> Iterator[list[slice]]:
    """Yield the specs of at most `most` different projections: a run of specs for each endpoint."""
    seen = list(dict.fromkeys(spec.tiles_seen for spec in specs))
    for first in range(0, len(seen), most):
        wanted = set(seen[first : first + most])
        chosen = [i for i, spec in enumerate(specs) if spec.tiles_seen in wanted]
        yield runs_of_one_endpoint(specs, chosen)


def runs_of_one_endpoint(specs: Sequence[ModelSpec], chosen: Sequence[int]) -> list[slice]:
    """Return slices that cover the chosen specs, each of neighbours that learn the same."""
    runs: list[slice] = []
    for i in chosen:
        if runs and runs[-1].stop == i and specs[i - 1].learns == specs[i].learns:
            runs[-1] = slice(runs[-1].start, i + 1)
        else:
            runs.append(slice(i, i + 1))
    return runs


def _bag_of(spec: ModelSpec, patients: int) -> npt.NDArray[np.int64]:
    return np.arange(patients) if spec.bag_of is None else np.asarray(spec.bag_of)


def _project(
    cohort: Cohort,
    bags: Sequence[Bag],
    specs: Sequence[ModelSpec],
    config: TrainConfig,
    *,
    seed: int,
    device: torch.device,
    moments: BagMoments | None,
    initial: InitialWeights | None,
) -> tuple[TileBank, Sights, list[int]]:
    """Return the tiles as the models of each fold see them, how they do, and which sight each model
    has.
    """
    given: Projection | None = None
    if initial:
        mean, components = (part.to(device) for part in initial.projection)
        given = mean, components
    if given and not moments:
        return TileBank(bags, [given], device), ([given], []), [0] * len(specs)
    index = {p: i for i, p in enumerate(cohort.patient_ids)}
    place: dict[tuple[str, str, int], int] = {}
    trainings = []
    for spec in specs:
        if spec.tiles_seen not in place:
            place[spec.tiles_seen] = len(place)
            rows = spec.copies(np.array([index[p] for p in spec.train]))
            trainings.append(_bag_of(spec, len(bags))[rows])
    harmonisations = [fit_harmonisation(moments, t) for t in trainings] if moments else []
    seen: dict[str, Any] = {"harmonisations": harmonisations, "centres": cohort.centre}
    projections = (
        [given] * len(trainings)
        if given
        else fit_projections(
            bags,
            trainings,
            choose_projection(config.projection, len(bags), device),
            seed=seed,
            device=device,
            **seen,
        )
    )
    bank = TileBank(bags, projections, device, **seen)
    return bank, (projections, harmonisations), [place[s.tiles_seen] for s in specs]


def _new_stack(
    specs: Sequence[ModelSpec],
    config: TrainConfig,
    sights: Sights,
    used: Sequence[int],
    seed: int,
    device: torch.device,
    initial: InitialWeights | None,
) -> ModelStack:
    """Return an untrained stack; a seed starts alike in every fold, and all seeds do with initial
    weights.
    """
    projections, harmonisations = sights
    components = projections[0][1]
    spec = HeadSpec.of_section(config, components.shape[-1])
    built = {}
    for one in sorted({s.seed for s in specs}):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed * 7919 + one)
            built[one] = spec.build()
            if initial:
                initial.start(built[one])
            built[one].to(device)
    wanted = sorted(set(used))
    return ModelStack(
        spec,
        [built[s.seed] for s in specs],
        [projections[f] for f in wanted],
        projection_of=[wanted.index(f) for f in used],
        harmonisations=[harmonisations[f] for f in wanted] if harmonisations else (),
    ).to(device)


def _fit(
    stack: ModelStack,
    bank: TileBank,
    used: Sequence[int],
    cohort: Cohort,
    specs: Sequence[ModelSpec],
    config: TrainConfig,
    plan: Sequence[Tensor],
    progress: _Progress,
    lessons: Lessons,
) -> list[LogRow]:
    """Train one block: a step an epoch on all of its models."""
    device, patients = bank.device, len(cohort.patients)
    training, bag_of = _training_patients(cohort, specs)
    training, bag_of = (
        training.to(device),
        bag_of.to(device),
    )  # (M, b) patients and their bags; `patients` fills up shorter folds
    is_training = (
        torch.zeros(len(specs), patients + 1, device=device).scatter(1, training, 1)[:, :-1].bool()
    )  # (M, B)
    row, is_copy = _copies(specs, is_training)  # (B',), (M, B')
    outcome, offsets = lessons.of(specs[0]), lessons.offsets(specs)
    loss = survival_loss(
        config,
        outcome.time_months[row],
        outcome.event[row],
        entry_months=outcome.entry_months[row],
        is_training=is_copy,
        stratum=at_rows(outcome.stratum, row),
        offset=None if offsets is None else offsets[:, row],
    )
    values = [*stack.head.by_name().values()]
    optimiser = torch.optim.AdamW(
        values, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=config.epochs)
    a_patient = len(specs) * plan[0].shape[1] * max(config.hidden, bank.width)
    chunk = max(1, CHUNK_VALUES[device.type] // a_patient)
    rows: list[LogRow] = []
    stack.train()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        stack.head.seed(int(plan[0].sum()) + sum(s.permutation * 1009 + s.seed for s in specs))
        for epoch, sample in enumerate(plan, 1):
            risks = []
            for some in blocks(training.shape[1], chunk):
                features = bank.take(used, sample[bag_of[:, some]])  # (M, b, n, K)
                is_tile = torch.ones(1, 1, 1, dtype=torch.bool, device=device)
                with _precision(config, device):
                    risks.append(stack(features, is_tile).log_risk.float())  # (M, b)
            risk = torch.zeros(len(specs), patients + 1, device=device).scatter(
                1, training, torch.cat(risks, dim=1)
            )[:, :-1]  # (M, B)
            losses = loss(risk[:, row])  # (M,)
            if not bool(torch.isfinite(losses).all()):
                name = next(
                    s.name for s, value in zip(specs, losses.tolist()) if not np.isfinite(value)
                )
                of = f" ({specs[0].endpoint})" if specs[0].endpoint else ""
                raise CohortError(
                    f"The loss of {name}{of} is not finite in epoch {epoch}. Lower"
                    " train.learning_rate."
                )
            optimiser.zero_grad()
            losses.sum().backward()  # type: ignore[no-untyped-call]  # models share nothing, so the sum's gradient is each one's own
            clip_each_model(values)
            optimiser.step()
            schedule.step()
            rows += [
                {
                    "endpoint": s.endpoint,
                    "offset": s.offset,
                    "model": s.name,
                    "epoch": epoch,
                    "loss": value,
                }
                for s, value in zip(specs, losses.tolist())
            ]
            progress.add(len(specs))
    return rows


def _precision(config: TrainConfig, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Heads in bfloat16 where asked; losses, sums and weights stay in float32 or better."""
    if config.precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return contextlib.nullcontext()


def _training_patients(cohort: Cohort, specs: Sequence[ModelSpec]) -> tuple[Tensor, Tensor]:
    """Return each model's training patients and their bags, (M, b) each; a fold that is shorter is
    filled up with a patient too many.
    """
    index = {p: i for i, p in enumerate(cohort.patient_ids)}
    patients = len(cohort.patients)
    rows = [
        np.array([index[p] for p in s.train if s.drawn is None or s.drawn[index[p]]]) for s in specs
    ]
    longest = max(len(mine) for mine in rows)
    training = np.full((len(specs), longest), patients)
    bags = np.zeros((len(specs), longest), np.int64)
    for m, (spec, mine) in enumerate(zip(specs, rows)):
        training[m, : len(mine)] = mine
        bags[m, : len(mine)] = _bag_of(spec, patients)[mine]
    return torch.from_numpy(training), torch.from_numpy(bags)


def _copies(
    specs: Sequence[ModelSpec], is_training: Tensor
) -> tuple[npt.NDArray[np.int64], Tensor]:
    """Return the patient of each row of the likelihood, (B',), and which rows each model learns
    from, (M, B').

    A patient who was drawn c times has c rows, which are tied in time: what a Cox model of the
    resampled table sees. Their tiles are read once.
    """
    patients = is_training.shape[1]
    drawn = np.stack([np.ones(patients, int) if s.drawn is None else s.drawn for s in specs])
    most = drawn.max(axis=0).clip(min=1)  # (B,)
    row = np.repeat(np.arange(patients), most)  # (B',)
    copy = np.arange(len(row)) - np.repeat(np.cumsum(most) - most, most)  # 0, 1, ... of a patient
    is_there = torch.from_numpy(copy < drawn[:, row]).to(is_training.device)  # (M, B')
    return row, is_training[:, row] & is_there


def clip_each_model(values: Sequence[Tensor]) -> None:
    """Clip each model's gradient on its own; a joint norm would tie the models together."""
    gradients = [v.grad.flatten(1) for v in values if v.grad is not None]  # (M, ...) each
    norm = torch.stack([g.square().sum(1) for g in gradients]).sum(0).sqrt()  # (M,)
    scale = (GRADIENT_CLIP / norm.clamp(min=1e-12)).clamp(max=1)  # (M,)
    for gradient in gradients:
        gradient.mul_(scale[:, None])


@torch.inference_mode()
def _whole_bags(
    stack: ModelStack, bank: TileBank, used: Sequence[int], specs: Sequence[ModelSpec]
) -> RawScores:
    """Return (M, B) raw log-risks of each patient's whole bag."""
    stack.eval()
    width = max(stack.spec.hidden, stack.spec.in_dim)
    raw = np.empty((len(specs), len(bank.sizes)))
    most = CHUNK_VALUES[bank.device.type] // (width * len(specs))
    for batch in batches_by_size(bank.sizes, max(1, most)):
        rows, is_tile = padded_rows(bank.starts, bank.sizes, batch)  # (b, N)
        rows, is_tile = rows.to(bank.device), is_tile.to(bank.device)
        for models in blocks(len(specs), max(1, READ_VALUES // (rows.numel() * width))):
            features = bank.take(
                used[models], rows.expand(models.stop - models.start, -1, -1)
            )  # (M, b, N, K)
            raw[models.start : models.stop, batch] = (
                stack.forward_some(models, features, is_tile).log_risk.double().cpu().numpy()
            )
    return np.stack(
        [one[_bag_of(spec, raw.shape[1])] for one, spec in zip(raw, specs)]
    )  # bags -> patients
