"""Pixels for the browser: DeepZoom tiles of 256 without overlap, overviews and crops, from few open
slides and a bounded cache.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import simplejpeg

from pathoml.errors import SlideError
from pathoml.slides.identity import by_id
from pathoml.slides.reading import (
    SlideReader,
    best_level,
    open_slide,
    read_overview,
    read_tile,
    resample,
)
from pathoml.types import Image

# the native tile of most scanners; 254 + 1 straddles them and costs 57 % more (measured)
TILE_PX = 256
JPEG_QUALITY = 85
CACHE_BYTES = 96 * 2**20
OPEN_SLIDES = 6  # each OpenSlide handle keeps up to 32 MB of decoded tiles
OVERVIEW_PX = 2048  # longest side of the overview that stands in for missing pyramid levels
OVERVIEWS_KEPT = 4  # 12 MB each
# reading more than 4 x 4 stored pixels a shown pixel: take the overview instead
WORTH_AN_OVERVIEW = 4.0
LEVEL_ROUNDING = 1e-3  # relative; scanners round their levels to whole pixels


@dataclass(frozen=True, kw_only=True)
class DeepZoom:
    """The pyramid a browser sees: level L shows 2^(top - L) level-0 pixels a pixel."""

    size_l0: tuple[int, int]

    @property
    def top(self) -> int:
        """
        >>> DeepZoom(size_l0=(1025, 400)).top
        11
        """
        return max(0, math.ceil(math.log2(max(self.size_l0))))

    def downsample(self, level: int) -> int:
        return 1 << (self.top - level)

    def size_px(self, level: int) -> tuple[int, int]:
        width, height = (math.ceil(side / self.downsample(level)) for side in self.size_l0)
        return width, height

    def tile_size(self, level: int, column: int, row: int) -> tuple[int, int] | None:
        """Return the tile's (width, height), or None where there is no such tile.

        >>> zoom = DeepZoom(size_l0=(1025, 400))
        >>> zoom.tile_size(11, 4, 0), zoom.tile_size(11, 5, 0)
        ((1, 256), None)
        """
        if not 0 <= level <= self.top or column < 0 or row < 0:
            return None
        width, height = self.size_px(level)
        left, top = column * TILE_PX, row * TILE_PX
        if left >= width or top >= height:
            return None
        return min(TILE_PX, width - left), min(TILE_PX, height - top)


class ByteCache:
    """The most recently used answers, at most so many bytes of them; safe for threads."""

    def __init__(self, max_bytes: int) -> None:
        self._max = max_bytes
        self._items: OrderedDict[tuple[object, ...], bytes] = OrderedDict()
        self._lock = threading.Lock()
        self.bytes = 0

    def get(self, key: tuple[object, ...]) -> bytes | None:
        with self._lock:
            value = self._items.get(key)
            if value is not None:
                self._items.move_to_end(key)
            return value

    def put(self, key: tuple[object, ...], value: bytes) -> None:
        with self._lock:
            if key in self._items or len(value) > self._max:
                return
            self._items[key] = value
            self.bytes += len(value)
            while self.bytes > self._max:
                self.bytes -= len(self._items.popitem(last=False)[1])


Stamp = tuple[int, int] | None  # size and time of change of a file; None where there is none


def file_stamp(path: Path | None) -> Stamp:
    """Return what changes when a file is replaced; cheap enough to ask at every request."""
    try:
        stat = path.stat() if path is not None else None
    except OSError:
        return None
    return (stat.st_size, stat.st_mtime_ns) if stat else None


class SlidePool:
    """Few open slides, shared by threads; one that failed is dropped, because its handle is dead,
    and so is one whose file was replaced.
    """

    def __init__(self, paths: Mapping[str, Path | None], most: int = OPEN_SLIDES) -> None:
        self._paths = paths
        self._most = most
        self._open: OrderedDict[str, _Lent] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def borrow(self, slide_id: str) -> Iterator[SlideReader]:
        """Yield an open slide that stays open at least until the block ends.

        Raises:
            SlideError: there is no such file, or it cannot be read.
        """
        try:
            lent = self._take(slide_id)
        except SlideError as error:
            raise SlideError(by_id(str(error), slide_id, self._paths.get(slide_id))) from error
        try:
            yield lent.reader
        except SlideError:
            with self._lock:
                if self._open.get(slide_id) is lent:
                    del self._open[slide_id]
                lent.evicted = True
            raise
        finally:
            with self._lock:
                lent.readers -= 1
                dead = lent.evicted and lent.readers == 0
            if dead:
                lent.reader.close()

    def follow(self, paths: Mapping[str, Path | None]) -> None:
        """Take other files for the slides, as a table says now; one that is lent stays open."""
        if paths == self._paths:
            return
        with self._lock:
            moved = [s for s in self._open if self._paths.get(s) != paths.get(s)]
            lents = [self._open.pop(slide_id) for slide_id in moved]
            for lent in lents:
                lent.evicted = True
            unused = [lent for lent in lents if lent.readers == 0]
            self._paths = paths
        for lent in unused:
            lent.reader.close()

    def stamp(self, slide_id: str) -> Stamp:
        """Return the stamp of the slide's file as it lies there now."""
        return file_stamp(self._paths.get(slide_id))

    def _take(self, slide_id: str) -> _Lent:
        stamp, unused = self.stamp(slide_id), list[_Lent]()
        with self._lock:
            lent = self._open.get(slide_id)
            if lent is not None and lent.stamp == stamp:
                self._open.move_to_end(slide_id)
                lent.readers += 1
                return lent
            if lent is not None:
                del self._open[slide_id]
                lent.evicted = True
                if lent.readers == 0:
                    unused.append(lent)
        path = self._paths.get(slide_id)
        if path is None:
            raise SlideError(
                f"Slide {slide_id} has no file in slides.csv; only its map can be shown."
            )
        fresh = _Lent(open_slide(path), stamp)  # outside the lock: opening takes milliseconds
        with self._lock:
            lent = self._open.setdefault(slide_id, fresh)
            if lent is not fresh:  # another thread was faster
                unused.append(fresh)
            lent.readers += 1
            while len(self._open) > self._most:
                _, oldest = self._open.popitem(last=False)
                oldest.evicted = True
                if oldest.readers == 0:
                    unused.append(oldest)
        for old in unused:
            old.reader.close()
        return lent

    def close(self) -> None:
        with self._lock:
            lents = list(self._open.values())
            self._open.clear()
        for lent in lents:
            lent.reader.close()


