"""A slide the size of a stamp with its map on it, for the cohort page."""

from __future__ import annotations

import cv2
import numpy as np

from pathoml.slides.pictures import LOWERS, RAISES
from pathoml.types import AttentionMap, Image

GREYED = 0.55  # the tissue's own colour is taken back, so that pink does not read as risk
STRONGEST_ALPHA = 0.85


def draw_mini_map(
    image: Image, downsample: float, tile_map: AttentionMap, *, bag_tiles: int, limit: float
) -> Image:
    """Return the thumbnail with orange where tiles raise the risk and blue where they lower it.

    Args:
        image: (H, W, 3) the slide at `downsample` level-0 pixels a pixel.
        limit: of the cohort's scale: contribution times tiles of the bag.
    """
    fraction = np.clip(tile_map.contribution.astype(np.float64) * bag_tiles / limit, -1, 1)  # (N,)
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    canvas = cv2.addWeighted(image, 1 - GREYED, grey, GREYED, 0).astype(np.float32)
    corners = np.rint(tile_map.xy_l0 / downsample).astype(int)
    ends = np.maximum(
        np.rint((tile_map.xy_l0 + tile_map.tile_l0) / downsample).astype(int), corners + 1
    )
    for (x, y), (right, bottom), value in zip(corners, ends, fraction):
        alpha = abs(value) * STRONGEST_ALPHA
        canvas[y:bottom, x:right] = (
            canvas[y:bottom, x:right] * (1 - alpha) + (RAISES if value > 0 else LOWERS) * alpha
        )
    return canvas.astype(np.uint8)
