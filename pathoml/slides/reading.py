"""Slide readers: one file a format, each with `detect_format(path)` and `open_slide(path)`; the
highest PRIORITY that detects wins.

A reader gives pixels and says what the slide says of its size and scale. It never touches
associated images (label, macro).
"""

from __future__ import annotations

import math
import sys
from inspect import getattr_static
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

import cv2
import numpy as np

from pathoml.errors import ConfigError, SlideError
from pathoml.plugins import plugins_with
from pathoml.slides.missing import is_there, missing_sentence
from pathoml.types import Image

PLAUSIBLE_MPP = (
    0.05,
    20.0,
)  # micrometres per pixel; a 100x objective gives about 0.1, a macro lens about 15
DEFAULT_DPI = (1, 72, 96, 100, 120, 150, 200, 300, 350, 400, 600, 1200)  # that programs write
ANISOTROPY = 1.02  # pixels further from square than this change the shape of nuclei
STRIP_ROWS = 2048  # rows read at once for an overview, so that memory stays flat

READER = (
    "size_l0",
    "stated_mpp",
    "level_downsamples",
    "vendor",
    "bounds_l0",
    "icc_profile",
    "tile_size_px",
    "raw_jpeg_tile",
    "read_region",
    "close",
    "__enter__",
    "__exit__",
)  # what every reader has