class _Lent:
    def __init__(self, reader: SlideReader, stamp: Stamp) -> None:
        self.reader = reader
        self.stamp = stamp
        self.readers = 0
        self.evicted = False


class Pixels:
    """JPEG bytes of tiles, thumbnails and crops."""

    def __init__(self, paths: Mapping[str, Path | None], cache_bytes: int = CACHE_BYTES) -> None:
        self.pool = SlidePool(paths)
        self.cache = ByteCache(cache_bytes)
        self._overviews: OrderedDict[tuple[str, Stamp], tuple[Image, float]] = OrderedDict()
        self._overview_lock = (
            threading.Lock()
        )  # one overview at a time: a slide without a pyramid is read whole

    def size_l0(self, slide_id: str) -> tuple[int, int]:
        with self.pool.borrow(slide_id) as reader:
            return reader.size_l0

    def tile(self, slide_id: str, level: int, column: int, *, row: int) -> bytes | None:
        """Return a DeepZoom tile as JPEG, or None where the slide has none.

        Raises:
            SlideError: the pixels cannot be read.
        """
        return self.cached(
            slide_id, (level, column, row), lambda: self._make_tile(slide_id, level, column, row)
        )

    def kept_tile(self, slide_id: str, level: int, column: int, *, row: int) -> bytes | None:
        """Return a tile that was made before, without touching the slide."""
        return self.cache.get((slide_id, self.pool.stamp(slide_id), level, column, row))

    def thumbnail(self, slide_id: str, longest_px: int) -> bytes:
        """Return the whole slide, its longer side `longest_px`, as JPEG."""
        return (
            self.cached(
                slide_id,
                ("thumbnail", longest_px),
                lambda: encode_jpeg(self.thumbnail_pixels(slide_id, longest_px)[0]),
            )
            or b""
        )

    def thumbnail_pixels(self, slide_id: str, longest_px: int) -> tuple[Image, float]:
        """Return the whole slide and the level-0 pixels a pixel of it."""
        with self.pool.borrow(slide_id) as reader:
            downsample = max(1.0, max(reader.size_l0) / longest_px)
            level = best_level(reader.level_downsamples, downsample)
            if downsample > WORTH_AN_OVERVIEW * reader.level_downsamples[level]:
                image, exact = self._overview(slide_id, reader)
            else:
                image, exact = read_overview(reader, downsample)
        scale = longest_px / max(image.shape[:2])
        if scale >= 1:
            return image, exact
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        return resample(image, size), exact * image.shape[1] / size[0]

    def crop(self, slide_id: str, xy_l0: tuple[int, int], tile_l0: int, *, side_px: int) -> bytes:
        """Return one tile of the map as JPEG."""

        def make() -> bytes:
            with self.pool.borrow(slide_id) as reader:
                return encode_jpeg(read_tile(reader, xy_l0, tile_l0, tile_px=side_px))

        return self.cached(slide_id, ("crop", xy_l0, tile_l0, side_px), make) or b""

    def cached(
        self, slide_id: str, what: tuple[object, ...], make: Callable[[], bytes | None]
    ) -> bytes | None:
        """Return what was made of this very file before, or make it and keep it."""
        key = (slide_id, self.pool.stamp(slide_id), *what)
        found = self.cache.get(key)
        if found is not None:
            return found
        made = make()
        if made is not None:
            self.cache.put(key, made)
        return made

    def _make_tile(self, slide_id: str, level: int, column: int, row: int) -> bytes | None:
        with self.pool.borrow(slide_id) as reader:
            zoom = DeepZoom(size_l0=reader.size_l0)
            size = zoom.tile_size(level, column, row)
            if size is None:
                return None
            downsample = zoom.downsample(level)
            raw = _stored_jpeg(reader, downsample, size, column, row)
            if raw is not None:
                return raw
            source = best_level(reader.level_downsamples, downsample)
            step = downsample / reader.level_downsamples[source]
            if step > WORTH_AN_OVERVIEW:
                return encode_jpeg(
                    _from_overview(*self._overview(slide_id, reader), downsample, size, column, row)
                )
            region = (max(1, round(size[0] * step)), max(1, round(size[1] * step)))
            xy_l0 = (column * TILE_PX * downsample, row * TILE_PX * downsample)
            return encode_jpeg(resample(reader.read_region(xy_l0, source, region), size))

    def _overview(self, slide_id: str, reader: SlideReader) -> tuple[Image, float]:
        key = (slide_id, self.pool.stamp(slide_id))
        with self._overview_lock:
            if key in self._overviews:
                self._overviews.move_to_end(key)
                return self._overviews[key]
            self._overviews[key] = read_overview(
                reader, max(1.0, max(reader.size_l0) / OVERVIEW_PX)
            )
            while len(self._overviews) > OVERVIEWS_KEPT:
                self._overviews.popitem(last=False)
            return self._overviews[key]


