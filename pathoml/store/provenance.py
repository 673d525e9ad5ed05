"""What made a run: versions, hardware, hashes of inputs; step by step of a run (publishing.py)."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pathoml
from pathoml.store.files import read_json, sha256_of_file, sha256_of_json, write_json
from pathoml.store.system import usable_cores
from pathoml.types import NOTICE, Recipe

PROVENANCE = "provenance.json"
MODELS, MODELS_INDEX = "models", "models.json"  # of a run and of a bundle alike
PACKAGES = (
    "numpy",
    "scipy",
    "torch",
    "torchvision",
    "timm",
    "h5py",
    "openslide-python",
    "openslide-bin",
)


def environment() -> dict[str, Any]:
    """Return versions and hardware; nothing of the user, the host's name or paths."""
    return {
        "pathoml_version": pathoml.__version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "cores": usable_cores(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
    }


def read_provenance(run_folder: Path) -> dict[str, Any]:
    """Return what provenance.json says, with an empty list of steps where there is none."""
    path = run_folder / PROVENANCE
    return read_json(path) if path.exists() else {"notice": NOTICE, "steps": {}}


def write_provenance(run_folder: Path, content: Mapping[str, Any]) -> None:
    """Write provenance.json, with the version that wrote it."""
    write_json(run_folder / PROVENANCE, {**content, "pathoml_version": pathoml.__version__})


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file, or "" if it is absent."""
    return sha256_of_file(path) if path.is_file() else ""


def recipe_sha256(recipe: Recipe) -> str:
    """Return the hash that makes a step stale when it changes."""
    return sha256_of_json({"step": recipe.step, **recipe.inputs})


def recorded_recipe(run_folder: Path, step: str) -> str:
    """Return the hash of the recipe that a step of a run was done with, "" if it was not done."""
    return recorded_recipes(run_folder).get(step, "")


def recorded_recipes(run_folder: Path) -> dict[str, str]:
    """Return step -> hash of the recipe that it was done with, of the steps that were done."""
    return {name: str(one.get("recipe_sha256", "")) for name, one in _steps(run_folder).items()}


def recorded_inputs(run_folder: Path, step: str) -> dict[str, Any]:
    """Return the inputs of the recipe that a step of a run was done with, {} if it was not done."""
    return dict(_steps(run_folder).get(step, {}).get("inputs", {}))


def _steps(run_folder: Path) -> dict[str, Any]:
    return dict(read_provenance(run_folder).get("steps", {}))


def file_hashes(run_folder: Path, names: Sequence[str]) -> dict[str, str]:
    """Return name -> SHA-256 of files of a run, "" for one that is absent."""
    return {name: file_hash(run_folder / name) for name in names}