class SlideReader(Protocol):
    """An open slide. `read_region` returns RGB on white glass; coordinates are level-0 pixels."""

    @property
    def size_l0(self) -> tuple[int, int]:
        """(width, height) of level 0."""
        ...

    @property
    def stated_mpp(self) -> tuple[float, float] | None:
        """(x, y) micrometres per pixel as the slide states them, unchecked; None if it does not
        say.
        """
        ...

    @property
    def level_downsamples(self) -> tuple[float, ...]:
        """Level-0 pixels per pixel of each level, ascending, the first is 1."""
        ...

    @property
    def vendor(self) -> str:
        """The container's name, for example "aperio"."""
        ...

    @property
    def bounds_l0(self) -> tuple[int, int]:
        """Top left corner of the scanned area; QuPath counts from it (MRXS), we and OpenSlide from
        (0, 0).
        """
        ...

    @property
    def icc_profile(self) -> bytes | None:
        """The ICC profile of the slide's pixels, if it carries one."""
        ...

    def tile_size_px(self, level: int) -> tuple[int, int] | None:
        """Return (width, height) of the compressed tiles of a level; None if `raw_jpeg_tile` has
        none there.
        """
        ...

    def raw_jpeg_tile(self, level: int, column: int, row: int) -> bytes | None:
        """Return a compressed tile as a JPEG file, else untouched; None where there is none."""
        ...

    def read_region(self, xy_l0: tuple[int, int], level: int, size_px: tuple[int, int]) -> Image:
        """Return (H, W, 3) RGB of `size_px` pixels of `level`, whose top left corner is at `xy_l0`;
        white outside the slide.

        Raises:
            SlideError: the pixels cannot be decoded. The reader may be dead afterwards: open the
                slide again.
        """
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Reader:
    """What most readers have in common, to inherit from: no scanned area, colour profile or
    compressed tiles of its own, and a `with` that closes it.
    """

    bounds_l0: tuple[int, int] = (0, 0)
    icc_profile: bytes | None = None
    notes: tuple[str, ...] = ()  # what people should know of the file, each a sentence's end

    def tile_size_px(self, level: int) -> tuple[int, int] | None:  # noqa: ARG002
        """Return None: no level is stored as JPEG tiles."""
        return None

    def raw_jpeg_tile(self, level: int, column: int, row: int) -> bytes | None:  # noqa: ARG002
        """Return None: no tile is stored as JPEG."""
        return None

    def close(self) -> None:
        """Do nothing: nothing is open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@runtime_checkable
class ScaledReader(Protocol):
    """A reader whose decoder can shrink by 2, 4 or 8 while it decodes."""

    def read_scaled(
        self, xy_l0: tuple[int, int], level: int, size_px: tuple[int, int], *, factor: int
    ) -> Image: ...


@runtime_checkable
class ShrinkingReader(Protocol):
    """A reader with a shorter way to `resample(read_region(...))`, of the same pixels."""

    def read_shrunk(
        self,
        xy_l0: tuple[int, int],
        level: int,
        size_px: tuple[int, int],
        *,
        shrunk_px: tuple[int, int],
    ) -> Image: ...


def open_slide(path: Path) -> SlideReader:
    """Open a slide with the first reader that knows its format.

    Raises:
        SlideError: missing, empty, or of no known format.
        ConfigError: its reader lacks something that readers have.
    """
    path = Path(path)
    if not is_there(path):
        raise SlideError(missing_sentence(path, path.name))
    if path.is_file() and path.stat().st_size == 0:
        raise SlideError(
            f"Slide {path.name} is an empty file. Copy it again from the scanner's archive."
        )
    if not (path.is_file() or path.is_dir()):
        raise SlideError(f"Slide {path.name} is neither a file nor a folder.")
    modules = [module for _, module in plugins_with("pathoml.slides.readers", "open_slide")]
    refusals = []
    for module in sorted(modules, key=lambda m: -getattr(m, "PRIORITY", 0)):
        if module.detect_format(path):
            try:
                reader: SlideReader = module.open_slide(path)
            except SlideError as error:  # another reader may know what this one does not
                refusals.append(error)
            else:
                _refuse_half_a_reader(reader, module.__name__)
                return reader
    if refusals:
        raise refusals[0]
    raise SlideError(
        f"Slide {path.name} is of no format that OpenSlide or the plain-image reader knows "
        "(damaged, or an unsupported compression). Convert it to a tiled pyramidal JPEG TIFF, or "
        f"leave it out of slides.csv.{_reader_in_the_old_place()}"
    )


def _reader_in_the_old_place() -> str:
    """Return a sentence for a reader that lies beside this file, where nobody looks for readers."""
    places = sys.modules[__name__.rpartition(".")[0]].__path__
    beside = [file for place in places for file in Path(place).glob("*.py")]
    lost = [f.name for f in beside if "def detect_format(" in f.read_text(encoding="utf-8")]
    lost = [name for name in lost if name != Path(__file__).name]
    if not lost:
        return ""
    return f" pathoml/slides/{lost[0]} is not looked at: readers lie in pathoml/slides/readers/."


def _refuse_half_a_reader(reader: SlideReader, module: str) -> None:
    # looked at, not asked: a handle whose colour profile is damaged answers nothing after it
    missing = [name for name in READER if getattr_static(reader, name, READER) is READER]
    if missing:
        raise ConfigError(
            f"{type(reader).__name__} of {module} has no {', '.join(missing)}. Let it inherit"
            " pathoml.slides.reading.Reader, which has what most readers answer alike"
            " (docs/extend.md)."
        )


class StatesScale(Protocol):
    """What says how large its pixels are: an open slide, or what was noted of one."""

    @property
    def stated_mpp(self) -> tuple[float, float] | None: ...


def slide_mpp(
    reader: StatesScale, name: str, *, row_mpp: float | None, study_mpp: float | None
) -> tuple[float, str]:
    """Return micrometres per pixel of level 0 and where it was found: slides.csv, then the slide,
    then study.yaml.

    Raises:
        SlideError: no source says it, or the value is implausible, or the pixels are not square.
    """
    where = "Add a column 'mpp' to slides.csv, or set slides.mpp in study.yaml."
    if row_mpp is not None:
        return _plausible(row_mpp, f"Slide {name}: slides.csv says"), "slides.csv"
    stated = reader.stated_mpp
    if (
        stated is not None
        and study_mpp is not None
        and not all(PLAUSIBLE_MPP[0] <= v <= PLAUSIBLE_MPP[1] for v in stated)
    ):
        stated = None
    if stated is None:
        if study_mpp is None:
            raise SlideError(f"Slide {name} has no micrometres per pixel. {where}")
        return study_mpp, "study.yaml"
    x, y = (_plausible(v, f"Slide {name} says") for v in stated)
    if max(x, y) / min(x, y) > ANISOTROPY:
        raise SlideError(
            f"Slide {name} has pixels of {x:g} x {y:g} micrometres, which are not square. Resample"
            " it first."
        )
    return math.sqrt(x * y), "slide"


def _plausible(mpp: float, who: str) -> float:
    if not (math.isfinite(mpp) and PLAUSIBLE_MPP[0] <= mpp <= PLAUSIBLE_MPP[1]):
        raise SlideError(
            f"{who} {mpp:g} micrometres per pixel{_dots_an_inch(mpp)}; plausible are"
            f" {PLAUSIBLE_MPP[0]} to {PLAUSIBLE_MPP[1]:g}. State the right value in a column 'mpp'"
            " of slides.csv."
        )
    return mpp


def _dots_an_inch(mpp: float) -> str:
    """Return where an impossible scale comes from, if it is one that programs write unasked.

    >>> _dots_an_inch(25400 / 72), _dots_an_inch(33.0)
    (', which is 72 dots an inch, a default of screens and printers and no scale', '')
    """
    dots = 25_400 / mpp if math.isfinite(mpp) and mpp > 0 else 0.0
    near = next((d for d in DEFAULT_DPI if abs(dots / d - 1) < 0.005), 0)
    if not near:
        return ""
    return f", which is {near} dots an inch, a default of screens and printers and no scale"


def best_level(level_downsamples: tuple[float, ...], downsample: float) -> int:
    """Return the coarsest level that is not coarser than `downsample`, within 1 %.

    >>> best_level((1.0, 4.0, 16.0), 3.98), best_level((1.0, 4.0, 16.0), 2.0)
    (1, 0)
    """
    fine = [i for i, d in enumerate(level_downsamples) if d <= downsample * 1.01]
    return max(fine, key=lambda i: level_downsamples[i]) if fine else 0


def read_tile(
    reader: SlideReader,
    xy_l0: tuple[int, int],
    tile_l0: int,
    *,
    tile_px: int,
    scaled_decoding: bool = False,
) -> Image:
    """Return (tile_px, tile_px, 3) RGB of a square of `tile_l0` level-0 pixels, by area resampling
    of the best level.

    Args:
        scaled_decoding: let the JPEG decoder do what it can of the shrinking, where the reader
            offers it: faster, slightly other pixels.
    """
    level = best_level(reader.level_downsamples, tile_l0 / tile_px)
    side_px = max(1, round(tile_l0 / reader.level_downsamples[level]))
    if scaled_decoding and isinstance(reader, ScaledReader):
        factor = scaled_factor(side_px / tile_px)
        if factor > 1:
            side_px = max(1, round(side_px / factor))
            return resample(
                reader.read_scaled(xy_l0, level, (side_px, side_px), factor=factor),
                (tile_px, tile_px),
            )
    if side_px > tile_px and isinstance(reader, ShrinkingReader):
        return reader.read_shrunk(xy_l0, level, (side_px, side_px), shrunk_px=(tile_px, tile_px))
    return resample(reader.read_region(xy_l0, level, (side_px, side_px)), (tile_px, tile_px))


def scaled_factor(shrink: float) -> int:
    """Return by how much a JPEG decoder may shrink: the largest of 1, 2, 4, 8 that is not over
    `shrink`, within 1 %.

    >>> scaled_factor(1.99), scaled_factor(3.5), scaled_factor(30)
    (2, 2, 8)
    """
    return max(f for f in (1, 2, 4, 8) if f == 1 or f <= shrink * 1.01)


def resample(image: Image, size_px: tuple[int, int]) -> Image:
    """Return the image at another size (width, height): area averaging when it shrinks, bilinear
    when it grows.
    """
    if (image.shape[1], image.shape[0]) == size_px:
        return image
    shrinks = size_px[0] <= image.shape[1] and size_px[1] <= image.shape[0]
    return np.asarray(
        cv2.resize(image, size_px, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR),
        dtype=np.uint8,
    )


def read_overview(reader: SlideReader, downsample: float) -> tuple[Image, float]:
    """Return the whole slide at about `downsample` level-0 pixels a pixel, and the exact figure;
    read in strips.

    The image covers the slide from (0, 0); what does not fill a last pixel is left out. A reader
    that can shrinks while it decodes, so that a slide without a pyramid costs less than decoding it
    once. What cannot be decoded is white.
    """
    level = best_level(reader.level_downsamples, downsample)
    step = max(
        1, round(downsample / reader.level_downsamples[level])
    )  # level pixels a pixel of the overview
    factor = scaled_factor(step) if isinstance(reader, ScaledReader) else 1
    step = max(1, step // factor) * factor
    exact = step * reader.level_downsamples[level]
    width, height = (max(1, int(side / exact)) for side in reader.size_l0)
    rows_a_strip = max(1, STRIP_ROWS // step)
    overview = np.full((height, width, 3), 255, np.uint8)
    for row in range(0, height, rows_a_strip):
        rows = min(rows_a_strip, height - row)
        corner, size = (0, round(row * exact)), (width * step // factor, rows * step // factor)
        if isinstance(reader, ScaledReader) and factor > 1:
            region = reader.read_scaled(corner, level, size, factor=factor)
        else:
            region = reader.read_region(corner, level, size)
        overview[row : row + rows] = resample(region, (width, rows))
    return overview, exact
