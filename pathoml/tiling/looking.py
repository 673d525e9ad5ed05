"""How many tiles a slide will have, from its overview alone: for estimates, before it is tiled."""

from __future__ import annotations

import time

import numpy as np

from pathoml.errors import SlideError
from pathoml.slides.colour import open_in_colour
from pathoml.slides.reading import slide_mpp
from pathoml.tiling.grid import box_means, look_at
from pathoml.tiling.jobs import TileJob, stated_of

TILE_S = 1e-3  # that each tile takes to be looked at closely, which is left out here


def look_at_job(job: TileJob) -> str:
    """Return "TILES SECONDS" of a slide: what `tile` will find, to a few per cent, and about how
    long it will take on one core; "" where it cannot be tiled. A child process says it so, as it
    says what is wrong with a file.
    """
    begun, path, slide_id = time.monotonic(), job.slide.path, job.slide.slide_id
    if path is None:
        return ""
    try:
        with open_in_colour(path, slide_id, icc=job.tiles.icc) as reader:
            mpp, _ = slide_mpp(reader, slide_id, row_mpp=job.slide.mpp, study_mpp=job.study_mpp)
            mask = look_at(reader, mpp, slide_id, stated=stated_of(job)).mask
            width, height = reader.size_l0
    except SlideError:
        return ""
    side = job.tile_px * job.mpp / mpp  # level-0 pixels
    corners = np.stack(
        np.meshgrid(np.arange(int(width // side)), np.arange(int(height // side))), axis=-1
    ).reshape(-1, 2)  # (N, 2)
    scale = side / mask.downsample
    tissue = box_means(mask.mask, corners * scale, scale) if len(corners) else np.zeros(0)
    tiles = int((tissue >= job.tiles.min_tissue).sum())
    return f"{tiles} {time.monotonic() - begun + TILE_S * tiles:.3f}"
