"""Many models as one: the parameters of M heads stacked, each head with the projection of its own fold.

A head is an ordinary nn.Module and knows nothing of the stack: torch.func runs one head's code over all parameters at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from pathoml.errors import StoreError
from pathoml.plugins import load_plugin
from pathoml.store import atomic_path, read_json, sha256_of_file, sha256_of_json, write_json
from pathoml.types import Bag, HeadOutput

PROJECTION_KEYS = ("projection.mean", "projection.components")


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """One model: a fold of a repeat with one initialisation."""

    repeat: str
    fold: str
    seed: int
    train: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.repeat}_fold-{self.fold}_seed-{self.seed}".replace("/", "-").replace(" ", "-")


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

    def __init__(
        self, spec: HeadSpec, heads: Sequence[nn.Module], projections: Sequence[tuple[Tensor, Tensor]], projection_of: Sequence[int]
    ) -> None:
        super().__init__()
        self.spec = spec
        self.projection_of = list(projection_of)
        self.means = [mean for mean, _ in projections]  # F x (D,)
        self.components = [components for _, components in projections]  # F x (D, K)
        parameters, buffers = stack_module_state(list(heads))
        self.names = list(parameters)
        self.heads = nn.ParameterList([nn.Parameter(parameters[n].detach().clone()) for n in self.names])  # (M, ...) each
        self.buffer_values = buffers
        self.skeleton = [spec.build().to("meta")]  # a list, so that its parameters are not the stack's

    def __len__(self) -> int:
        return len(self.projection_of)

    @property
    def exact(self) -> bool:
        """Whether contributions sum to the risk."""
        return bool(getattr(self.skeleton[0], "exact", False))

    def project(self, features: Tensor) -> Tensor:
        """Return (F, N, K) of (N, D) features: once a projection, not once a model."""
        components = torch.cat(self.components, dim=1)  # (D, F * K) one large product is several times faster than F small ones
        offset = torch.cat([mean @ one for mean, one in zip(self.means, self.components)])  # (F * K,)
        projected = features @ components - offset  # (N, F * K)
        split: Tensor = projected.reshape(len(projected), len(self.means), -1)  # (N, F, K)
        return split.transpose(0, 1).contiguous()  # (F, N, K)

    def forward(self, projected: Tensor, is_tile: Tensor) -> HeadOutput:
        """Run every head.

        Args:
            projected: (M, B, N, K) features, each model's own.
            is_tile: (B, N) bool.

        Returns:
            log_risk (M, B), attention (M, B, N), contribution (M, B, N), bias (M, B).
        """
        skeleton = self.skeleton[0].train(self.training)

        def one_head(parameters: dict[str, Tensor], buffers: dict[str, Tensor], features: Tensor) -> tuple[Tensor, ...]:
            output = functional_call(skeleton, (parameters, buffers), (features, is_tile))
            return tuple(output)

        parameters = dict(zip(self.names, self.heads))
        run: Callable[..., tuple[Tensor, ...]] = vmap(one_head, randomness="different")
        return HeadOutput(*run(parameters, self.buffer_values, projected))

    @torch.inference_mode()
    def read_bag(self, features: npt.NDArray[Any]) -> HeadOutput:
        """Run every model over one whole bag: the one forward path of scores and maps.

        Args:
            features: (N, D).

        Returns:
            log_risk (M,), attention (M, N), contribution (M, N), bias (M,), uncentred.
        """
        self.eval()
        device = self.means[0].device
        projected = self.project(torch.from_numpy(np.asarray(features, dtype=np.float32)).to(device))  # (F, N, K)
        is_tile = torch.ones(1, projected.shape[1], dtype=torch.bool, device=device)  # (1, N)
        output = self(projected[self.projection_of][:, None], is_tile)
        return HeadOutput(*(value[:, 0] for value in output))

    def log_risks(self, bags: Sequence[Bag]) -> npt.NDArray[np.float64]:
        """Return (M, B) raw log-risks on full bags."""
        return np.stack([self.read_bag(bag.features).log_risk.double().cpu().numpy() for bag in bags], axis=1)


def save_block(folder: Path, stack: ModelStack, specs: Sequence[ModelSpec]) -> list[dict[str, Any]]:
    """Write models/NAME.safetensors for each model, with its projection; return what models.json says of them."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for m, spec in enumerate(specs):
        f = stack.projection_of[m]
        tensors = {name: values[m].detach().cpu().contiguous() for name, values in zip(stack.names, stack.heads)}
        tensors |= dict(zip(PROJECTION_KEYS, (stack.means[f].cpu().contiguous(), stack.components[f].cpu().contiguous())))
        with atomic_path(folder / f"{spec.name}.safetensors") as path:
            save_file(tensors, path)
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


def save_index(folder: Path, spec: HeadSpec, entries: Sequence[dict[str, Any]], **notes: Any) -> None:
    """Write models/models.json, last: a folder with it is complete."""
    write_json(folder / "models.json", {"head": vars(spec), **notes, "models": list(entries)})


def load_models(folder: Path, device: torch.device) -> tuple[ModelStack, list[ModelSpec], list[str]]:
    """Read a folder of models.

    Returns:
        The stack, what each model is, and the SHA-256 of each model's file.

    Raises:
        StoreError: a file is missing or its bytes are not those that models.json names.
    """
    content = read_json(folder / "models.json")
    spec = HeadSpec(**content["head"])
    heads, specs, hashes = [], [], []
    projections: list[tuple[Tensor, Tensor]] = []
    projection_of: list[int] = []
    seen: dict[str, int] = {}
    for entry in content["models"]:
        path = folder / entry["file"]
        if not path.exists() or sha256_of_file(path) != entry["sha256"]:
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
