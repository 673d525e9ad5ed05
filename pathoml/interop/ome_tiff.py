"""OME-TIFF: a slide's map as float32 channels, a pixel a tile, with its physical size: for napari,
Fiji, QuPath and any reader of OME.

Where there is no tile the value is 0 and the channel `tile` is 0; NaN is never written.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tifffile

from pathoml.config import Study
from pathoml.errors import StoreError
from pathoml.explanation.marks import NOT_CHECKED, map_marks
from pathoml.store.files import write_bytes
from pathoml.store.maps import read_attention
from pathoml.study.current_run import current_run
from pathoml.study.no_map import why_without_maps
from pathoml.types import NOTICE, AttentionMap, Exchange


def export_to(study: Study, target: Path) -> Exchange:
    """Write SLIDE.ome.tif for every slide that has a map.

    Raises:
        StoreError: there are no maps yet.
    """
    run = current_run(study)
    maps = run.maps()
    if not maps:
        raise StoreError(run.outdated.get("explain") or why_without_maps(study))
    files, marks = [], map_marks(study.run_folder)
    for path in maps:
        tile_map = read_attention(path)
        written = target / f"{tile_map.slide_id}.ome.tif"
        write_ome(written, tile_map, marks.get(tile_map.slide_id, NOT_CHECKED))
        files.append(written)
    return Exchange(
        files=tuple(files),
        notes=("A pixel is a tile; the channel 'tile' is 1 where there is one.",),
    )


def raster(tile_map: AttentionMap) -> tuple[npt.NDArray[np.float32], tuple[str, ...]]:
    """Return (C, H, W) channels over the slide's grid of tiles, and their names; row 0, column 0 is
    the first tile of the grid.
    """
    origin, side = np.asarray(tile_map.xy_l0).min(axis=0), tile_map.tile_l0
    column, row = np.rint((np.asarray(tile_map.xy_l0) - origin) / side).astype(int).T
    values = {
        "contribution": tile_map.contribution,
        "attention": tile_map.attention,
        "tile": np.ones(len(row)),
    }
    if tile_map.spread is not None:
        values["contribution spread"] = tile_map.spread
    channels = np.zeros((len(values), int(row.max()) + 1, int(column.max()) + 1), np.float32)
    for channel, value in zip(channels, values.values()):
        channel[row, column] = np.nan_to_num(value)
    return channels, tuple(values)


def write_ome(path: Path, tile_map: AttentionMap, mark: str = "") -> None:
    """Write one slide's map with the side of a tile as physical size, and the place of its corner
    on the slide.
    """
    channels, names = raster(tile_map)
    side_um = tile_map.tile_l0 * tile_map.level0_mpp
    left, top = (float(v) * tile_map.level0_mpp for v in np.asarray(tile_map.xy_l0).min(axis=0))
    planes, unit = len(names), ["µm"] * len(names)
    place = {
        "PositionX": [left] * planes,
        "PositionXUnit": unit,
        "PositionY": [top] * planes,
        "PositionYUnit": unit,
    }
    metadata = {
        "axes": "CYX",
        "Channel": {"Name": list(names)},
        "PhysicalSizeX": side_um,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": side_um,
        "PhysicalSizeYUnit": "µm",
        "Plane": place,
        "Name": tile_map.slide_id,
        "Description": (f"Explains the model, not the disease. {NOTICE} {mark}".rstrip()),
    }
    made = io.BytesIO()
    tifffile.imwrite(made, channels, ome=True, photometric="minisblack", metadata=metadata)
    write_bytes(path, made.getvalue())
