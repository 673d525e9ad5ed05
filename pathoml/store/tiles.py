"""tiles/GRID/SLIDE.h5: where a slide's tiles lie, how much tissue they hold, and their flags, in
TRIDENT's layout.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import pathoml
from pathoml.store.hdf5 import read_h5, whole, write_h5
from pathoml.store.provenance import recipe_sha256
from pathoml.types import FLAGS, Floats, Ints, Recipe, TileGrid, TissueMask

RECIPE = "recipe"  # attribute: the inputs that the hash is of, as JSON
NOMINAL_MAGNIFICATIONS = (
    80.0,
    40.0,
    20.0,
    10.0,
    5.0,
    2.5,
    1.25,
)  # 10 / mpp rounds to the nearest of these on a log scale


def write_tiles(
    path: Path,
    grid: TileGrid,
    mask: TissueMask,
    *,
    recipe: Recipe,
    about: Mapping[str, str] | None = None,
) -> None:
    """Write tiles/GRID/SLIDE.h5: coords, tissue_fraction, flags and the tissue mask.

    The layout has no word for "not measured": such tiles are stored as full of tissue and
    unflagged.

    Args:
        about: what else quality.csv says of the slide, kept as attributes: scanner, mpp_source,
            haematoxylin, eosin.
    """
    arrays: dict[str, npt.NDArray[Any]] = {
        "coords": grid.xy_l0.astype(np.int64),
        "tissue_fraction": tissue_fraction_of(grid).astype(np.float32),
        "flags": flags_of(grid).astype(np.uint8),
        "mask": mask.mask.astype(np.uint8),
    }
    look = {"mask_downsample": mask.downsample, "mask_method": mask.method, **(about or {})}
    root = {**root_attrs(grid, grid.slide_sha256, recipe), **look}
    write_h5(path, arrays, root, attrs={"coords": coord_attrs(grid)})


def read_tiles(path: Path) -> tuple[TileGrid, TissueMask]:
    """Read tiles/GRID/SLIDE.h5 and verify its content.

    Raises:
        StoreError: torn, foreign, or changed since it was written.
    """
    with whole(path):
        return _tiles_of(*read_h5(path, ("coords", "tissue_fraction", "flags", "mask")))


def _tiles_of(
    arrays: dict[str, npt.NDArray[Any]], root: dict[str, Any], coord: dict[str, Any]
) -> tuple[TileGrid, TissueMask]:
    grid = replace(
        grid_of(arrays["coords"], root, coord),
        tissue_fraction=arrays["tissue_fraction"],
        flags=arrays["flags"],
    )
    mask = TissueMask(
        slide_id=grid.slide_id,
        mask=arrays["mask"].astype(bool),
        downsample=float(root["mask_downsample"]),
        method=str(root["mask_method"]),
        flags={},
    )
    return grid, mask


def grid_of(coords: Ints, root: Mapping[str, Any], coord: Mapping[str, Any]) -> TileGrid:
    """Return the grid of (N, 2) stored corners and the attributes beside them."""
    return TileGrid(
        slide_id=str(coord["name"]),
        xy_l0=coords,
        tile_l0=int(coord["patch_size_level0"]),
        tile_px=int(coord["patch_size"]),
        mpp=float(root["mpp"]),
        level0_mpp=float(root["level0_mpp"]),
        size_l0=(int(coord["level0_width"]), int(coord["level0_height"])),
        slide_sha256=str(root["slide_sha256"]),
    )


def flags_of(grid: TileGrid) -> Ints:
    """Return (N,) the tiles' flags, 0 where nobody looked for artefacts."""
    return np.zeros(len(grid.xy_l0), np.uint8) if grid.flags is None else grid.flags


def tissue_fraction_of(grid: TileGrid) -> Floats:
    """Return (N,) the share of tissue in each tile, 1 where nobody measured it."""
    fraction = grid.tissue_fraction
    return np.ones(len(grid.xy_l0), np.float32) if fraction is None else fraction


def root_attrs(grid: TileGrid, slide_sha256: str, recipe: Recipe) -> dict[str, Any]:
    return {
        "mpp": grid.mpp,
        "level0_mpp": grid.level0_mpp,
        "tile_um": grid.tile_um,
        "slide_sha256": slide_sha256,
        "recipe_sha256": recipe_sha256(recipe),
        RECIPE: json.dumps(dict(recipe.inputs), sort_keys=True, default=str),
        "pathoml_version": pathoml.__version__,
    }


def coord_attrs(grid: TileGrid) -> dict[str, Any]:
    return {
        "patch_size": grid.tile_px,
        "patch_size_level0": grid.tile_l0,
        "level0_magnification": nominal_magnification(grid.level0_mpp),
        "target_magnification": nominal_magnification(grid.mpp),
        "overlap": 0,
        "name": grid.slide_id,
        "level0_width": grid.size_l0[0],
        "level0_height": grid.size_l0[1],
    }


def nominal_magnification(mpp: float) -> int | float:
    """Return the objective's power that a resolution goes by, for readers of TRIDENT's layout;
    pathoml itself never uses it.

    >>> nominal_magnification(0.2525), nominal_magnification(1.0)
    (40, 10)
    """
    power = min(NOMINAL_MAGNIFICATIONS, key=lambda m: abs(np.log2(m * mpp / 10)))
    return int(power) if power == int(power) else power


def kept_tiles(grid: TileGrid, exclude: Sequence[str]) -> TileGrid:
    """Return the grid without the tiles that carry one of the flags, or that a person drew out."""
    bits = sum(1 << FLAGS.index(name) for name in {*exclude, "excluded_region"})
    return some_tiles(grid, (flags_of(grid) & bits) == 0)


def flags_at(grid: TileGrid, xy_l0: Ints) -> npt.NDArray[np.uint8]:
    """Return (N,) the flags of the grid's tiles at (N, 2) corners, 0 where it has no tile.

    >>> from types import SimpleNamespace
    >>> corners = np.array([[0, 0], [9, 0], [0, 9]])
    >>> grid = SimpleNamespace(xy_l0=corners, flags=np.array([1, 2, 4], np.uint8))
    >>> flags_at(grid, np.array([[0, 9], [9, 9], [9, 0]])).tolist()
    [4, 0, 2]
    """
    if not len(grid.xy_l0):
        return np.zeros(len(xy_l0), np.uint8)
    known, wanted = (
        xy[:, 1].astype(np.int64) << 32 | xy[:, 0].astype(np.int64) for xy in (grid.xy_l0, xy_l0)
    )
    order = np.argsort(known, kind="stable")
    place = order[np.minimum(np.searchsorted(known[order], wanted), len(known) - 1)]
    return np.where(known[place] == wanted, flags_of(grid)[place], 0).astype(np.uint8)


def some_tiles(grid: TileGrid, keep: npt.NDArray[np.bool_]) -> TileGrid:
    """Return the grid with those of its tiles for which `keep` (tiles,) holds."""
    fraction, flags = grid.tissue_fraction, grid.flags
    return replace(
        grid,
        xy_l0=grid.xy_l0[keep],
        tissue_fraction=None if fraction is None else fraction[keep],
        flags=None if flags is None else flags[keep],
    )
