"""Many models as one: the parameters of M heads stacked, each head with the projection of its own fold.

A head is an ordinary nn.Module and knows nothing of the stack (stacked_layers.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.func import functional_call

from pathoml.bags.tile_bank import Projection, StackedProjection
from pathoml.errors import StoreError
from pathoml.plugins import load_plugin
from pathoml.store.files import atomic_path, read_json, sha256_of_file, sha256_of_json, write_json
from pathoml.training.stacked_layers import stack_heads
from pathoml.types import Bag, HeadOutput

RAW_SCORES = "raw_log_risk.safetensors"
PROJECTION_KEYS = ("projection.mean", "projection.components")
READ_VALUES = 2**22  # activations of one layer held at once when whole bags are read: 16 MB stay in the caches, 64 MB took twice the time


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One model: a fold of a repeat with one initialisation, and for a permutation whose bag each patient gets."""

    repeat: str
    fold: str
    seed: int
    train: tuple[str, ...]
    permutation: int = 0  # 0 = nothing permuted
    bag_of: tuple[int, ...] | None = None  # (B,) index of each patient's bag; None = their own

    @property
    def name(self) -> str:
        return f"{self.repeat}_fold-{self.fold}_seed-{self.seed}".replace("/", "-").replace(" ", "-")

    @property
    def tiles_seen(self) -> tuple[str, str, int]:
        """Models of which this is equal learn from the same tiles and share a projection."""
        return self.repeat, self.fold, self.permutation


@dataclass(frozen=True, kw_only=True)
class HeadSpec:
    """How a head is built: everything but its weights."""

    head: str
    in_dim: int
    hidden: int
    dropout: float

    def build(self) -> nn.Module:
        head: nn.Module = load_plugin("pathoml.mil", self.head, "Head").Head(self.in_dim, self.hidden, self.dropout)
        return head


