"""The models of a run on disk: safetensors in blocks, an index with their hashes, and the raw
scores that they gave.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from pathoml.bags.harmonisation import Harmonisation, Reference
from pathoml.bags.tile_bank import Projection
from pathoml.config import TrainConfig
from pathoml.errors import StoreError
from pathoml.store.files import atomic_path, read_json, sha256_of_file, sha256_of_json, write_json
from pathoml.store.provenance import MODELS_INDEX
from pathoml.training.heads import is_installed, source_sha256
from pathoml.training.model_stack import HeadSpec, ModelSpec, ModelStack

RAW_SCORES = "raw_log_risk.safetensors"
PROJECTION_KEYS = ("projection.mean", "projection.components")
HARMONISATION = "harmonisation."  # before the names of a harmonisation's tensors
MAPS = ("scale", "offset")  # of a harmonisation's centres
CENTRES = "centres"  # in models.json: those that a model's harmonisation knows, in its order


def save_block(
    folder: Path,
    stack: ModelStack,
    specs: Sequence[ModelSpec],
    *,
    said: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Write models/NAME.safetensors for each model, with its projection; return what models.json
    says of them.

    Args:
        said: metadata of each file, for whoever begins with its weights elsewhere.
    """
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for m, spec in enumerate(specs):
        f = stack.projection_of[m]
        tensors = {
            name: values[m].detach().cpu().contiguous()
            for name, values in stack.head.by_name().items()
        }
        tensors |= {
            key: tensor.cpu().contiguous()
            for key, tensor in zip(PROJECTION_KEYS, stack.projections[f])
        }
        harmonisation = stack.harmonisations[f] if stack.harmonisations else None
        tensors |= _tensors_of(harmonisation) if harmonisation else {}
        with atomic_path(folder / f"{spec.name}.safetensors") as path:
            path.write_bytes(
                save(tensors, dict(said) if said else None)
            )  # safetensors' own writer leaves a temporary of its own when it is killed
        entries.append(
            {
                "file": f"{spec.name}.safetensors",
                "sha256": sha256_of_file(folder / f"{spec.name}.safetensors"),
                "repeat": spec.repeat,
                "fold": spec.fold,
                "seed": spec.seed,
                "train": list(spec.train),
                **({CENTRES: list(harmonisation.centres)} if harmonisation else {}),
            }
        )
    return entries


def _tensors_of(harmonisation: Harmonisation) -> dict[str, torch.Tensor]:
    values = {**vars(harmonisation.reference), **{k: getattr(harmonisation, k) for k in MAPS}}
    return {
        f"{HARMONISATION}{name}": torch.from_numpy(np.ascontiguousarray(value))
        for name, value in values.items()
    }


def _take_harmonisation(tensors: dict[str, torch.Tensor], centres: Sequence[str]) -> Harmonisation:
    """Return the harmonisation among a model's tensors, which are without it then."""
    names = [name for name in tensors if name.startswith(HARMONISATION)]
    values = {name.removeprefix(HARMONISATION): tensors.pop(name).cpu().numpy() for name in names}
    maps = {name: values.pop(name) for name in MAPS}
    if any(len(one) != len(centres) for one in maps.values()):
        raise ValueError(f"{len(centres)} centres and {len(maps['scale'])} maps of features")
    return Harmonisation(reference=Reference(**values), centres=tuple(centres), **maps)


def save_raw_scores(folder: Path, raw: npt.NDArray[np.float64]) -> dict[str, str]:
    """Write models/raw_log_risk.safetensors, (M, B): every model on every whole bag, so that nobody
    has to read the bags again.
    """
    with atomic_path(folder / RAW_SCORES) as path:
        path.write_bytes(save({"raw_log_risk": torch.from_numpy(np.ascontiguousarray(raw))}))
    return {"file": RAW_SCORES, "sha256": sha256_of_file(folder / RAW_SCORES)}


