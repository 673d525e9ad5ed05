"""embeddings/ENCODING/SLIDE.h5: one float16 vector per tile, mapped into memory once its content is
verified; or one vector of the whole slide, or of the whole patient, which another tool made.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pathoml.errors import StoreError
from pathoml.store.hdf5 import ATTRS_SHA256, HDF5_FAULTS, opened, read_h5, whole, write_h5
from pathoml.store.refusals import raise_refusal
from pathoml.store.tiles import coord_attrs, grid_of, root_attrs
from pathoml.types import Embeddings, Recipe, TileGrid

VECTOR_OF = "vector_of"  # attribute: what the only row is of, where it is no tile
TILE_RECIPE = "tile_recipe"  # attribute: the recipe of the tiles, as JSON

HASHES = ("content_sha256", ATTRS_SHA256)  # which are taken anew of what is written


def write_embeddings(
    path: Path,
    grid: TileGrid,
    features: npt.NDArray[np.floating[Any]],
    *,
    encoder: str,
    encoder_sha256: str,
    precision: str,
    recipe: Recipe,
    imported_from: str = "",
    stain: str = "",
    vector_of: str = "",
    tile_recipe: str = "",
) -> None:
    """Write embeddings/ENCODING/SLIDE.h5.

    Args:
        grid: the N tiles that were embedded, in this order.
        features: (N, D) float16; of a vector that may be float32.
        precision: what the encoder computed in; recorded, but no reason to embed again on another
            machine.
        imported_from: the tool that made the features, if it was not pathoml.
        stain: what was done to the tiles' colours, if anything.
        vector_of: "slide" or "patient" where the one row is of the whole slide, or of all slides of
            the patient, and has no place; "" for tiles.
        tile_recipe: by which the tiles were laid, as their file holds it; "" = not known.

    Raises:
        StoreError: the features are not finite, or not one row per tile.
    """
    if features.shape[0] != grid.xy_l0.shape[0]:
        raise StoreError(
            f"{grid.slide_id}: {features.shape[0]} features for {grid.xy_l0.shape[0]} tiles."
        )
    if not np.isfinite(features).all():
        raise StoreError(
            f"{grid.slide_id}: {encoder} gave NaN or infinite features. Embed in fp32, or leave the"
            " slide out."
        )
    arrays: dict[str, npt.NDArray[Any]] = {
        "coords": grid.xy_l0.astype(np.int64),
        "features": features,
    }
    root = {
        **root_attrs(grid, grid.slide_sha256, recipe),
        "encoder_sha256": encoder_sha256,
        "precision": precision,
    }
    root |= {
        name: value
        for name, value in (
            ("imported_from", imported_from),
            ("stain", stain),
            (VECTOR_OF, vector_of),
            (TILE_RECIPE, tile_recipe),
        )
        if value
    }
    write_h5(
        path,
        arrays,
        root,
        attrs={
            "coords": coord_attrs(grid),
            "features": {"encoder": encoder, "name": grid.slide_id},
        },
    )


def restamp(path: Path, tile_recipe: str) -> None:
    """Write a file of embeddings again as it is, but for the recipe of its tiles.

    Raises:
        StoreError: torn, foreign, or changed since it was written.
    """
    with whole(path):
        arrays, root, _ = read_h5(path, ("coords", "features"))
        with opened(path) as (file, _, _):
            attrs = {name: dict(file[name].attrs) for name in arrays}
    kept = {k: v for k, v in root.items() if k not in (*HASHES, "features.encoder")}
    write_h5(path, arrays, {**kept, TILE_RECIPE: tile_recipe}, attrs=attrs)


def read_embeddings(path: Path) -> Embeddings:
    """Open embeddings/ENCODING/SLIDE.h5: features are mapped into memory, not read, once their
    content is verified.

    Raises:
        StoreError: torn, foreign, or changed since it was written.
    """
    with whole(path):
        return _embeddings_of(path, *read_h5(path, ("coords", "features"), mapped=("features",)))


def _embeddings_of(
    path: Path, arrays: dict[str, npt.NDArray[Any]], root: dict[str, Any], coord: dict[str, Any]
) -> Embeddings:
    coords, features = arrays["coords"], arrays["features"]
    vector_of = str(root.get(VECTOR_OF, ""))
    kinds = (np.float16, np.float32) if vector_of else (np.float16,)
    if features.ndim != 2 or coords.shape != (len(features), 2) or features.dtype not in kinds:
        raise StoreError(
            f"{path}: features {features.shape} {features.dtype}, coords {coords.shape}; expected"
            " (N, D) float16, (N, 2)."
        )
    return Embeddings(
        grid=grid_of(coords, root, coord),
        features=features,
        encoder=str(root["features.encoder"]),
        encoder_sha256=str(root["encoder_sha256"]),
        recipe_sha256=str(root["recipe_sha256"]),
        content_sha256=str(root["content_sha256"]),
        vector_of=vector_of,
    )


def stored_rows(path: Path) -> int:
    """Return how many vectors a file of embeddings holds, without reading them; 0 if it is absent
    or torn.

    Raises:
        StoreError: the machine does not let it be read now.
    """
    return _stored_shape(path)[0]


def stored_width(path: Path) -> int:
    """Return how many numbers a vector of a file of embeddings has, without reading them; 0 if it
    is absent or torn.
    """
    return _stored_shape(path)[1]


def _stored_shape(path: Path) -> tuple[int, int]:
    try:
        with opened(path) as (file, _, _):
            rows, width = file["features"].shape
            return int(rows), int(width)
    except HDF5_FAULTS as error:
        raise_refusal(error, path)
        return 0, 0


def why_left_out(of: str) -> str:
    """Return why a patient has no bag, of what has one vector; "" for tiles.

    >>> why_left_out(""), why_left_out("slide")
    ('no slide could be embedded', 'no vector of the slide was imported')
    """
    return f"no vector of the {of} was imported" if of else "no slide could be embedded"
