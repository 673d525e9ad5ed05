"""Everything that OpenSlide reads: SVS, NDPI, MRXS, SCN, BIF, Philips and tiled TIFF, DICOM WSI."""

from __future__ import annotations

import ctypes
from pathlib import Path

import cv2
import numpy as np
import openslide
from openslide import lowlevel

from pathoml.errors import SlideError
from pathoml.slides.dicom import series_of
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
OPAQUE = 0xFF000000  # alpha is the highest byte of a pixel


def detect_format(path: Path) -> bool:
    """Return whether OpenSlide knows the file, or the DICOM files of the folder."""
    entry = _entry_file(path)
    return entry is not None and openslide.OpenSlide.detect_format(entry) is not None


def open_slide(path: Path) -> OpenSlideReader:
    """Open a slide with OpenSlide.

    Raises:
        SlideError: the format is known but the file is damaged.
    """
    _refuse_several_series(path)
    entry = _entry_file(path)
    try:
        reader = OpenSlideReader(openslide.OpenSlide(str(entry)), path.name)
    except openslide.OpenSlideError as error:
        raise SlideError(
            f"Slide {path.name} cannot be opened ({error}). Copy it again, or convert it to a "
            "tiled pyramidal JPEG TIFF."
        ) from error
    unlike = _unlike_level(reader.level_sizes)
    if unlike is not None:
        sizes = reader.level_sizes
        reader.close()
        raise SlideError(
            f"Slide {path.name} is damaged: its level {unlike} has {sizes[unlike]} pixels, which "
            f"is not a smaller picture of {sizes[0]}. Copy it again, or convert it to a tiled "
            "pyramidal JPEG TIFF."
        )
    return reader


def _unlike_level(sizes: tuple[tuple[int, int], ...]) -> int | None:
    """Return the first level whose shape is not that of level 0, far beyond what padding to whole
    tiles does to large levels.

    >>> _unlike_level(((60000, 2048), (512, 512)))
    1
    >>> _unlike_level(((4000, 2048), (1024, 512), (256, 256))) is None
    True
    """
    for level, (width, height) in enumerate(sizes):
        by_x, by_y = sizes[0][0] / width, sizes[0][1] / height
        if min(width, height) > PADDED_SIDE_PX and max(by_x, by_y) > UNLIKE * min(by_x, by_y):
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

    def __init__(self, handle: openslide.OpenSlide, name: str) -> None:
        self._handle = handle
        self._name = name
        self._properties = dict(
            handle.properties
        )  # read once: after its first fault a handle answers nothing any more
        self.level_sizes: tuple[tuple[int, int], ...] = tuple(
            (w, h) for w, h in handle.level_dimensions
        )  # (width, height) of each level
        self.level_downsamples: tuple[float, ...] = tuple(
            float(d) for d in handle.level_downsamples
        )
        self.size_l0: tuple[int, int] = self.level_sizes[0]

    @property
    def stated_mpp(self) -> tuple[float, float] | None:
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
        lowlevel._read_region(self._handle._osr, address, *xy_l0, level, width, height)
        return pixels.astype("<u4", copy=False).view(np.uint8).reshape(height, width, 4)

    def close(self) -> None:
        self._handle.close()
