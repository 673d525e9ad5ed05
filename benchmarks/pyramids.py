"""The slides that benchmarks read: pyramids of tiled YCbCr JPEG with chroma halved, quality 85, as
most scanners write them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import tifffile

TILE_PX, MPP = 256, 0.25


def write_pyramid(
    path: Path,
    size: tuple[int, int],
    pixels: Callable[[int], np.ndarray | Iterator[np.ndarray]],
    levels: tuple[int, ...] = (1, 4, 16),
) -> None:
    """Write the levels of a slide.

    Args:
        size: width and height of level 0.
        pixels: returns those of a level by its downsample: (H, W, 3), or its tiles of 256 px, row
            by row.
    """
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for scale in levels:
            file.write(
                pixels(scale), shape=(size[1] // scale, size[0] // scale, 3), dtype=np.uint8,
                tile=(TILE_PX, TILE_PX), photometric="rgb", compression="jpeg",
                compressionargs={"level": 85, "outcolorspace": "ycbcr"}, subsampling=(2, 2),
                subfiletype=int(scale > 1), metadata=None, resolution=(1e4 / (MPP * scale),) * 2,
                resolutionunit="CENTIMETER",
            )  # fmt: skip


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write a picture and its reductions."""
    height, width = picture.shape[:2]
    write_pyramid(
        path,
        (width, height),
        lambda scale: cv2.resize(
            picture, (width // scale, height // scale), interpolation=cv2.INTER_AREA
        ),
    )
