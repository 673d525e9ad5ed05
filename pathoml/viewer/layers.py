"""A slide's map as raw numbers in one answer: the browser colours them, so that a control needs no
further request.

Layout: 4 bytes little-endian length of the header, the header as JSON padded with blanks to a
multiple of 4, then the arrays one after another, each padded to a multiple of 4 bytes. The header
names each array with dtype, shape and offset from the arrays' start.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from pathoml.errors import StoreError
from pathoml.store.tiles import flags_of, tissue_fraction_of
from pathoml.types import AttentionMap, TileGrid
from pathoml.viewer.catalogue import flagged_tiles

DTYPES = {"float32": "<f4", "int32": "<i4", "uint8": "|u1", "int16": "<i2"}


def pack(header: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Return the header and the arrays as one block of bytes.

    >>> block = pack({"tile_l0": 8}, {"attention": np.array([0.5], np.float32)})
    >>> header = json.loads(block[4 : 4 + struct.unpack("<I", block[:4])[0]])
    >>> len(block) % 4, header["arrays"]["attention"]["shape"]
    (0, [1])
    """
    described, parts, offset = {}, [], 0
    for name, array in arrays.items():
        data = np.ascontiguousarray(array, dtype=DTYPES[array.dtype.name]).tobytes()
        data += b"\0" * (-len(data) % 4)
        described[name] = {"dtype": array.dtype.name, "shape": list(array.shape), "offset": offset}
        offset += len(data)
        parts.append(data)
    text = json.dumps({**header, "arrays": described}, allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    return struct.pack("<I", len(text)) + text + b"".join(parts)


def map_arrays(
    tile_map: AttentionMap | None, grid: TileGrid | None, phenotype: npt.NDArray[Any] | None = None
) -> bytes:
    """Return the layers of one slide.

    Args:
        tile_map: the map that `explain` wrote, None before that.
        grid: all tiles, with flags; the layer of tissue and artefacts.
        phenotype: (N,) number of each tile of the map, -1 where it has none.

    Raises:
        StoreError: neither is there.
    """
    if tile_map is None and grid is None:
        raise StoreError("The slide has neither tiles nor a map yet. Run `pathoml run`.")
    arrays: dict[str, npt.NDArray[Any]] = {}
    header: dict[str, Any] = {}
    if tile_map is not None:
        header |= {
            "tile_l0": tile_map.tile_l0,
            "tile_um": tile_map.tile_l0 * tile_map.level0_mpp,
            "log_risk": tile_map.log_risk,
        }
        arrays |= {
            "xy": tile_map.xy_l0.astype(np.int32),
            "contribution": tile_map.contribution.astype(np.float32),
            "attention": tile_map.attention.astype(np.float32),
            "flags": flagged_tiles(tile_map.xy_l0, grid),
        }
        spread = tile_map.spread
        if spread is not None and np.isfinite(spread).all():
            arrays["spread"] = np.asarray(spread, dtype=np.float32)
        if phenotype is not None:
            arrays["phenotype"] = phenotype.astype(np.int16)
    if grid is not None:
        header |= {"tissue_tile_l0": grid.tile_l0, "tissue_tile_um": grid.tile_um}
        arrays |= {
            "tissue_xy": grid.xy_l0.astype(np.int32),
            "tissue_flags": flags_of(grid).astype(np.uint8),
            "tissue_fraction": tissue_fraction_of(grid).astype(np.float32),
        }
    return pack(header, arrays)
