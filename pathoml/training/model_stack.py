"""Many models as one: the parameters of M heads stacked, each head with the projection of its own
fold.

A head is an ordinary nn.Module and knows nothing of the stack (stacked_layers.py).
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.func import functional_call

from pathoml.bags.harmonisation import Harmonisation
from pathoml.bags.tile_bank import Projection, StackedProjection, seen_in_centre
from pathoml.config import TrainConfig
from pathoml.errors import ConfigError
from pathoml.training.heads import find_head, reference_to, source_sha256
from pathoml.training.stacked_layers import stack_heads
from pathoml.types import Bag, HeadOutput

# activations of one layer held at once when whole bags are read: 16 MB stay in the caches, 64 MB
# took twice the time
READ_VALUES = 2**22


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One model: a fold of a repeat with one initialisation; for a permutation whose bag each
    patient gets, for a resample how often each patient was drawn.
    """

    repeat: str
    fold: str
    seed: int
    train: tuple[str, ...]
    permutation: int = 0  # or resample, from 1; 0 = the cohort as it is
    bag_of: tuple[int, ...] | None = None  # (B,) index of each patient's bag; None = their own
    drawn: tuple[int, ...] | None = None  # (B,) copies of each patient in the sample; None = one
    endpoint: str = ""  # whose outcome it learns; "" = the cohort's, which is the primary one
    offset: bool = False  # whether what the covariates say is added in the loss

    @property
    def name(self) -> str:
        return f"{self.repeat}_fold-{self.fold}_seed-{self.seed}".replace("/", "-").replace(
            " ", "-"
        )

    @property
    def tiles_seen(self) -> tuple[str, str, int]:
        """Models of which this is equal learn from the same tiles and share a projection, whatever
        their endpoint.
        """
        return self.repeat, self.fold, self.permutation

    @property
    def learns(self) -> tuple[str, bool]:
        """Models of which this is equal learn the same, and are trained in blocks of their own."""
        return self.endpoint, self.offset

    def copies(self, rows: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
        """Return these rows of the cohort as the model learns from them: each as often as drawn."""
        if self.drawn is None:
            return np.asarray(rows, dtype=np.int64)
        return np.repeat(np.asarray(rows, dtype=np.int64), np.asarray(self.drawn)[rows])


@dataclass(frozen=True, kw_only=True)
class HeadSpec:
    """How a head is built: everything but its weights."""

    head: str
    in_dim: int
    hidden: int
    dropout: float
    folder: Path | None = None  # of the study, which a head's ./file.py starts from

    @classmethod
    def of(
        cls,
        head: str | type[nn.Module],
        *,
        in_dim: int,
        hidden: int,
        dropout: float,
        folder: Path | None = None,
    ) -> HeadSpec:
        """Return how a head is built, by name, reference (heads.py) or class.

        Raises:
            ConfigError: the class is made inside a function, where nobody finds it again.
        """
        return cls(
            head=reference_to(head), in_dim=in_dim, hidden=hidden, dropout=dropout, folder=folder
        )

    @classmethod
    def of_section(cls, train: TrainConfig, in_dim: int) -> HeadSpec:
        """Return how the head of a section `train` is built."""
        return cls.of(
            train.head,
            in_dim=in_dim,
            hidden=train.hidden,
            dropout=train.dropout,
            folder=train.study_folder,
        )

    def build(self) -> nn.Module:
        """Return an untrained head; its constructor is given what it names of in_dim, hidden and
        dropout.

        Raises:
            ConfigError: it is not to be found, or its constructor asks for something else.
        """
        found = find_head(self.head, self.folder)
        offered = {"in_dim": self.in_dim, "hidden": self.hidden, "dropout": self.dropout}
        if found.__init__ is nn.Module.__init__:
            return found()
        asked = inspect.signature(found).parameters.values()
        if any(p.kind is p.VAR_KEYWORD for p in asked):
            return found(**offered)
        named = {p.name: offered.get(p.name) for p in asked if p.kind is not p.VAR_POSITIONAL}
        unknown = [
            p.name for p in asked if p.name in named.keys() - offered and p.default is p.empty
        ]
        if unknown:
            raise ConfigError(
                f"The head {self.head} asks for {', '.join(unknown)}; its constructor is given"
                f" {', '.join(offered)}, as far as it names them."
            )
        return found(**{name: offered[name] for name in named.keys() & offered})

    def as_written(self) -> dict[str, Any]:
        """Return what models.json says of a head: the hash of its source too, but for a name."""
        said = {name: getattr(self, name) for name in ("head", "in_dim", "hidden", "dropout")}
        source = source_sha256(self.head, self.folder)
        return said | ({"source_sha256": source} if source else {})


class ModelStack(nn.Module):
    """M models whose heads have the same architecture.

    Several models may share a projection: `projection_of[m]` is the index of model m's.
    """

    def __init__(
        self,
        spec: HeadSpec,
        heads: Sequence[nn.Module],
        projections: Sequence[Projection],
        *,
        projection_of: Sequence[int],
        harmonisations: Sequence[Harmonisation] = (),
    ) -> None:
        super().__init__()
        self.spec = spec
        self.projection_of = list(projection_of)
        self.projections = list(projections)  # F x (mean (D,), components (D, K))
        self.harmonisations = list(harmonisations)  # F, of the tiles that they project; [] = none
        self.exact = bool(
            getattr(heads[0], "exact", False)
        )  # whether contributions sum to the risk
        self.head = stack_heads(heads)

    def __len__(self) -> int:
        return len(self.projection_of)

    def forward(self, projected: Tensor, is_tile: Tensor) -> HeadOutput:
        """Run every head.

        Args:
            projected: (M, B, N, K) features, each model's own.
            is_tile: (B, N) bool, or (M, B, N).

        Returns:
            log_risk (M, B), attention (M, B, N), contribution (M, B, N), bias (M, B).
        """
        return HeadOutput(*self.head(projected, is_tile.expand(*projected.shape[:3])))

    def forward_some(
        self, models: slice | list[int], projected: Tensor, is_tile: Tensor
    ) -> HeadOutput:
        """Run some of the heads only, for whole bags that would not fit into memory under all of
        them.
        """
        if models in (slice(0, len(self)), list(range(len(self)))):
            return HeadOutput(*self(projected, is_tile))
        some = {name: value[models] for name, value in self.head.named_parameters()}
        return HeadOutput(
            *functional_call(self.head, some, (projected, is_tile.expand(*projected.shape[:3])))
        )

    def seen(self, projections: Sequence[int], centre: str | None) -> list[Projection]:
        """Return projections as they take raw tiles of a centre, which is asked for where the
        models were trained on harmonised tiles.

        Raises:
            CohortError: the models know no such centre.
        """
        if self.harmonisations and centre is None:
            raise ValueError("models of harmonised tiles must know the centre of a bag")
        return seen_in_centre(
            [self.projections[f] for f in projections],
            [self.harmonisations[f] for f in projections] if self.harmonisations else (),
            centre or "",
        )

    @torch.inference_mode()
    def read_bag(
        self,
        features: npt.NDArray[Any],
        models: Sequence[int] | None = None,
        *,
        centre: str | None = None,
    ) -> HeadOutput:
        """Run every model, or some, over one whole bag: the one forward path of maps.

        Args:
            features: (N, D).
            models: (M,) indices into the stack; None: all.
            centre: the patient's; models of harmonised tiles have to know it.

        Returns:
            log_risk (M,), attention (M, N), contribution (M, N), bias (M,), uncentred.

        Raises:
            CohortError: the models know no such centre.
        """
        self.eval()
        device = self.projections[0][0].device
        tiles = torch.from_numpy(np.asarray(features, dtype=np.float32)).to(device)
        is_tile = torch.ones(1, len(tiles), dtype=torch.bool, device=device)  # (1, N)
        outputs: list[HeadOutput] = []
        projected: dict[
            int, Tensor
        ] = {}  # (N, K) of the projections in hand: seeds of one fold share theirs
        every = list(range(len(self))) if models is None else list(models)
        for block in blocks(
            len(every),
            max(1, READ_VALUES // (len(tiles) * max(self.spec.hidden, self.spec.in_dim))),
        ):
            some = every[block]
            wanted = sorted({self.projection_of[m] for m in some})
            fresh = [f for f in wanted if f not in projected]
            known = {f: projected[f] for f in wanted if f in projected}
            projected = known | (
                dict(zip(fresh, StackedProjection(self.seen(fresh, centre))(tiles)))
                if fresh
                else {}
            )
            mine = torch.stack([projected[self.projection_of[m]] for m in some])  # (M, N, K)
            outputs.append(self.forward_some(some, mine[:, None], is_tile))
        return HeadOutput(
            *(torch.cat([value[:, 0] for value in values]) for values in zip(*outputs))
        )

    def log_risks(self, bags: Sequence[Bag]) -> npt.NDArray[np.float64]:
        """Return (M, B) raw log-risks on full bags."""
        return np.stack(
            [
                self.read_bag(bag.features, centre=bag.centre).log_risk.double().cpu().numpy()
                for bag in bags
            ],
            axis=1,
        )


def blocks(count: int, size: int) -> Iterator[slice]:
    """Yield slices of at most `size` that cover `count`."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
