"""Two files that scanners write: a generic pyramidal TIFF and an Aperio SVS, both without label or
macro image.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from pathoml.synthetic.stain import Image8

TILE_PX = 256
JPEG_QUALITY = 88


def write_tiff(path: Path, rgb: Image8, *, mpp: float, levels: int = 4) -> None:
    """Write a tiled JPEG pyramid, halved from level to level, with the scale in the resolution
    tags.

    Args:
        rgb: (H, W, 3) uint8, level 0.
        mpp: micrometres a level-0 pixel.
    """
    with tifffile.TiffWriter(path) as tiff:
        for level in range(levels):
            per_cm = 1e4 / (mpp * 2**level)
            _write_level(
                tiff,
                rgb,
                level=level,
                stored_as="ycbcr",
                resolution=(per_cm, per_cm),
                description=None,
            )
            rgb = _reduce(rgb, 2)


def write_svs(path: Path, rgb: Image8, *, mpp: float, magnification: int, levels: int = 3) -> None:
    """Write an Aperio-style SVS: a tiled JPEG pyramid in steps of four, the scale in the image
    description.
    """
    height, width = rgb.shape[:2]
    header = (
        f"Aperio Image Library v12.0.16 \r\n{width}x{height} [0,0 {width}x{height}]"
        f" ({TILE_PX}x{TILE_PX})"
    )
    with tifffile.TiffWriter(path) as tiff:
        for level in range(levels):
            size = "" if level == 0 else f" -> {rgb.shape[1]}x{rgb.shape[0]}"
            description = (
                f"{header}{size} JPEG/RGB Q={JPEG_QUALITY}|AppMag = {magnification}|MPP = {mpp:.4f}"
            )
            _write_level(
                tiff, rgb, level=level, stored_as="rgb", resolution=None, description=description
            )
            rgb = _reduce(rgb, 4)


def _write_level(
    tiff: tifffile.TiffWriter, rgb: Image8, *, level: int, stored_as: str,
    resolution: tuple[float, float] | None, description: str | None,
) -> None:  # fmt: skip
    tiff.write(
        rgb,
        tile=(TILE_PX, TILE_PX),
        photometric="rgb",
        compression="jpeg",
        compressionargs={"level": JPEG_QUALITY, "outcolorspace": stored_as},
        subsampling=(2, 2) if stored_as == "ycbcr" else (1, 1),
        subfiletype=int(level > 0),
        resolution=resolution,
        resolutionunit="CENTIMETER" if resolution else None,
        description=description,
        software=False,  # neither version nor date: the same seed gives the same bytes
        metadata=None,
        maxworkers=1,
    )


def _reduce(rgb: Image8, factor: int) -> Image8:
    return np.asarray(Image.fromarray(rgb).reduce(factor))
