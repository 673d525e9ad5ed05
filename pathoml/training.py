"""Step `train`: every fold, repeat and seed in one pass over the cohort; writes runs/RUN/models/, splits.json and log.csv.

Each epoch samples the same number of tiles from every bag, runs all models on it, and takes one step on the exact Cox loss of the
whole training fold. The number of epochs is fixed beforehand: nothing is selected on the fold that is scored.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor, nn

from pathoml.bags import sample_tiles
from pathoml.config import TrainConfig
from pathoml.errors import CohortError
from pathoml.losses import CoxLoss
from pathoml.model_stack import HeadSpec, ModelSpec, ModelStack, blocks
from pathoml.projection import fit_projection
from pathoml.types import Bag, Cohort, Split

BLOCK_BYTES = 256 * 2**20  # of one epoch's projected tiles over the models that train together
GRADIENT_CLIP = 5.0  # per model; the Cox gradient of a small fold can jump

OnEpoch = Callable[[int, int], None]  # (model epochs done, model epochs in all)
LogRow = dict[str, Any]


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
    config: TrainConfig,
    *,
    device: torch.device,
    seed: int,
    on_epoch: OnEpoch | None = None,
    log: list[LogRow] | None = None,
) -> Iterator[tuple[slice, ModelStack]]:
    """Train models in blocks that fit into memory and yield each block when it is done.

    Args:
        bags: one a patient, in the cohort's order (for a permutation: another patient's).
        specs: the models; models of one repeat and fold share a projection.
        seed: of initialisations, tile samples and dropout.
        log: filled with one row a model and epoch.

    Yields:
        The slice of `specs` and the trained stack.

    Raises:
        CohortError: a bag has no tiles or its features are not finite; a fold has no event to learn from.
    """
    for bag in bags:
        if not len(bag.features) or not np.isfinite(bag.features).all():
            raise CohortError(f"Patient {bag.patient_id} has no tiles, or features that are not finite. Embed the slides again.")
    tiles = min(config.tiles_per_patient, max(len(b.features) for b in bags))
    width = config.projection or bags[0].features.shape[1]
    size = max(1, BLOCK_BYTES // (len(bags) * tiles * width * 4))
    done = 0
    for block in blocks(len(specs), size):
        stack, projected = _new_stack(cohort, bags, specs[block], config, device, seed)
        module = _StackModule(stack, projected, cohort, [len(b.features) for b in bags], specs[block], config, tiles, seed + block.start)
        _fit(module, config.epochs, device, on_epoch, done, config.epochs * len(specs))
        done += config.epochs * (block.stop - block.start)
        if log is not None:
            log.extend(module.rows)
        yield block, stack


def _new_stack(
    cohort: Cohort, bags: Sequence[Bag], specs: Sequence[ModelSpec], config: TrainConfig, device: torch.device, seed: int
) -> tuple[ModelStack, Tensor]:
    """Return an untrained stack and all tiles seen through each projection, (F, sum N, K)."""
    index = {p: i for i, p in enumerate(cohort.patient_ids)}
    projections: list[tuple[Tensor, Tensor]] = []
    projection_of: list[int] = []
    seen: dict[tuple[str, str], int] = {}
    for spec in specs:
        key = (spec.repeat, spec.fold)
        if key not in seen:
            seen[key] = len(projections)
            projections.append(fit_projection([bags[index[p]] for p in spec.train], config.projection, seed, device))
        projection_of.append(seen[key])
    head = HeadSpec(head=config.head, in_dim=projections[0][1].shape[1], hidden=config.hidden, dropout=config.dropout)
    heads = []
    for spec in specs:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed * 7919 + spec.seed)  # the same initialisation in every fold; seeds differ
            heads.append(head.build().to(device))
    stack = ModelStack(head, heads, projections, projection_of).to(device)
    packed = torch.from_numpy(np.concatenate([b.features for b in bags])).to(device)  # (sum N, D) fp16
    return stack, stack.project(packed.float())


class _StackModule(pl.LightningModule):
    """What Lightning trains: one step an epoch, on a tile sample of the whole cohort."""

    def __init__(
        self,
        stack: ModelStack,
        projected: Tensor,
        cohort: Cohort,
        bag_sizes: Sequence[int],
        specs: Sequence[ModelSpec],
        config: TrainConfig,
        tiles: int,
        seed: int,
    ) -> None:
        super().__init__()
        self.stack = stack
        self.specs = specs
        self.config = config
        self.rows: list[LogRow] = []
        self._projected = projected  # (F, sum N, K)
        self._bag_sizes = bag_sizes
        self._tiles = tiles
        self._rng = np.random.default_rng(seed)
        device = projected.device
        is_training = torch.tensor([[p in set(s.train) for p in cohort.patient_ids] for s in specs], device=device)  # (M, B)
        self._loss = CoxLoss(torch.from_numpy(cohort.time_months).to(device), torch.from_numpy(cohort.event).to(device), is_training)

    def train_dataloader(self) -> Any:
        return _OneItem()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:  # noqa: ARG002 - Lightning's signature
        chosen = torch.from_numpy(sample_tiles(self._bag_sizes, self._tiles, self._rng)).to(self._projected.device)  # (B, n)
        features = self._projected[:, chosen][self.stack.projection_of]  # (M, B, n, K)
        output = self.stack(features, torch.ones_like(chosen, dtype=torch.bool))
        losses = self._loss(output.log_risk)  # (M,)
        for spec, loss in zip(self.specs, losses.tolist()):
            self.rows.append({"model": spec.name, "epoch": self.current_epoch + 1, "loss": loss})
        return losses.sum()  # models share nothing, so the sum's gradient is each one's own

    def on_after_backward(self) -> None:
        """Clip each model's gradient on its own; a joint norm would tie the models together."""
        gradients = [p.grad.flatten(1) for p in self.stack.heads if p.grad is not None]  # (M, ...) each
        norm = torch.cat(gradients, dim=1).norm(dim=1)  # (M,)
        scale = (GRADIENT_CLIP / norm.clamp(min=1e-12)).clamp(max=1)  # (M,)
        for gradient in gradients:
            gradient.mul_(scale[:, None])

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.stack.heads, lr=self.config.learning_rate, weight_decay=self.config.weight_decay)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=self.config.epochs)
        return {"optimizer": optimizer, "lr_scheduler": schedule}