class ModelStack(nn.Module):
    """M models whose heads have the same architecture.

    Several models may share a projection: `projection_of[m]` is the index of model m's.
    """

    def __init__(self, spec: HeadSpec, heads: Sequence[nn.Module], projections: Sequence[Projection], projection_of: Sequence[int]) -> None:
        super().__init__()
        self.spec = spec
        self.projection_of = list(projection_of)
        self.projections = list(projections)  # F x (mean (D,), components (D, K))
        self.exact = bool(getattr(heads[0], "exact", False))  # whether contributions sum to the risk
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

    def forward_some(self, models: slice | list[int], projected: Tensor, is_tile: Tensor) -> HeadOutput:
        """Run some of the heads only, for whole bags that would not fit into memory under all of them."""
        if models in (slice(0, len(self)), list(range(len(self)))):
            return HeadOutput(*self(projected, is_tile))
        some = {name: value[models] for name, value in self.head.named_parameters()}
        return HeadOutput(*functional_call(self.head, some, (projected, is_tile.expand(*projected.shape[:3]))))

    @torch.inference_mode()
    def read_bag(self, features: npt.NDArray[Any], models: Sequence[int] | None = None) -> HeadOutput:
        """Run every model, or some, over one whole bag: the one forward path of maps.

        Args:
            features: (N, D).
            models: (M,) indices into the stack; None: all.

        Returns:
            log_risk (M,), attention (M, N), contribution (M, N), bias (M,), uncentred.
        """
        self.eval()
        device = self.projections[0][0].device
        tiles = torch.from_numpy(np.asarray(features, dtype=np.float32)).to(device)
        is_tile = torch.ones(1, len(tiles), dtype=torch.bool, device=device)  # (1, N)
        outputs: list[HeadOutput] = []
        projected: dict[int, Tensor] = {}  # (N, K) of the projections in hand: seeds of one fold share theirs
        every = list(range(len(self))) if models is None else list(models)
        for block in blocks(len(every), max(1, READ_VALUES // (len(tiles) * max(self.spec.hidden, self.spec.in_dim)))):
            some = every[block]
            wanted = sorted({self.projection_of[m] for m in some})
            fresh = [f for f in wanted if f not in projected]
            known = {f: projected[f] for f in wanted if f in projected}
            projected = known | (dict(zip(fresh, StackedProjection([self.projections[f] for f in fresh])(tiles))) if fresh else {})
            mine = torch.stack([projected[self.projection_of[m]] for m in some])  # (M, N, K)
            outputs.append(self.forward_some(some, mine[:, None], is_tile))
        return HeadOutput(*(torch.cat([value[:, 0] for value in values]) for values in zip(*outputs)))

    def log_risks(self, bags: Sequence[Bag]) -> npt.NDArray[np.float64]:
        """Return (M, B) raw log-risks on full bags."""
        return np.stack([self.read_bag(bag.features).log_risk.double().cpu().numpy() for bag in bags], axis=1)


def save_block(folder: Path, stack: ModelStack, specs: Sequence[ModelSpec]) -> list[dict[str, Any]]:
    """Write models/NAME.safetensors for each model, with its projection; return what models.json says of them."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for m, spec in enumerate(specs):
        f = stack.projection_of[m]
        tensors = {name: values[m].detach().cpu().contiguous() for name, values in stack.head.by_name().items()}
        tensors |= {key: tensor.cpu().contiguous() for key, tensor in zip(PROJECTION_KEYS, stack.projections[f])}
        with atomic_path(folder / f"{spec.name}.safetensors") as path:
            path.write_bytes(save(tensors))  # safetensors' own writer leaves a temporary of its own when it is killed
        entries.append(
            {
                "file": f"{spec.name}.safetensors",
                "sha256": sha256_of_file(folder / f"{spec.name}.safetensors"),
                "repeat": spec.repeat,
                "fold": spec.fold,
                "seed": spec.seed,
                "train": list(spec.train),
            }
        )
    return entries


def save_raw_scores(folder: Path, raw: npt.NDArray[np.float64]) -> dict[str, str]:
    """Write models/raw_log_risk.safetensors, (M, B): every model on every whole bag, so that nobody has to read the bags again."""
    with atomic_path(folder / RAW_SCORES) as path:
        path.write_bytes(save({"raw_log_risk": torch.from_numpy(np.ascontiguousarray(raw))}))
    return {"file": RAW_SCORES, "sha256": sha256_of_file(folder / RAW_SCORES)}


def read_raw_scores(folder: Path) -> npt.NDArray[np.float64]:
    """Read (M, B) raw log-risks, models in the order of models.json, patients in that of scores.csv.

    Raises:
        StoreError: the file is missing or its bytes are not those that models.json names.
    """
    entry, path = read_json(folder / "models.json").get("raw_log_risk", {}), folder / RAW_SCORES
    if not path.exists() or sha256_of_file(path) != entry.get("sha256"):
        raise StoreError(f"{path} is missing or was changed after training. Run `pathoml train` again.")
    return np.asarray(load_file(path)["raw_log_risk"].numpy())


def save_index(folder: Path, spec: HeadSpec, entries: Sequence[dict[str, Any]], **notes: Any) -> None:
    """Write models/models.json, last: a folder with it is complete."""
    write_json(folder / "models.json", {"head": vars(spec), **notes, "models": list(entries)})


def load_models(folder: Path, device: torch.device) -> tuple[ModelStack, list[ModelSpec], list[str]]:
    """Read a folder of models.

    Returns:
        The stack, what each model is, and the SHA-256 of each model's file.

    Raises:
        StoreError: a file is missing, its bytes are not those that models.json names, or what they hold is no such model.
    """
    content = read_json(folder / "models.json")
    try:
        return _load(folder, content, device)
    except (OSError, KeyError, TypeError, ValueError, AttributeError, RuntimeError, SafetensorError) as error:
        reason = f"{type(error).__name__}: {str(error)[:200]}"
        raise StoreError(f"{folder / 'models.json'} does not describe these models ({reason}). Run `pathoml train` again.") from error


def _load(folder: Path, content: dict[str, Any], device: torch.device) -> tuple[ModelStack, list[ModelSpec], list[str]]:
    spec = HeadSpec(**content["head"])
    heads, specs, hashes = [], [], []
    projections: list[Projection] = []
    projection_of: list[int] = []
    seen: dict[str, int] = {}
    for entry in content["models"]:
        path = folder / entry["file"]
        if path.parent != folder or not path.exists() or sha256_of_file(path) != entry["sha256"]:
            raise StoreError(f"{path} is missing or was changed after training. Run `pathoml train` again.")
        tensors = load_file(path, device=str(device))
        mean, components = (tensors.pop(key) for key in PROJECTION_KEYS)
        key = f"{entry['repeat']}/{entry['fold']}"
        if key not in seen:
            seen[key] = len(projections)
            projections.append((mean, components))
        head = spec.build()
        head.load_state_dict(tensors)
        heads.append(head.to(device))
        projection_of.append(seen[key])
        specs.append(ModelSpec(repeat=entry["repeat"], fold=entry["fold"], seed=entry["seed"], train=tuple(entry["train"])))
        hashes.append(entry["sha256"])
    return ModelStack(spec, heads, projections, projection_of), specs, hashes


def models_sha256(hashes: Sequence[str]) -> str:
    """Return one hash over several models, whatever their order."""
    return sha256_of_json(sorted(hashes))


def blocks(count: int, size: int) -> Iterator[slice]:
    """Yield slices of at most `size` that cover `count`."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