def _stored_jpeg(
    reader: SlideReader, downsample: int, size: tuple[int, int], column: int, row: int
) -> bytes | None:
    """Return the tile's bytes as the scanner stored them, if a level has this scale and this
    raster.
    """
    if size != (TILE_PX, TILE_PX):  # a stored edge tile is padded
        return None
    for level, stored in enumerate(reader.level_downsamples):
        if abs(stored / downsample - 1) < LEVEL_ROUNDING and reader.tile_size_px(level) == size:
            return reader.raw_jpeg_tile(level, column, row)
    return None


def _from_overview(
    image: Image, exact: float, downsample: int, size: tuple[int, int], column: int, row: int
) -> Image:
    step = downsample / exact  # overview pixels a shown pixel; below 1 the overview is enlarged
    left, top = column * TILE_PX * step, row * TILE_PX * step
    x, y = min(int(left), image.shape[1] - 1), min(int(top), image.shape[0] - 1)
    right = min(image.shape[1], max(x + 1, round(left + size[0] * step)))
    bottom = min(image.shape[0], max(y + 1, round(top + size[1] * step)))
    return resample(np.ascontiguousarray(image[y:bottom, x:right]), size)


def encode_jpeg(image: Image) -> bytes:
    """Return an RGB image as JPEG, colour at half resolution as scanners store it."""
    return bytes(
        simplejpeg.encode_jpeg(
            np.ascontiguousarray(image),
            quality=JPEG_QUALITY,
            colorspace="RGB",
            colorsubsampling="420",
        )
    )
