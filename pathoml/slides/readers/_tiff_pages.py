"""Which page of a TIFF is the picture, at which scale, and what else the file holds that must be
said: channels as pages, stacks of focal planes, several scenes.

Sources: TIFF 6.0; the OME data model's Pixels and Channel (docs.openmicroscopy.org).
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass

import tifffile

from pathoml.slides.readers._colours import BLACK_IS_ZERO, SAMPLES, WHITE_IS_ZERO

UNITS_UM = {2: 25_400.0, 3: 10_000.0}  # TIFF resolution units: inch, centimetre
MOST_PAGES = 4096  # of a file of pictures; more are a film, or damage
COLOUR_WORDS = {"r": 0, "red": 0, "g": 1, "green": 1, "b": 2, "blue": 2}
# share of the picture's pixels from which on a page of another shape is a scene, no thumbnail
SCENE_SHARE = 0.25
SAME_SHAPE = 1.2  # ratio of the sides' ratios up to which a smaller page is a level


@dataclass(frozen=True, kw_only=True)
class PicturePages:
    """The picture of a TIFF."""

    pages: tuple[tifffile.TiffPage, ...]  # one, or those of red, green and blue
    notes: tuple[str, ...] = ()  # what else the file holds, for people

    @property
    def first(self) -> tifffile.TiffPage:
        return self.pages[0]

    @property
    def are_channels(self) -> bool:
        return len(self.pages) > 1


def picture_pages(file: tifffile.TiffFile) -> PicturePages:
    """Return the largest picture of a TIFF.

    Raises:
        ValueError: its channels lie in pages of their own and are not red, green and blue.
    """
    pages = _pages_of(file)
    largest = max(pages, key=lambda page: page.imagewidth * page.imagelength)
    alike = [page for page in pages if _is_alike(page, largest)]
    channels, depth = ome_channels(file)
    is_grey = largest.photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO)
    if is_grey and largest.samplesperpixel == 1 and len(alike) > 1:
        return PicturePages(pages=_joined(alike, channels, depth))
    if is_grey and largest.samplesperpixel > 2 and _order(channels) != [0, 1, 2]:
        raise ValueError(_channels_sentence(largest.samplesperpixel, channels))
    notes = []
    if len(alike) > 1:
        notes.append(
            f"its file holds {len(alike)} pictures of {largest.imagewidth} x {largest.imagelength}"
            " pixels (focal planes, times or scenes); the first is read"
        )
    scenes = [page for page in pages if _is_other_scene(page, largest)]
    if scenes:
        notes.append(
            f"its file holds {len(scenes) + 1} pictures of different shapes (scenes); the largest,"
            f" {largest.imagewidth} x {largest.imagelength} pixels, is read"
        )
    return PicturePages(pages=(largest,), notes=tuple(notes))


def page_mpp(page: tifffile.TiffPage) -> tuple[float, float] | None:
    """Return (x, y) micrometres a pixel by the page's own resolution tags."""
    unit_um = UNITS_UM.get(int(page.resolutionunit or 0))
    fractions = [page.tags.valueof(name) for name in ("XResolution", "YResolution")]
    if not unit_um or not all(isinstance(one, tuple) and all(one[:2]) for one in fractions):
        return None  # none, or one of nothing
    x, y = (one[0] / one[1] for one in fractions)
    return unit_um / x, unit_um / y


def lacks_tiles(page: tifffile.TiffPage) -> bool:
    """Return whether a page lists fewer tiles than its size needs: a wrong size would show tiles
    in places that are not theirs.
    """
    if not page.is_tiled:
        return False
    across, down = -(-page.imagewidth // page.tilewidth), -(-page.imagelength // page.tilelength)
    planes = page.samplesperpixel if page.planarconfig == 2 else 1
    return bool(len(page.dataoffsets) < across * down * planes)


def ome_channels(file: tifffile.TiffFile) -> tuple[list[str], int]:
    """Return the channels' names, and how many planes (Z times T) each has, of the first image that
    OME-XML describes; none where nothing does.
    """
    text = file.ome_metadata
    if not text or "<!DOCTYPE" in text or "<!ENTITY" in text:
        return [], 1
    try:
        root = ET.fromstring(text)
    except ET.ParseError:
        return [], 1
    pixels = root.find(".//{*}Pixels")
    if pixels is None:
        return [], 1
    depth = _count(pixels.get("SizeZ")) * _count(pixels.get("SizeT"))
    return [channel.get("Name") or "" for channel in pixels.findall("{*}Channel")], depth


def _count(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 1


def _pages_of(file: tifffile.TiffFile) -> list[tifffile.TiffPage]:
    """Return the pages up to the end of their chain, or to where it runs back into itself."""
    found: list[tifffile.TiffPage] = []
    try:
        for number in range(MOST_PAGES):
            found.append(_whole(file.pages[number]))
    except IndexError:
        if not found:
            raise
    return found


def _whole(page: tifffile.TiffPage | tifffile.TiffFrame) -> tifffile.TiffPage:
    return page if isinstance(page, tifffile.TiffPage) else page.aspage()


def _is_alike(page: tifffile.TiffPage, largest: tifffile.TiffPage) -> bool:
    return bool(
        (page.imagewidth, page.imagelength, page.samplesperpixel, page.bitspersample)
        == (
            largest.imagewidth,
            largest.imagelength,
            largest.samplesperpixel,
            largest.bitspersample,
        )
        and not page.is_mask
    )


def _is_other_scene(page: tifffile.TiffPage, largest: tifffile.TiffPage) -> bool:
    ratio = (page.imagewidth * largest.imagelength) / max(1, page.imagelength * largest.imagewidth)
    share = (page.imagewidth * page.imagelength) / (largest.imagewidth * largest.imagelength)
    return bool(
        not page.is_reduced
        and not page.is_mask
        and page.photometric in SAMPLES
        and share >= SCENE_SHARE
        and max(ratio, 1 / max(ratio, 1e-9)) > SAME_SHAPE
    )


def _joined(
    alike: Sequence[tifffile.TiffPage], names: Sequence[str], depth: int
) -> tuple[tifffile.TiffPage, ...]:
    order = _order(names)
    if len(alike) != 3 or depth != 1 or order is None:
        raise ValueError(_channels_sentence(len(alike), names))
    return tuple(alike[order.index(colour)] for colour in range(3))


def _order(names: Sequence[str]) -> list[int] | None:
    """Return which of red, green and blue each channel is; None if they are something else.

    >>> _order(["B", "G", "R"]), _order(["DAPI", "FITC", "TRITC"])
    ([2, 1, 0], None)
    """
    order = [COLOUR_WORDS.get(name.strip().lower(), -1) for name in names]
    return order if sorted(order) == [0, 1, 2] else None


def _channels_sentence(count: int, names: Sequence[str]) -> str:
    said = f" ({', '.join(name or 'unnamed' for name in names[:8])})" if names else ""
    return (
        f"it holds {count} grey channels{said} instead of one picture in red, green and blue, as"
        " fluorescence and stacks do"
    )
