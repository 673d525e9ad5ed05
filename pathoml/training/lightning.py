"""A head as a LightningModule, for those who train on their own: pip install 'pathoml[lightning]'.

`pathoml train` does without: it trains all models of a cross-validation at once. Here one model
reads whole bags in batches, and the risk sets of its loss are those of the batch, so batches should
be large, best all training patients.

    head = HeadSpec(head="abmil", in_dim=1280, hidden=64, dropout=0.5).build()  # or a module of
    your own Trainer(max_epochs=40).fit(HeadModule(head, TrainConfig()), patient_loader(cohort,
    bags, patients=len(bags), shuffle=True))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader

from pathoml.bags.batches import pad_bags
from pathoml.config import TrainConfig
from pathoml.errors import CohortError, ConfigError
from pathoml.training.losses import CoxLoss
from pathoml.types import Bag, BagBatch, Cohort, HeadOutput, Patient


class SurvivalBatch(NamedTuple):
    """Some patients' whole bags and outcomes."""

    bags: BagBatch
    time_months: Tensor  # (B,) from time zero to the event or the last visit, > 0
    event: Tensor  # (B,) bool, True if the event was seen
    entry_months: Tensor  # (B,) from which a patient was under observation


class HeadModule(LightningModule):
    """A MIL head, the Cox loss of a batch, and AdamW with the learning rate going to zero by a
    cosine.
    """

    def __init__(self, head: nn.Module, config: TrainConfig) -> None:
        """Take a head of pathoml/mil/, or any module from (B, N, D) features and (B, N) is_tile to
        a HeadOutput.

        Args:
            config: learning_rate and weight_decay are used; the rest is the Trainer's, the head's
                or the loader's.

        Raises:
            ConfigError: another loss than cox, strata or an offset.
        """
        super().__init__()
        if config.loss != "cox":
            raise ConfigError(
                f"train.loss = {config.loss!r}: a HeadModule knows the Cox loss only. Set"
                " train.loss to cox."
            )
        if config.strata or config.offset:
            raise ConfigError(
                "train.strata and train.offset: the batches of a HeadModule hold neither strata nor"
                " covariates. Leave both null, or use `pathoml train`."
            )
        self.head, self.config = head, config

    def forward(self, features: Tensor, is_tile: Tensor) -> HeadOutput:
        """Return what the head says of a batch."""
        said: HeadOutput = self.head(features, is_tile)
        return said

    def loss(self, batch: SurvivalBatch) -> Tensor | None:
        """Return the negative log partial likelihood of a batch, averaged over its events, ties by
        Efron; None without an event.
        """
        if not bool(batch.event.any()):
            return None
        everyone = torch.ones(1, len(batch.event), dtype=torch.bool, device=batch.event.device)
        cox = CoxLoss(batch.time_months, batch.event, everyone, entry_months=batch.entry_months)
        return cox(self(*batch.bags).log_risk[None])[0]

    def training_step(self, batch: SurvivalBatch) -> Tensor | None:
        """Return the loss of a batch; None, which makes Lightning skip it, if it has no event."""
        return self._logged("train_loss", batch)

    def validation_step(self, batch: SurvivalBatch) -> Tensor | None:
        """Return the loss of a batch; None where no event was seen."""
        return self._logged("val_loss", batch)

    def predict_step(self, batch: SurvivalBatch) -> Tensor:
        """Return (B,) log-risks, higher means earlier event; outcomes are not looked at."""
        log_risk: Tensor = self(*batch.bags).log_risk
        return log_risk

    def configure_optimizers(self) -> Any:
        """Return AdamW and its cosine over all steps of the run."""
        optimiser = torch.optim.AdamW(
            self.parameters(), lr=self.config.learning_rate, weight_decay=self.config.weight_decay
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            optimiser, T_max=int(self.trainer.estimated_stepping_batches)
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _logged(self, name: str, batch: SurvivalBatch) -> Tensor | None:
        loss = self.loss(batch)
        if loss is not None:
            self.log(name, loss, batch_size=len(batch.event))
        return loss


def patients_of(
    cohort: Cohort, bags: Sequence[Bag], places: Sequence[int]
) -> tuple[Cohort, list[Bag]]:
    """Return some patients of a cohort and their bags, such as one side of a split."""
    return replace(cohort, patients=tuple(cohort.patients[i] for i in places)), [
        bags[i] for i in places
    ]


def patient_loader(
    cohort: Cohort, bags: Sequence[Bag], *, patients: int, shuffle: bool
) -> DataLoader[Any]:
    """Return a loader of SurvivalBatch.

    Args:
        bags: of the cohort's patients, in their order, as `read_bags` returns them.
        patients: in a batch.
        shuffle: other batches in every epoch; for training only.

    Raises:
        CohortError: the bags are not those of the patients.
    """
    if [b.patient_id for b in bags] != list(cohort.patient_ids):
        raise CohortError(
            f"{len(bags)} bags and {len(cohort.patients)} patients are not the same people in the "
            "same order. Take both from one read_bags."
        )
    pairs: Any = list(zip(bags, cohort.patients))
    return DataLoader(pairs, batch_size=patients, shuffle=shuffle, collate_fn=_collate)


def _collate(pairs: Sequence[tuple[Bag, Patient]]) -> SurvivalBatch:
    return SurvivalBatch(
        bags=pad_bags([np.asarray(bag.features) for bag, _ in pairs]),
        time_months=torch.tensor(
            [patient.time_months for _, patient in pairs], dtype=torch.float64
        ),
        event=torch.tensor([patient.event == 1 for _, patient in pairs]),
        entry_months=torch.tensor(
            [patient.entry_months for _, patient in pairs], dtype=torch.float64
        ),
    )