def read_raw_scores(folder: Path) -> npt.NDArray[np.float64]:
    """Read (M, B) raw log-risks, models in the order of models.json, patients in that of
    scores.csv.

    Raises:
        StoreError: the file is missing or its bytes are not those that models.json names.
    """
    entry, path = read_json(folder / MODELS_INDEX).get("raw_log_risk", {}), folder / RAW_SCORES
    if not path.exists() or sha256_of_file(path) != entry.get("sha256"):
        raise StoreError(
            f"{path} is missing or was changed after training. Run `pathoml train` again."
        )
    return np.asarray(load_file(path)["raw_log_risk"].numpy())


def save_index(
    folder: Path, spec: HeadSpec, entries: Sequence[dict[str, Any]], **notes: Any
) -> None:
    """Write models/models.json, last: a folder with it is complete."""
    write_json(folder / MODELS_INDEX, {"head": spec.as_written(), **notes, "models": list(entries)})


def load_models(
    folder: Path, device: torch.device, *, train: TrainConfig | None = None
) -> tuple[ModelStack, list[ModelSpec], list[str]]:
    """Read a folder of models.

    Args:
        train: of the study that these are the models of: the head that it names may be a file or a
            class of the running program. Without it such heads are refused, whoever wrote the
            index.

    Returns:
        The stack, what each model is, and the SHA-256 of each model's file.

    Raises:
        StoreError: a file is missing, its bytes are not those that models.json names, or what they
            hold is no such model, or the head's source changed since.
        ConfigError: the head is not to be found.
    """
    content = read_json(folder / MODELS_INDEX)
    try:
        return _load(folder, content, device, train)
    except (
        OSError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        RuntimeError,
        SafetensorError,
    ) as error:
        reason = f"{type(error).__name__}: {str(error)[:200]}"
        raise StoreError(
            f"{folder / 'models.json'} does not describe these models ({reason}). Run `pathoml"
            " train` again."
        ) from error


def _load(
    folder: Path, content: dict[str, Any], device: torch.device, train: TrainConfig | None
) -> tuple[ModelStack, list[ModelSpec], list[str]]:
    spec = _head_spec(content["head"], train)
    heads, specs, hashes = [], [], []
    projections: list[Projection] = []
    harmonisations: list[Harmonisation] = []
    projection_of: list[int] = []
    seen: dict[str, int] = {}
    for entry in content["models"]:
        path = folder / entry["file"]
        if path.parent != folder or not path.exists() or sha256_of_file(path) != entry["sha256"]:
            raise StoreError(
                f"{path} is missing or was changed after training. Run `pathoml train` again."
            )
        tensors = load_file(path, device=str(device))
        mean, components = (tensors.pop(key) for key in PROJECTION_KEYS)
        harmonisation = _take_harmonisation(tensors, entry[CENTRES]) if CENTRES in entry else None
        key = f"{entry['repeat']}/{entry['fold']}"
        if key not in seen:
            seen[key] = len(projections)
            projections.append((mean, components))
            harmonisations += [harmonisation] if harmonisation else []
        head = spec.build()
        head.load_state_dict(tensors)
        heads.append(head.to(device))
        projection_of.append(seen[key])
        specs.append(
            ModelSpec(
                repeat=entry["repeat"],
                fold=entry["fold"],
                seed=entry["seed"],
                train=tuple(entry["train"]),
            )
        )
        hashes.append(entry["sha256"])
    stack = ModelStack(
        spec,
        heads,
        projections,
        projection_of=projection_of,
        harmonisations=harmonisations,
    )
    return stack, specs, hashes


def _head_spec(written: dict[str, Any], train: TrainConfig | None) -> HeadSpec:
    said = dict(written)
    source = said.pop("source_sha256", "")
    if (train is None or train.head != said["head"]) and not is_installed(said["head"]):
        raise StoreError(
            f"The models have the head {said['head']}, which is neither the train.head of this"
            " study nor of an installed package: its code is not run."
        )
    spec = HeadSpec(**said, folder=train.study_folder if train else None)
    if source != source_sha256(spec.head, spec.folder):
        raise StoreError(
            f"The head {spec.head} is not the code that these models were trained with: its source"
            " changed. Bring it back, or run `pathoml train` again."
        )
    return spec


def models_sha256(hashes: Sequence[str]) -> str:
    """Return one hash over several models, whatever their order."""
    return sha256_of_json(sorted(hashes))
