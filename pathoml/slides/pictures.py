"""Pictures for the eye: PNG, tiles painted on an overview in the map's colours, a scale bar."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from PIL import ImageDraw, ImageFont

from pathoml.types import Image, Ints

RAISES, LOWERS = (
    np.array([230, 138, 0]),
    np.array([0, 90, 200]),
)  # orange and blue: told apart by everyone, and from H&E
GREYED = 0.65  # the tissue's own colour is taken back, so that pink does not read as risk
STRONGEST_ALPHA = 0.75  # of a tile at the end of the scale; the tissue stays to be seen
LONGEST_SIDE_PX = 1100


def paint_tiles(
    overview: Image,
    downsample: float,
    xy_l0: Ints,
    *,
    tile_l0: int,
    hues: npt.NDArray[np.integer],
    alphas: npt.NDArray[np.float64],
) -> Image:
    """Return the overview, its own colours taken back, with a colour and its strength for each tile
    inside the tile's true borders.

    Args:
        xy_l0: (N, 2) corners.
        hues: (N, 3).
        alphas: (N,) 0 leaves the tissue as it is, 1 hides it.
    """
    grey = cv2.cvtColor(cv2.cvtColor(overview, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    canvas = cv2.addWeighted(overview, 1 - GREYED, grey, GREYED, 0).astype(np.float32)
    side = tile_l0 / downsample
    for (x, y), hue, alpha in zip(xy_l0 / downsample, hues, alphas):
        top, left = round(y), round(x)  # a tile smaller than a pixel is shown as one
        rows = slice(top, max(round(y + side), top + 1))
        columns = slice(left, max(round(x + side), left + 1))
        canvas[rows, columns] = canvas[rows, columns] * (1 - alpha) + hue * alpha
    return canvas.astype(np.uint8)


def draw_scale_bar(
    draw: ImageDraw.ImageDraw, right_end: tuple[int, int], length_um: float, *, um_per_px: float
) -> None:
    """Draw a bar of that length that ends at a pixel, and the length below it."""
    x, y = right_end
    draw.line([(x - round(length_um / um_per_px), y), (x, y)], fill="black", width=4)
    label = f"{length_um / 1000:g} mm" if length_um >= 1000 else f"{length_um:g} um"
    draw.text((x, y + 8), label, fill="black", font=ImageFont.load_default(size=12), anchor="ra")


def round_length(um: float) -> float:
    """Return the largest of 1, 2, 5 x 10^k that is not longer.

    >>> round_length(730.0)
    500.0
    """
    power = 10.0 ** np.floor(np.log10(max(um, 1e-6)))
    return float(max(s * power for s in (1, 2, 5) if s * power <= um))


def png_bytes(image: Image) -> bytes:
    """Return an RGB image as PNG."""
    return bytes(cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1])


def jpeg_bytes(image: Image, quality: int = 85) -> bytes:
    """Return an RGB image as JPEG: a tenth of a PNG, where nothing is measured."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return bytes(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])
