"""A slide the size of a stamp with its map on it, for the cohort page."""

from __future__ import annotations

import numpy as np

from pathoml.slides.pictures import LOWERS, RAISES, STRONGEST_ALPHA, paint_tiles
from pathoml.types import AttentionMap, Image


def draw_mini_map(
    image: Image, downsample: float, tile_map: AttentionMap, *, bag_tiles: int, limit: float
) -> Image:
    """Return the thumbnail with orange where tiles raise the risk and blue where they lower it.

    Args:
        image: (H, W, 3) the slide at `downsample` level-0 pixels a pixel.
        limit: of the cohort's scale: contribution times tiles of the bag.
    """
    fraction = np.clip(tile_map.contribution.astype(np.float64) * bag_tiles / limit, -1, 1)  # (N,)
    return paint_tiles(
        image,
        downsample,
        tile_map.xy_l0,
        tile_l0=tile_map.tile_l0,
        hues=np.where(fraction[:, None] > 0, RAISES, LOWERS),
        alphas=np.abs(fraction) * STRONGEST_ALPHA,
    )