class _OneItem:
    """A loader of one empty batch: the module samples the cohort itself, since its tiles are already in memory."""

    def __iter__(self) -> Iterator[int]:
        yield 0

    def __len__(self) -> int:
        return 1


class _Report(Callback):
    def __init__(self, on_epoch: OnEpoch, models: int, done: int, total: int) -> None:
        self.on_epoch, self.models, self.done, self.total = on_epoch, models, done, total

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:  # noqa: ARG002
        self.on_epoch(self.done + (trainer.current_epoch + 1) * self.models, self.total)


def _fit(module: _StackModule, epochs: int, device: torch.device, on_epoch: OnEpoch | None, done: int, total: int) -> None:
    callbacks: list[Callback] = [_Report(on_epoch, len(module.specs), done, total)] if on_epoch else []
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)  # its hints are for people who write training loops
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        warnings.simplefilter("ignore")
        torch.manual_seed(int(module._rng.integers(2**31)))
        trainer = pl.Trainer(
            max_epochs=epochs,
            accelerator="gpu" if device.type == "cuda" else "cpu",
            devices=1,
            precision="32-true",  # heads are small; the loss is computed in float64
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=False,  # Lightning's are pickles; finished blocks are saved as safetensors
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module)
    module.trainer = None  # the trainer would keep the tiles alive


def parameter_count(head: nn.Module) -> int:
    """Return the number of trained parameters of one model."""
    return sum(p.numel() for p in head.parameters())
