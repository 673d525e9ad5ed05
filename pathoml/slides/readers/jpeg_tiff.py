"""Tiled JPEG pyramids (Aperio SVS and plain tiled TIFF), decoded tile by tile: OpenSlide's pixels
in a fraction of its time.

OpenSlide spends most of a read on composing tiles, not on decoding them. Here the compressed tiles
are read as they lie in the file and decoded by libjpeg-turbo, the library that OpenSlide uses too.
Metadata, levels that are not JPEG, missing and damaged tiles are left to OpenSlide, so that a slide
has one size, one scale and one set of faults whoever reads it.
"""

from __future__ import annotations

import math
import os
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import openslide
import simplejpeg
import tifffile

from pathoml.errors import SlideError
from pathoml.slides.readers._tiff_faults import TIFF_FAULTS
from pathoml.slides.readers.openslide import OpenSlideReader
from pathoml.slides.readers.openslide import open_slide as open_with_openslide
from pathoml.slides.reading import Reader
from pathoml.store.system import READ_BYTES, read_at
from pathoml.types import Image, Ints

PRIORITY = 20
VENDORS = (
    "aperio",
    "generic-tiff",
)  # their levels are whole pages of the TIFF, without gaps, overlaps or offsets
JPEG, RGB, YCBCR = 7, 2, 6  # TIFF: compression; photometric interpretations
CACHE_BYTES = 48 * 2**20  # decoded tiles kept: two rows of 256 px tiles of a slide 40,000 px wide
MAX_TILE_PX = 4096  # a larger one is not a tile; OpenSlide may try
APP0, APP15 = 0xE0, 0xEF
# APP14 up to its last byte, the colour transform: 0 RGB, 1 YCbCr
ADOBE = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"


@dataclass(frozen=True, kw_only=True)
class JpegLevel:
    """One page of the TIFF: where each compressed tile lies."""

    size_px: tuple[int, int]  # of the level
    tile_px: tuple[int, int]
    columns: int
    offsets: Ints  # (tiles,) bytes from the start of the file
    byte_counts: Ints  # (tiles,) 0 = the scanner left the tile out
    tables: bytes  # the JPEG tables that the tiles share, without their first and last marker
    is_ycbcr: bool


def detect_format(path: Path) -> bool:
    """Return whether the file is an Aperio or plain tiled TIFF whose first level is JPEG."""
    if not path.is_file() or openslide.OpenSlide.detect_format(path) not in VENDORS:
        return False
    try:
        with tifffile.TiffFile(path) as file:
            return _is_jpeg_page(file.pages.first)
    except TIFF_FAULTS:
        return False  # OpenSlide says what is wrong


def open_slide(path: Path) -> JpegTiffReader:
    """Open a tiled JPEG pyramid.

    Raises:
        SlideError: damaged, or its pages are not OpenSlide's levels; the next reader tries.
    """
    fallback = open_with_openslide(path)
    try:
        levels = _jpeg_levels(path, fallback)
    except TIFF_FAULTS as error:
        fallback.close()
        raise SlideError(
            f"Slide {path.name} is not a plain JPEG pyramid ({error}). Convert it to a tiled "
            "pyramidal JPEG TIFF."
        ) from error
    return JpegTiffReader(path, fallback, levels)


def _is_jpeg_page(page: tifffile.TiffPage) -> bool:
    return bool(
        page.is_tiled
        and page.compression == JPEG
        and page.photometric in (RGB, YCBCR)
        and page.samplesperpixel == 3
        and page.bitspersample == 8
        and page.planarconfig == 1
        and 0 < page.tilewidth <= MAX_TILE_PX
        and 0 < page.tilelength <= MAX_TILE_PX
    )


def _jpeg_levels(path: Path, fallback: OpenSlideReader) -> tuple[JpegLevel | None, ...]:
    """Return one entry a level of OpenSlide's; None where the level is not JPEG, or not to be told
    from another page.
    """
    with tifffile.TiffFile(path) as file:
        tiled = [
            page for page in file.pages if isinstance(page, tifffile.TiffPage) and page.is_tiled
        ]
        levels = []
        for size in fallback.level_sizes:
            pages = [page for page in tiled if (page.imagewidth, page.imagelength) == size]
            levels.append(
                _read_level(pages[0]) if len(pages) == 1 and _is_jpeg_page(pages[0]) else None
            )
    if levels[0] is None:
        raise ValueError("its first level is not the one that OpenSlide shows")
    return tuple(levels)


