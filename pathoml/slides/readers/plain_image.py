"""Plain images (PNG, JPEG, TIFF that OpenSlide refuses): decoded once into memory, with halved
copies as levels.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import tifffile

from pathoml.errors import SlideError
from pathoml.slides.readers._tiff_faults import TIFF_FAULTS
from pathoml.slides.reading import Reader
from pathoml.types import Image

PRIORITY = 0
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
MAX_PIXELS = 500_000_000  # 1.5 GB of RGB; larger images belong into a pyramid
LEVELS = 3
UNITS_UM = {2: 25_400.0, 3: 10_000.0}  # TIFF resolution units: inch, centimetre


def detect_format(path: Path) -> bool:
    """Return whether the file's suffix is that of a plain image."""
    return path.is_file() and path.suffix.lower() in SUFFIXES


def open_slide(path: Path) -> PlainImageReader:
    """Decode a plain image.

    Raises:
        SlideError: not decodable, not RGB, or over MAX_PIXELS.
    """
    is_tiff = path.suffix.lower() in (".tif", ".tiff")
    try:
        pixels, mpp = _read_tiff(path) if is_tiff else _read_image(path)
    except (*TIFF_FAULTS, PIL.Image.DecompressionBombError) as error:
        raise SlideError(
            f"Slide {path.name} cannot be decoded ({type(error).__name__}: {str(error)[:120]}). "
            "Copy it again, or convert it to a tiled pyramidal JPEG TIFF."
        ) from error
    return PlainImageReader(pixels, mpp)


def _read_image(path: Path) -> tuple[Image, tuple[float, float] | None]:
    with (
        warnings.catch_warnings(action="ignore"),
        PIL.Image.open(path) as image,
    ):  # damage ends in an error; size is judged here
        _refuse_bomb(path, image.width * image.height)
        return np.asarray(image.convert("RGB")), None


def _read_tiff(path: Path) -> tuple[Image, tuple[float, float] | None]:
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        _refuse_bomb(path, page.imagewidth * page.imagelength)
        if page.is_tiled:
            needed = -(-page.imagewidth // page.tilewidth) * -(-page.imagelength // page.tilelength)
            if len(page.dataoffsets) < needed:  # tifffile would fill in black
                raise ValueError(f"{len(page.dataoffsets)} tiles are listed, {needed} are needed")
        pixels = page.asarray()
        mpp = _tag_mpp(page)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] < 3:
        raise ValueError(f"{pixels.dtype} of shape {pixels.shape} is not 8-bit RGB")
    return np.ascontiguousarray(pixels[:, :, :3]), mpp


def _tag_mpp(page: tifffile.TiffPage) -> tuple[float, float] | None:
    unit_um = UNITS_UM.get(int(page.resolutionunit or 0))
    x, y = page.get_resolution() if unit_um else (0.0, 0.0)
    return (unit_um / x, unit_um / y) if unit_um and x > 0 and y > 0 else None


def _refuse_bomb(path: Path, pixels: int) -> None:
    if pixels > MAX_PIXELS:
        raise SlideError(
            f"Slide {path.name} is a plain image of {pixels / 1e6:.0f} megapixels; at most "
            f"{MAX_PIXELS / 1e6:.0f} are read. Convert it to a tiled pyramidal JPEG TIFF."
        )


class PlainImageReader(Reader):
    """An image in memory that answers like a slide."""

    def __init__(self, pixels: Image, mpp: tuple[float, float] | None) -> None:
        self.stated_mpp = mpp
        self.vendor = "plain"
        self._levels = [pixels]
        while len(self._levels) < LEVELS and min(self._levels[-1].shape[:2]) >= 512:
            image = self._levels[-1]
            size = (image.shape[1] // 4, image.shape[0] // 4)
            self._levels.append(
                np.asarray(
                    cv2.resize(
                        image[: size[1] * 4, : size[0] * 4], size, interpolation=cv2.INTER_AREA
                    ),
                    np.uint8,
                )
            )

    @property
    def size_l0(self) -> tuple[int, int]:
        return self._levels[0].shape[1], self._levels[0].shape[0]

    @property
    def level_downsamples(self) -> tuple[float, ...]:
        return tuple(4.0**i for i in range(len(self._levels)))

    def read_region(self, xy_l0: tuple[int, int], level: int, size_px: tuple[int, int]) -> Image:
        image, scale = self._levels[level], 4**level
        x, y, (width, height) = round(xy_l0[0] / scale), round(xy_l0[1] / scale), size_px
        region = np.full((height, width, 3), 255, np.uint8)
        left, top = max(x, 0), max(y, 0)
        part = image[top : max(y + height, 0), left : max(x + width, 0)]
        region[top - y : top - y + part.shape[0], left - x : left - x + part.shape[1]] = part
        return region

    def close(self) -> None:
        self._levels = []
