"""attention/SLIDE.h5 and features/assignments/SLIDE.h5: what a model made of each tile, and the
phenotype of each.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import pathoml
from pathoml.store.hdf5 import read_h5, whole, write_h5
from pathoml.store.provenance import recipe_sha256
from pathoml.types import Assignments, AttentionMap, Recipe


def write_attention(path: Path, tile_map: AttentionMap, recipe: Recipe) -> None:
    """Write attention/SLIDE.h5."""
    arrays: dict[str, npt.NDArray[Any]] = {
        "coords": tile_map.xy_l0.astype(np.int64),
        "attention": tile_map.attention.astype(np.float32),
        "contribution": tile_map.contribution.astype(np.float32),
    }
    if tile_map.spread is not None:
        arrays["spread"] = tile_map.spread.astype(np.float32)
    root = {
        "method": tile_map.method,
        "log_risk": tile_map.log_risk,
        "bias": tile_map.bias,
        "fold": tile_map.fold,
        "score_type": tile_map.score_type,
        "patient_id": tile_map.patient_id,
        "level0_mpp": tile_map.level0_mpp,
        "recipe_sha256": recipe_sha256(recipe),
        "pathoml_version": pathoml.__version__,
    }
    coord = {
        "name": tile_map.slide_id,
        "patch_size_level0": tile_map.tile_l0,
        "level0_width": tile_map.size_l0[0],
        "level0_height": tile_map.size_l0[1],
    }
    write_h5(path, arrays, root, attrs={"coords": coord})


def read_attention(path: Path) -> AttentionMap:
    """Read attention/SLIDE.h5 and verify its content.

    Raises:
        StoreError: torn, foreign, or changed since it was written.
    """
    with whole(path):
        return _map_of(
            *read_h5(path, ("coords", "attention", "contribution"), optional=("spread",))
        )


def _map_of(
    arrays: dict[str, npt.NDArray[Any]], root: dict[str, Any], coord: dict[str, Any]
) -> AttentionMap:
    return AttentionMap(
        slide_id=str(coord["name"]),
        patient_id=str(root["patient_id"]),
        xy_l0=arrays["coords"],
        tile_l0=int(coord["patch_size_level0"]),
        size_l0=(int(coord["level0_width"]), int(coord["level0_height"])),
        level0_mpp=float(root["level0_mpp"]),
        attention=arrays["attention"],
        contribution=arrays["contribution"],
        log_risk=float(root["log_risk"]),
        bias=float(root["bias"]),
        fold=str(root["fold"]),
        score_type=str(root["score_type"]),
        spread=arrays.get("spread"),
        method=str(root.get("method", "exact")),
    )


def write_assignments(path: Path, assignments: Assignments) -> None:
    """Write features/assignments/SLIDE.h5: the phenotype of each tile, and its membership in every
    phenotype.
    """
    arrays: dict[str, npt.NDArray[Any]] = {
        "coords": assignments.xy_l0.astype(np.int64),
        "phenotype": assignments.phenotype.astype(np.int16),
    }
    if assignments.membership is not None:
        arrays["membership"] = assignments.membership.astype(
            np.float16
        )  # of cosines: the fourth decimal says nothing
    coord = {"name": assignments.slide_id, "patch_size_level0": assignments.tile_l0}
    write_h5(path, arrays, {"pathoml_version": pathoml.__version__}, attrs={"coords": coord})


def read_assignments(path: Path) -> Assignments:
    """Read features/assignments/SLIDE.h5 and verify its content.

    Raises:
        StoreError: torn, foreign, or changed since it was written.
    """
    with whole(path):
        arrays, _, coord = read_h5(path, ("coords", "phenotype"), optional=("membership",))
        return Assignments(
            slide_id=str(coord["name"]),
            xy_l0=arrays["coords"],
            tile_l0=int(coord["patch_size_level0"]),
            phenotype=arrays["phenotype"],
            membership=arrays.get("membership"),
        )
