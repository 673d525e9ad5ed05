"""A map as QuPath reads it: a square a tile with its measurements, and on each of them what has to
be known of the map.

QuPath crops a slide to `openslide.bounds-*`, so they are subtracted, and the file says so. Ids are
those of the tile on its slide, whichever verb writes the file: importing twice replaces. NaN is
never written, for JSON has none.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pathoml.store.files import write_text
from pathoml.types import NOTICE, AttentionMap

NAMESPACE = uuid.UUID("5b0a2c9e-9a51-5d7c-8f5e-6d2f6f1f7a10")  # of the ids of our tiles
EXPLAINED = f"Explains the model, not the disease. {NOTICE}"

Feature = dict[str, Any]


def tile_collection(
    tile_map: AttentionMap,
    offset_l0: tuple[int, int],
    colours: npt.NDArray[np.integer],
    *,
    mark: str,
    class_mark: str,
    measured: Sequence[Mapping[str, float]] | None = None,
) -> dict[str, Any]:
    """Return the collection of one slide, a square a tile; what else is to be seen on the slide is
    appended to its "features".

    Args:
        offset_l0: `openslide.bounds-*`, subtracted.
        colours: (N, 3) RGB of the tiles.
        mark: the sentence that has to stand on the map, "" for nothing; it stands in the head of
            the file.
        class_mark: the same in a word or two, behind the class of every tile, for QuPath shows
            classes and not the head.
        measured: for each tile what else is known of it than the map's own numbers.
    """
    return {
        "type": "FeatureCollection",
        "pathoml": {
            "slide_id": tile_map.slide_id,
            "bounds_subtracted": list(offset_l0),
            "tile_um": tile_map.tile_l0 * tile_map.level0_mpp,
            "log_risk": tile_map.log_risk,
            "method": tile_map.method,
            "mark": mark,
            "notice": EXPLAINED,
        },
        "features": [
            _tile(
                tile_map,
                i,
                offset_l0,
                colours[i],
                class_mark,
                measured[i] if measured is not None else {},
            )
            for i in range(len(tile_map.xy_l0))
        ],
    }


def _tile(
    tile_map: AttentionMap,
    i: int,
    offset_l0: tuple[int, int],
    colour: npt.NDArray[np.integer],
    class_mark: str,
    more: Mapping[str, float],
) -> Feature:
    x, y = (int(v) - o for v, o in zip(tile_map.xy_l0[i], offset_l0))
    side, contribution = tile_map.tile_l0, float(tile_map.contribution[i])
    measured = {"contribution": contribution, "attention": float(tile_map.attention[i])}
    if tile_map.spread is not None:
        measured["contribution spread"] = float(tile_map.spread[i])
    return {
        "type": "Feature",
        "id": stable_id(tile_map.slide_id, "tile", x, y, side),
        "geometry": {
            "type": "Polygon",
            "coordinates": [[[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]],
        },
        "properties": {
            "objectType": "tile",
            "classification": {
                "name": marked("raises risk" if contribution > 0 else "lowers risk", class_mark),
                "color": [int(c) for c in colour],
            },
            "measurements": {
                key: value for key, value in {**measured, **more}.items() if np.isfinite(value)
            },
        },
    }


def marked(name: str, class_mark: str) -> str:
    """Return a name with the mark behind it.

    >>> marked("raises risk", "not checked"), marked("raises risk", "")
    ('raises risk (not checked)', 'raises risk')
    """
    return f"{name} ({class_mark})" if class_mark else name


def stable_id(*parts: object) -> str:
    """Return the id of what these words and numbers name, the same each time."""
    return str(uuid.uuid5(NAMESPACE, "/".join(str(p) for p in parts)))


def write_geojson(path: Path, collection: Mapping[str, Any]) -> None:
    """Write a collection atomically, as one line."""
    write_text(path, json.dumps(collection, allow_nan=False))
