"""Plain images (PNG, JPEG, TIFF that OpenSlide refuses or misreads): decoded once into memory, with
halved copies as levels.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import PIL.Image
import tifffile

from pathoml.errors import SlideError
from pathoml.slides.readers import _colours as colours
from pathoml.slides.readers._colours import Picture, Samples, as_rgb, profile_space
from pathoml.slides.readers._tiff_faults import TIFF_FAULTS
from pathoml.slides.readers._tiff_pages import page_mpp, picture_pages
from pathoml.slides.reading import Reader
from pathoml.types import Image

PRIORITY = 0
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
MAX_PIXELS = 500_000_000  # 1.5 GB of RGB; larger images belong into a pyramid
LEVELS = 3
# compressions whose decoder gives red, green and blue by itself: JPEG, JPEG 2000, WebP, JPEG XL
IN_RGB = (6, 7, 33003, 33004, 33005, 34712, 34927, 50001, 50002, 52546)
YCBCR_COEFFICIENTS, INK_SET, REFERENCE_BLACK_WHITE = 529, 332, 532  # TIFF tags
FOUR_INKS = 1  # cyan, magenta, yellow and black

Size = tuple[float, float] | None


def detect_format(path: Path) -> bool:
    """Return whether the file's suffix is that of a plain image."""
    return path.is_file() and path.suffix.lower() in SUFFIXES


def open_slide(path: Path) -> PlainImageReader:
    """Decode a plain image.

    Raises:
        SlideError: not decodable, of no colours, or over MAX_PIXELS.
    """
    is_tiff = path.suffix.lower() in (".tif", ".tiff")
    try:
        picture, mpp = _read_tiff(path) if is_tiff else _read_image(path)
    except (*TIFF_FAULTS, PIL.Image.DecompressionBombError) as error:
        raise SlideError(
            f"Slide {path.name} cannot be decoded ({type(error).__name__}: {str(error)[:200]}). "
            "Copy it again, or convert it to a tiled pyramidal JPEG TIFF in RGB."
        ) from error
    return PlainImageReader(picture.rgb, mpp, icc_profile=picture.icc_profile, notes=picture.notes)


def _read_image(path: Path) -> tuple[Picture, Size]:
    with (
        warnings.catch_warnings(action="ignore"),
        PIL.Image.open(path) as image,
    ):  # damage ends in an error; size is judged here
        _refuse_bomb(path, image.width * image.height)
        image.load()
        profile = image.info.get("icc_profile")
        if image.mode.startswith("I") or _png_bits(path) > 8:  # Pillow cuts 16 bits, or drops 8
            return as_rgb(_deep_samples(path, profile)), None
        if image.mode in ("CMYK", "LAB"):
            kind = {"CMYK": colours.CMYK, "LAB": colours.CIELAB}[image.mode]
            samples = Samples(values=np.asarray(image), photometric=kind, icc_profile=profile)
            return as_rgb(samples), None
        is_grey = image.mode in ("1", "L", "LA")
        has_alpha = image.has_transparency_data
        if is_grey:
            values = np.asarray(image.convert("LA" if has_alpha else "L"))
        else:
            values = np.asarray(image.convert("RGBA" if has_alpha else "RGB"))
    kind = colours.BLACK_IS_ZERO if is_grey else colours.RGB
    return as_rgb(
        Samples(
            values=values.reshape(*values.shape[:2], -1),
            photometric=kind,
            extras=(2,) if has_alpha else (),
            icc_profile=profile if profile_space(profile) == "RGB" else None,
        )
    ), None


def _png_bits(path: Path) -> int:
    with path.open("rb") as file:
        head = file.read(25)
    return head[24] if head.startswith(b"\x89PNG") and len(head) == 25 else 8


def _deep_samples(path: Path, profile: bytes | None) -> Samples:
    values = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise ValueError("its samples of more than 8 bits are not understood")
    values = np.asarray(values).reshape(*values.shape[:2], -1)
    if values.shape[2] >= 3:  # OpenCV has blue first
        values = values[:, :, [2, 1, 0, 3][: values.shape[2]]]
        kind = colours.RGB
    else:
        kind = colours.BLACK_IS_ZERO
    has_alpha = values.shape[2] in (2, 4)
    return Samples(
        values=values,
        photometric=kind,
        extras=(2,) if has_alpha else (),
        icc_profile=profile if profile_space(profile) == "RGB" else None,
    )


