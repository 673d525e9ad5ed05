"""Pictures as .npy files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pathoml.slides.reading import Reader
from pathoml.types import Image

PRIORITY = 5


def detect_format(path: Path) -> bool:
    return path.suffix == ".npy"


def open_slide(path: Path) -> NumpySlide:
    return NumpySlide(np.load(path, allow_pickle=False))


class NumpySlide(Reader):
    """One level."""

    stated_mpp = None
    level_downsamples = (1.0,)
    vendor = "example"

    def __init__(self, picture: Image) -> None:
        self._picture = picture
        self.size_l0 = picture.shape[1], picture.shape[0]

    def read_region(self, xy_l0: tuple[int, int], level: int, size_px: tuple[int, int]) -> Image:  # noqa: ARG002
        (x, y), (width, height) = xy_l0, size_px
        region = np.full((height, width, 3), 255, np.uint8)
        part = self._picture[max(y, 0) : max(y + height, 0), max(x, 0) : max(x + width, 0)]
        top, left = max(-y, 0), max(-x, 0)
        region[top : top + part.shape[0], left : left + part.shape[1]] = part
        return region
