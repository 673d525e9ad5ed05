"""Contact sheets: the tiles that a phenotype is most like, from many patients, as one picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from pathoml.errors import SlideError
from pathoml.slides.reading import open_slide, read_tile
from pathoml.types import Image

Tile = TypeVar("Tile")
THUMBNAIL_PX = 144
GAP_PX = 6
COLUMNS = 8
HEADER_PX = 26
TILES_A_SHEET = 24
TILES_A_PATIENT = 2


@dataclass(frozen=True, kw_only=True)
class TileRef:
    """One tile of one slide."""

    slide_id: str
    patient_id: str
    xy_l0: tuple[int, int]
    tile_l0: int
    value: float  # what it was chosen by


def best_tiles(
    candidates: Sequence[TileRef], count: int = TILES_A_SHEET, a_patient: int = TILES_A_PATIENT
) -> list[TileRef]:
    """Return the tiles with the highest values, at most `a_patient` of one patient."""
    ordered = sorted(candidates, key=lambda t: (-t.value, t.slide_id, t.xy_l0))
    return few_of_each(ordered, lambda t: t.patient_id, most=a_patient, count=count)


def few_of_each(
    ordered: Iterable[Tile], patient_of: Callable[[Tile], str], *, most: int, count: int
) -> list[Tile]:
    """Return the first `count` tiles in their order, at most `most` of one patient.

    >>> few_of_each(["a1", "a2", "b1", "a3", "b2"], lambda tile: tile[0], most=1, count=9)
    ['a1', 'b1']
    """
    taken: Counter[str] = Counter()
    chosen: list[Tile] = []
    for tile in ordered:
        if len(chosen) == count:
            break
        if taken[patient_of(tile)] < most:
            taken[patient_of(tile)] += 1
            chosen.append(tile)
    return chosen


def read_tiles_of(tiles: Sequence[TileRef], paths: Mapping[str, Path | None]) -> list[Image | None]:
    """Return the pixels of tiles, each slide opened once; None where the slide cannot be read."""
    pictures: list[Image | None] = [None] * len(tiles)
    for slide_id in dict.fromkeys(t.slide_id for t in tiles):
        path = paths.get(slide_id)
        if path is None:
            continue
        try:
            with open_slide(path) as reader:
                for i, tile in enumerate(tiles):
                    if tile.slide_id == slide_id:
                        pictures[i] = read_tile(
                            reader, tile.xy_l0, tile.tile_l0, tile_px=THUMBNAIL_PX
                        )
        except SlideError:  # the map of this slide says so; a sheet does without it
            continue
    return pictures


def draw_sheet(rows: Sequence[tuple[str, Sequence[Image | None]]]) -> Image:
    """Return groups of tiles below each other, each with a heading."""
    pitch = THUMBNAIL_PX + GAP_PX
    heights = [HEADER_PX + pitch * max(1, -(-len(tiles) // COLUMNS)) for _, tiles in rows]
    page = PillowImage.new("RGB", (COLUMNS * pitch + GAP_PX, sum(heights) + GAP_PX), "white")
    draw, font, top = ImageDraw.Draw(page), ImageFont.load_default(size=15), 0
    for (heading, tiles), height in zip(rows, heights):
        draw.text((GAP_PX, top + 5), heading, fill="black", font=font)
        for i, picture in enumerate(tiles):
            left, y = GAP_PX + (i % COLUMNS) * pitch, top + HEADER_PX + (i // COLUMNS) * pitch
            if picture is not None:
                page.paste(PillowImage.fromarray(picture), (left, y))
        top += height
    sheet: npt.NDArray[np.uint8] = np.asarray(page, dtype=np.uint8)
    return sheet