def _read_tiff(path: Path) -> tuple[Picture, Size]:
    with tifffile.TiffFile(path) as file:
        found = picture_pages(file)
        page = found.first
        _refuse_bomb(path, page.imagewidth * page.imagelength)
        values = np.concatenate([_values(each) for each in found.pages], axis=2)
        photometric = int(page.photometric)
        is_decoded = photometric == colours.YCBCR and page.compression in IN_RGB
        is_rgb = found.are_channels or (
            photometric == colours.BLACK_IS_ZERO and page.samplesperpixel >= 3
        )  # pages, or planes, of red, green and blue
        if photometric == colours.CMYK and page.tags.valueof(INK_SET, FOUR_INKS) != FOUR_INKS:
            raise ValueError("inks other than cyan, magenta, yellow and black")
        profile = page.iccprofile
        picture = as_rgb(
            Samples(
                values=values,
                photometric=colours.RGB if is_decoded or is_rgb else photometric,
                extras=() if is_rgb else tuple(int(extra) for extra in page.extrasamples),
                icc_profile=profile if profile_space(profile) in ("RGB", "CMYK") else None,
                colormap=page.colormap,
                luma=_numbers(page, YCBCR_COEFFICIENTS, colours.LUMA),
                black_white=_numbers(page, REFERENCE_BLACK_WHITE, (0, 255, 128, 255, 128, 255)),
            )
        )
        rgb = picture.rgb
        for each in found.pages:
            _whiten_missing(each, rgb)
        notes = (*found.notes, *picture.notes)
        return Picture(rgb=rgb, icc_profile=picture.icc_profile, notes=notes), page_mpp(page)


def _values(page: tifffile.TiffPage) -> npt.NDArray[Any]:
    """Return (H, W, S) samples of a page, whichever way its planes lie."""
    if page.is_tiled:
        needed = -(-page.imagewidth // page.tilewidth) * -(-page.imagelength // page.tilelength)
        if len(page.dataoffsets) < needed:  # tifffile would fill in black
            raise ValueError(f"{len(page.dataoffsets)} tiles are listed, {needed} are needed")
    if page.bitspersample not in (8, 16):
        raise ValueError(f"{page.bitspersample} bits a sample are not 8-bit or 16-bit")
    values = np.asarray(page.asarray())
    if page.planarconfig == 2 and page.samplesperpixel > 1 and values.ndim == 3:
        values = np.moveaxis(values, 0, 2)
    shape = (page.imagelength, page.imagewidth)
    if values.shape[:2] != shape or values.ndim > 3:
        raise ValueError(f"{values.dtype} of shape {values.shape} is not one picture")
    return values.reshape(*shape, -1)


def _whiten_missing(page: tifffile.TiffPage, rgb: Image) -> None:
    """Make glass of what a scanner left out: tiles and strips without bytes, which decoders fill
    with zeros.
    """
    width = page.tilewidth if page.is_tiled else page.imagewidth
    height = page.tilelength if page.is_tiled else min(page.rowsperstrip, page.imagelength)
    columns, rows = -(-page.imagewidth // width), -(-page.imagelength // height)
    for number, (offset, count) in enumerate(zip(page.dataoffsets, page.databytecounts)):
        if not count or not offset:
            row, column = divmod(number % (columns * rows), columns)
            top, left = row * height, column * width
            rgb[top : top + height, left : left + width] = 255


def _numbers(page: tifffile.TiffPage, tag: int, otherwise: tuple[float, ...]) -> tuple[float, ...]:
    """Return a tag's fractions."""
    values = page.tags.valueof(tag)
    if values is None or len(values) != 2 * len(otherwise):
        return otherwise
    return tuple(above / below if below else 0.0 for above, below in zip(values[::2], values[1::2]))


def _refuse_bomb(path: Path, pixels: int) -> None:
    if pixels > MAX_PIXELS:
        raise SlideError(
            f"Slide {path.name} is a plain image of {pixels / 1e6:.0f} megapixels; at most "
            f"{MAX_PIXELS / 1e6:.0f} are read. Convert it to a tiled pyramidal JPEG TIFF."
        )


class PlainImageReader(Reader):
    """An image in memory that answers like a slide."""

    def __init__(
        self,
        pixels: Image,
        mpp: Size,
        *,
        icc_profile: bytes | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        self.stated_mpp = mpp
        self.vendor = "plain"
        self.icc_profile = icc_profile
        self.notes = notes
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
