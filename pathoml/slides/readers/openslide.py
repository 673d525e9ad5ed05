"""Everything that OpenSlide reads: SVS, NDPI, MRXS, SCN, BIF, Philips and tiled TIFF, DICOM WSI."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import openslide
import tifffile
from openslide import lowlevel

from pathoml.errors import SlideError
from pathoml.slides.dicom import series_of
from pathoml.slides.readers._colours import CIELAB, ICCLAB, SAMPLES
from pathoml.slides.readers._levels import true_downsamples
from pathoml.slides.readers._tiff_faults import TIFF_FAULTS
from pathoml.slides.readers._tiff_pages import PicturePages, lacks_tiles, page_mpp, picture_pages
from pathoml.slides.reading import Reader
from pathoml.types import Image

PRIORITY = 10
UNITS_UM = {
    "inch": 25_400.0,
    "centimeter": 10_000.0,
}  # TIFF resolution units, as OpenSlide spells them
UNLIKE = 1.5  # times the shape of level 0
PADDED_SIDE_PX = 256  # levels up to this may be mostly padding
MOST_NAMED = 4  # files in a sentence
RATIO_ERROR = 1e-3  # between a downsample and the sizes' ratio: a format that knows better
PLAIN_TIFF = "generic-tiff"
OPAQUE = 0xFF000000  # alpha is the highest byte of a pixel


def detect_format(path: Path) -> bool:
    """Return whether OpenSlide knows the file, or the DICOM files of the folder."""
    entry = _entry_file(path)
    return entry is not None and openslide.OpenSlide.detect_format(entry) is not None


def open_slide(path: Path) -> OpenSlideReader:
    """Open a slide with OpenSlide.

    Raises:
        SlideError: the format is known but the file is damaged, or its colours are such that
            OpenSlide shows others.
    """
    _refuse_several_series(path)
    entry = _entry_file(path)
    try:
        handle = openslide.OpenSlide(str(entry))
    except openslide.OpenSlideError as error:
        raise SlideError(
            f"Slide {path.name} cannot be opened ({error}). Copy it again, or convert it to a "
            "tiled pyramidal JPEG TIFF."
        ) from error
    try:
        about = _of_tiff(entry, handle) if entry else OfTiff()
        reader = OpenSlideReader(handle, path.name, about=about)
        unlike = _unlike_level(reader.level_sizes, reader.level_downsamples)
    except ValueError as error:
        handle.close()
        raise SlideError(
            f"Slide {path.name} is not read: {error}. Export it as one picture in RGB of 8 bits, "
            "such as a tiled pyramidal JPEG TIFF."
        ) from error
    if unlike is not None:
        sizes = reader.level_sizes
        reader.close()
        raise SlideError(
            f"Slide {path.name} is damaged: its level {unlike} has {sizes[unlike]} pixels, which "
            f"is not a smaller picture of {sizes[0]}. Copy it again, or convert it to a tiled "
            "pyramidal JPEG TIFF."
        )
    return reader


@dataclass(frozen=True, kw_only=True)
class OfTiff:
    """What the pages of a TIFF say that OpenSlide does not."""

    mpp: tuple[float, float] | None = None  # of level 0's own page, where the format is plain TIFF
    coarser: Mapping[tuple[int, int], tuple[float, float]] = field(
        default_factory=dict
    )  # of a level's size: by how much its page says that its pixels are larger than level 0's
    notes: tuple[str, ...] = ()


def _of_tiff(path: Path, handle: openslide.OpenSlide) -> OfTiff:
    """Raise ValueError where OpenSlide shows a plain TIFF in other colours than it has."""
    vendor, size = handle.properties.get("openslide.vendor"), handle.dimensions
    try:
        with tifffile.TiffFile(path) as file:
            if vendor != PLAIN_TIFF:
                return OfTiff(notes=_notes_of_scanner(file, size))
            pages = picture_pages(file)
            _refuse_misread(pages, size)
            if lacks_tiles(pages.first):
                raise ValueError("it lists fewer tiles than its size needs, and is damaged")
            whole = page_mpp(pages.first)
            coarser = {
                (page.imagewidth, page.imagelength): (own[0] / whole[0], own[1] / whole[1])
                for page in file.pages
                if isinstance(page, tifffile.TiffPage) and whole and (own := page_mpp(page))
            }
            return OfTiff(mpp=whole, coarser=coarser, notes=pages.notes)
    except tifffile.TiffFileError:
        return OfTiff()  # DICOM, MRXS: no TIFF
    except ValueError:
        if vendor == PLAIN_TIFF:
            raise
        return OfTiff()
    except TIFF_FAULTS:
        return OfTiff()


def _notes_of_scanner(file: tifffile.TiffFile, size: tuple[int, int]) -> tuple[str, ...]:
    alike = sum(
        (page.imagewidth, page.imagelength) == size
        for page in file.pages
        if isinstance(page, tifffile.TiffPage) and not page.is_reduced
    )
    return (
        (
            f"its file holds {alike} pictures of {size[0]} x {size[1]} pixels (focal planes or"
            " scenes); the one that OpenSlide shows is read",
        )
        if alike > 1
        else ()
    )


def _refuse_misread(found: PicturePages, size: tuple[int, int]) -> None:
    page = found.first
    if found.are_channels:
        raise ValueError("its red, green and blue are pages of their own")
    if (page.imagewidth, page.imagelength) != size:
        raise ValueError(
            f"its largest page, {page.imagewidth} x {page.imagelength} pixels, is not the first,"
            f" {size[0]} x {size[1]}, which OpenSlide shows"
        )
    if page.photometric in (CIELAB, ICCLAB):
        raise ValueError("its colours are CIELAB")
    if page.bitspersample != 8:
        raise ValueError(f"it has {page.bitspersample} bits a sample")
    if page.samplesperpixel - SAMPLES.get(int(page.photometric), 0) > 1:
        raise ValueError(f"it has {page.samplesperpixel} samples a pixel")


def _unlike_level(sizes: Sequence[tuple[int, int]], downsamples: Sequence[float]) -> int | None:
    """Return the first level whose shape is not that of level 0, far beyond what padding to whole
    tiles does to large levels.

    >>> _unlike_level(((60000, 2048), (512, 512)), (1.0, 60.0))
    1
    >>> _unlike_level(((4000, 2048), (1024, 512), (256, 256)), (1.0, 4.0, 12.0)) is None
    True
    """
    for level, ((width, height), downsample) in enumerate(zip(sizes, downsamples)):
        by_x, by_y = sizes[0][0] / width, sizes[0][1] / height
        is_unlike = max(by_x, by_y) > UNLIKE * min(by_x, by_y)
        if is_unlike and min(width, height) > PADDED_SIDE_PX and downsample < max(by_x, by_y) * 0.9:
            return level
    return None


def _entry_file(path: Path) -> Path | None:
    """Return the file that opens a slide: of a folder, the largest level of its DICOM series."""
    if path.is_file():
        return path
    series = _series_in(path)
    if series:
        return max((files[0] for files in series.values()), key=lambda p: p.stat().st_size)
    damaged = [p for p in path.glob("*.dcm") if p.is_file()]
    return max(damaged, key=lambda p: p.stat().st_size) if damaged else None


def _series_in(path: Path) -> dict[str, list[Path]]:
    return series_of(p for p in path.iterdir() if p.is_file()) if path.is_dir() else {}


def _refuse_several_series(path: Path) -> None:
    series = _series_in(path)
    if len(series) > 1:
        first = ", ".join(sorted(files[0].name for files in series.values())[:MOST_NAMED])
        raise SlideError(
            f"Slide {path.name} is a folder with {len(series)} DICOM series, each a slide. Give"
            f" each a row of slides.csv, whose path is one of its files ({first})."
        )


def on_white(bgra: Image) -> Image:
    """Return (H, W, 3) RGB on white glass of (H, W, 4) BGRA whose colours are multiplied by alpha:
    transparent is glass, not black.

    >>> on_white(np.array([[[8, 8, 8, 51]]], np.uint8)).tolist()
    [[[212, 212, 212]]]
    """
    rgb = np.asarray(cv2.cvtColor(bgra, cv2.COLOR_BGRA2RGB), np.uint8)
    is_opaque = bgra.view("<u4").min(initial=OPAQUE) >= OPAQUE
    return rgb if is_opaque else rgb + (255 - bgra[:, :, 3:])


class OpenSlideReader(Reader):
    """A slide that OpenSlide has opened."""

    def __init__(
        self, handle: openslide.OpenSlide, name: str, *, about: OfTiff | None = None
    ) -> None:
        self._handle = handle
        self._name = name
        self._about = about or OfTiff()
        self.notes = self._about.notes
        self._properties = dict(
            handle.properties
        )  # read once: after its first fault a handle answers nothing any more
        sizes = [(w, h) for w, h in handle.level_dimensions]
        true = self._true_downsamples(sizes)
        self._levels = tuple(
            level for level, of in enumerate(true) if of is not None
        )  # OpenSlide's number of each
        self.level_sizes: tuple[tuple[int, int], ...] = tuple(
            sizes[level] for level in self._levels
        )  # (width, height) of each level
        self.level_downsamples: tuple[float, ...] = tuple(of for of in true if of is not None)
        self.size_l0: tuple[int, int] = self.level_sizes[0]

    def _true_downsamples(self, sizes: list[tuple[int, int]]) -> tuple[float | None, ...]:
        """Return each level's downsample: OpenSlide's, where it is more than the sizes' ratio."""
        self._openslides = openslides = [float(of) for of in self._handle.level_downsamples]
        tiles = [
            tuple(
                int(self._properties.get(f"openslide.level[{level}].tile-{side}", 0))
                for side in ("width", "height")
            )
            for level in range(len(sizes))
        ]
        true = true_downsamples(
            sizes,
            tiles=[(w, h) if w and h else None for w, h in tiles],
            stated=[self._about.coarser.get(size) for size in sizes],
        )
        ratios = [(sizes[0][0] / w + sizes[0][1] / h) / 2 for w, h in sizes]
        return tuple(
            own if abs(own / ratio - 1) > RATIO_ERROR or of == ratio else of
            for own, ratio, of in zip(openslides, ratios, true)
        )

    @property
    def stated_mpp(self) -> tuple[float, float] | None:
        if self._about.mpp is not None:
            return self._about.mpp
        properties = self._properties
        try:
            return (float(properties["openslide.mpp-x"]), float(properties["openslide.mpp-y"]))
        except (KeyError, ValueError):
            pass
        unit_um = UNITS_UM.get(properties.get("tiff.ResolutionUnit", ""))
        try:
            x, y = (float(properties[f"tiff.{axis}Resolution"]) for axis in "XY")  # pixels a unit
        except (KeyError, ValueError):
            return None
        return (unit_um / x, unit_um / y) if unit_um and x > 0 and y > 0 else None

    @property
    def objective(self) -> float | None:
        """Magnification of the objective, if the slide names it."""
        try:
            return float(self._properties["openslide.objective-power"])
        except (KeyError, ValueError):
            return None

    @property
    def bounds_l0(self) -> tuple[int, int]:  # type: ignore[override] # read when asked
        """Top left corner of the scanned area."""
        x, y = (int(self._properties.get(f"openslide.bounds-{axis}", 0)) for axis in "xy")
        return x, y

    @property
    def icc_profile(self) -> bytes | None:  # type: ignore[override]
        """The ICC profile of the slide's pixels, if it carries one."""
        try:
            profile = lowlevel.read_icc_profile(self._handle._osr)
        except openslide.OpenSlideError:
            return None
        return bytes(profile) if profile else None

    @property
    def vendor(self) -> str:
        return str(self._properties.get("openslide.vendor", "unknown"))

    def read_region(self, xy_l0: tuple[int, int], level: int, size_px: tuple[int, int]) -> Image:
        try:
            bgra = self._premultiplied(xy_l0, level, size_px)  # (H, W, 4)
        except openslide.OpenSlideError as error:
            raise self._unreadable(xy_l0, error) from error
        return on_white(bgra)

    def read_shrunk(
        self,
        xy_l0: tuple[int, int],
        level: int,
        size_px: tuple[int, int],
        *,
        shrunk_px: tuple[int, int],
    ) -> Image:
        """Return `read_region` averaged over areas to (width, height) `shrunk_px`: colours are
        converted after it, on fewer pixels.
        """
        try:
            bgra = self._premultiplied(xy_l0, level, size_px)
        except openslide.OpenSlideError as error:
            raise self._unreadable(xy_l0, error) from error
        return on_white(
            np.asarray(cv2.resize(bgra, shrunk_px, interpolation=cv2.INTER_AREA), np.uint8)
        )

    def _unreadable(self, xy_l0: tuple[int, int], error: openslide.OpenSlideError) -> SlideError:
        return SlideError(
            f"Slide {self._name} cannot be read at {xy_l0} ({error}). Copy it again from the"
            " scanner's archive."
        )

    def _premultiplied(self, xy_l0: tuple[int, int], level: int, size_px: tuple[int, int]) -> Image:
        """Return (H, W, 4) BGRA, colours multiplied by alpha: what OpenSlide's library gives,
        without the copies of its Python API.
        """
        width, height = size_px
        pixels = np.empty((height, width), np.uint32)
        address = pixels.ctypes.data_as(ctypes.POINTER(ctypes.c_uint32))
        own = self._levels[level]
        x, y = xy_l0
        scale = self._openslides[own] / self.level_downsamples[level]
        if scale != 1:  # OpenSlide finds the level's pixel by its own downsample
            x, y = round(x * scale), round(y * scale)
        lowlevel._read_region(self._handle._osr, address, x, y, own, width, height)
        return pixels.astype("<u4", copy=False).view(np.uint8).reshape(height, width, 4)

    def close(self) -> None:
        self._handle.close()