def _read_level(page: tifffile.TiffPage) -> JpegLevel:
    columns, rows = -(-page.imagewidth // page.tilewidth), -(-page.imagelength // page.tilelength)
    offsets, byte_counts = (
        np.array(page.dataoffsets, np.int64),
        np.array(page.databytecounts, np.int64),
    )
    if len(offsets) != columns * rows or len(byte_counts) != columns * rows:
        raise ValueError(f"{len(offsets)} tiles are listed, {columns * rows} are needed")
    return JpegLevel(
        size_px=(page.imagewidth, page.imagelength),
        tile_px=(page.tilewidth, page.tilelength),
        columns=columns,
        offsets=offsets,
        byte_counts=byte_counts,
        tables=(page.jpegtables or b"")[2:-2],
        is_ycbcr=page.photometric == YCBCR,
    )


def whole_jpeg(tile: bytes, tables: bytes, *, is_ycbcr: bool) -> bytes:
    """Return a tile as a JPEG file that every decoder shows in the right colours.

    The TIFF knows the shared tables and the colour space; a JPEG file must carry both. Without the
    Adobe marker a decoder takes Aperio's RGB for YCbCr and is wrong by 47 grey levels. Application
    markers of the tile are dropped, since a JFIF marker would win over it.
    """
    start = 2
    while len(tile) > start + 4 and tile[start] == 0xFF and APP0 <= tile[start + 1] <= APP15:
        start += 2 + int.from_bytes(tile[start + 2 : start + 4], "big")
    return b"\xff\xd8" + ADOBE + bytes([is_ycbcr]) + tables + tile[start:]


def at_scale(pyramid: JpegLevel, factor: int) -> JpegLevel:
    """Return the level as it is when each tile is decoded at 1 / factor; what does not fill a last
    pixel is left out.
    """
    size, tile = (
        tuple(side // factor for side in sides) for sides in (pyramid.size_px, pyramid.tile_px)
    )
    return replace(pyramid, size_px=(size[0], size[1]), tile_px=(tile[0], tile[1]))


def _shift(image: Image, right: float, down: float) -> Image:
    """Return the image moved by less than a pixel, bilinear as OpenSlide does it: (H, W) -> (H - 1,
    W - 1) where it is moved.
    """
    if right:
        image = np.asarray(
            cv2.addWeighted(image[:, :-1], 1 - right, image[:, 1:], right, 0), np.uint8
        )
    if down:
        image = np.asarray(cv2.addWeighted(image[:-1], 1 - down, image[1:], down, 0), np.uint8)
    return image


class JpegTiffReader(Reader):
    """A tiled JPEG pyramid. Safe to read from several threads."""

    def __init__(
        self, path: Path, fallback: OpenSlideReader, levels: tuple[JpegLevel | None, ...]
    ) -> None:
        self._fallback = fallback
        self._levels = levels
        self._file = os.open(path, READ_BYTES)
        self._cache: OrderedDict[tuple[int, int, int], Image] = OrderedDict()
        self._cached_bytes = 0
        self._lock = threading.Lock()
        self.size_l0 = fallback.size_l0
        self.stated_mpp = fallback.stated_mpp
        self.level_downsamples = fallback.level_downsamples
        self.vendor = fallback.vendor
        self.objective: float | None = getattr(fallback, "objective", None)
        self.bounds_l0 = fallback.bounds_l0
        self.icc_profile = fallback.icc_profile
        self.notes = fallback.notes

    def read_region(self, xy_l0: tuple[int, int], level: int, size_px: tuple[int, int]) -> Image:
        """Return what OpenSlide returns, on white: equal, or within 3 grey levels where the corner
        lies between pixels of the level.
        """
        pyramid = self._levels[level]
        if pyramid is None:
            return self._fallback.read_region(xy_l0, level, size_px)
        x, y = (xy_l0[0] / self.level_downsamples[level], xy_l0[1] / self.level_downsamples[level])
        left, top = math.floor(x), math.floor(y)
        size = (size_px[0] + (x > left), size_px[1] + (y > top))
        if min(x, y) < 0 and (
            x > left or y > top
        ):  # OpenSlide counts from the slide's corner there
            return self._fallback.read_region(xy_l0, level, size_px)
        try:
            return _shift(self._compose(pyramid, level, left, top, size), x - left, y - top)
        except (
            ValueError,
            OSError,
        ):  # missing or damaged: OpenSlide fills it in, or says what is wrong
            return self._fallback.read_region(xy_l0, level, size_px)

    def read_scaled(
        self, xy_l0: tuple[int, int], level: int, size_px: tuple[int, int], *, factor: int
    ) -> Image:
        """Return `size_px` pixels, each of `factor` by `factor` pixels of the level, decoded at
        that size.

        The decoder leaves out the finest frequencies instead of averaging: faster than
        `read_region` and area resampling, and other pixels (1.8 grey levels on average).

        Args:
            factor: 2, 4 or 8.
        """
        width, height = size_px
        pyramid = self._levels[level]
        if pyramid is not None and all(side % (8 * factor) == 0 for side in pyramid.tile_px):
            x, y = (c / self.level_downsamples[level] / factor for c in xy_l0)
            left, top = math.floor(x), math.floor(y)
            if left >= 0 and top >= 0:
                try:
                    size = (width + (x > left), height + (y > top))
                    return _shift(
                        self._compose(at_scale(pyramid, factor), level, left, top, size, factor),
                        x - left,
                        y - top,
                    )
                except (ValueError, OSError):  # as in read_region
                    pass
        region = self.read_region(xy_l0, level, (width * factor, height * factor))
        return np.asarray(cv2.resize(region, size_px, interpolation=cv2.INTER_AREA), np.uint8)

    def tile_size_px(self, level: int) -> tuple[int, int] | None:
        """Return (width, height) of the compressed tiles of a level; None if `raw_jpeg_tile` has
        none there.
        """
        pyramid = self._levels[level]
        return pyramid.tile_px if pyramid else None

    def raw_jpeg_tile(self, level: int, column: int, row: int) -> bytes | None:
        """Return a compressed tile as a JPEG file, untouched otherwise; None where there is none or
        where the slide's edge cuts it.
        """
        pyramid = self._levels[level]
        if pyramid is None or column < 0 or row < 0:
            return None
        width, height = pyramid.tile_px
        if (column + 1) * width > pyramid.size_px[0] or (row + 1) * height > pyramid.size_px[1]:
            return None  # what lies beyond the edge is padding, which a viewer must not show
        try:
            return self._jpeg(pyramid, row * pyramid.columns + column, 16 * width * height)
        except (ValueError, OSError):
            return None

    def _compose(
        self,
        pyramid: JpegLevel,
        level: int,
        x: int,
        y: int,
        size_px: tuple[int, int],
        factor: int = 1,
    ) -> Image:
        (tile_w, tile_h), (width, height) = pyramid.tile_px, size_px
        left, top = max(x, 0), max(y, 0)
        right, bottom = min(x + width, pyramid.size_px[0]), min(y + height, pyramid.size_px[1])
        if (left, top, right, bottom) == (x, y, x + width, y + height):
            region = np.empty((height, width, 3), np.uint8)
        else:
            region = np.full((height, width, 3), 255, np.uint8)
        if right <= left or bottom <= top:
            return region
        for row in range(top // tile_h, (bottom - 1) // tile_h + 1):
            y0, y1 = max(top, row * tile_h), min(bottom, (row + 1) * tile_h)
            for column in range(left // tile_w, (right - 1) // tile_w + 1):
                x0, x1 = max(left, column * tile_w), min(right, (column + 1) * tile_w)
                tile = self._tile(pyramid, level, row * pyramid.columns + column, factor)
                part = tile[
                    y0 - row * tile_h : y1 - row * tile_h,
                    x0 - column * tile_w : x1 - column * tile_w,
                ]
                region[y0 - y : y1 - y, x0 - x : x1 - x] = part
        return region

    def _tile(self, pyramid: JpegLevel, level: int, index: int, factor: int) -> Image:
        key = (level, index, factor)
        with self._lock:
            tile = self._cache.get(key)
            if tile is not None:
                self._cache.move_to_end(key)
                return tile
        width, height = pyramid.tile_px
        jpeg = self._jpeg(pyramid, index, 16 * width * height * factor**2)
        tile = simplejpeg.decode_jpeg(
            jpeg, "RGB", min_width=width, min_height=height, min_factor=factor
        )
        if tile.shape[:2] != (height, width):
            raise ValueError(f"tile {index} has {tile.shape[1]} x {tile.shape[0]} pixels")
        with self._lock:
            self._cache[key] = tile
            self._cached_bytes += tile.nbytes
            while self._cached_bytes > CACHE_BYTES:
                self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes
        return np.asarray(tile, np.uint8)

    def _jpeg(self, pyramid: JpegLevel, index: int, most_bytes: int) -> bytes:
        count = int(pyramid.byte_counts[index])
        if not 4 <= count <= most_bytes:
            raise ValueError(f"tile {index} has {count} bytes")
        tile = read_at(self._file, count, int(pyramid.offsets[index]))
        if len(tile) != count or not tile.startswith(b"\xff\xd8"):
            raise ValueError(f"tile {index} is no JPEG")
        return whole_jpeg(tile, pyramid.tables, is_ycbcr=pyramid.is_ycbcr)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self._cache.clear()
        self._fallback.close()
