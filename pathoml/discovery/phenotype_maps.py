"""A picture of each slide with its tiles in the colours of their phenotypes:
features/maps/SLIDE.png.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from pathoml.errors import SlideError
from pathoml.slides.pictures import (
    LONGEST_SIDE_PX,
    draw_scale_bar,
    paint_tiles,
    png_bytes,
    round_length,
)
from pathoml.slides.reading import SlideReader, open_slide, read_overview
from pathoml.store.files import atomic_path
from pathoml.types import NOTICE, Assignments, Image

# Okabe & Ito's for the colour-blind, then further ones; the viewer has the same
# (viewer/web/colours.js, a test compares).
COLOURS = (
    (0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (213, 94, 0),
    (240, 228, 66), (90, 60, 160), (60, 60, 60), (160, 120, 60), (120, 200, 60), (200, 40, 90),
)  # fmt: skip
ALPHA = 0.5
ROW_PX, COLUMN_PX, SWATCHES_A_ROW = 20, 110, 6
NOTE = f"Groups of similar tiles that the computer found. {NOTICE}"


def write_phenotype_map(
    target: Path, path: Path | None, assigned: Assignments, *, count: int, level0_mpp: float
) -> bool:
    """Write the map of a slide; return False where its picture cannot be read.

    Args:
        path: of the slide; None where only features are there.
        count: phenotypes of the codebook.
    """
    if path is None:
        return False
    try:
        with open_slide(path) as reader:
            picture = draw_phenotypes(reader, assigned, count, level0_mpp=level0_mpp)
    except SlideError:
        return False
    with atomic_path(target) as temporary:
        temporary.write_bytes(png_bytes(picture))
    return True


def draw_phenotypes(
    reader: SlideReader, assigned: Assignments, count: int, *, level0_mpp: float
) -> Image:
    """Return the slide with its tiles coloured inside their true borders, and a legend with the
    share of each phenotype.
    """
    overview, downsample = read_overview(reader, max(1.0, max(reader.size_l0) / LONGEST_SIDE_PX))
    hues = np.array(COLOURS)[assigned.phenotype % len(COLOURS)]
    picture = paint_tiles(
        overview,
        downsample,
        assigned.xy_l0,
        tile_l0=assigned.tile_l0,
        hues=hues,
        alphas=np.full(len(hues), ALPHA),
    )
    shares = np.bincount(assigned.phenotype, minlength=count) / max(len(assigned.phenotype), 1)
    return _with_legend(picture, assigned.slide_id, shares, downsample * level0_mpp)


def _with_legend(
    picture: Image, slide_id: str, shares: npt.NDArray[np.float64], um_per_px: float
) -> Image:
    width, lines = (
        max(picture.shape[1], SWATCHES_A_ROW * COLUMN_PX + 20),
        -(-len(shares) // SWATCHES_A_ROW),
    )
    page = PillowImage.new("RGB", (width, picture.shape[0] + (lines + 2) * ROW_PX + 22), "white")
    page.paste(PillowImage.fromarray(picture), (0, 0))
    draw, top, font = ImageDraw.Draw(page), picture.shape[0] + 8, ImageFont.load_default(size=12)
    draw.text((10, top), f"{slide_id}   phenotypes, share of its tiles", fill="black", font=font)
    for k, share in enumerate(shares):
        left, y = 10 + (k % SWATCHES_A_ROW) * COLUMN_PX, top + ROW_PX * (1 + k // SWATCHES_A_ROW)
        draw.rectangle([left, y + 2, left + 14, y + 15], fill=COLOURS[k % len(COLOURS)])
        draw.text((left + 20, y), f"{k}   {share:.0%}", fill="black", font=font)
    draw.text((10, top + ROW_PX * (1 + lines)), NOTE, fill="black", font=font)
    draw_scale_bar(
        draw,
        (width - 12, top + ROW_PX * lines + 14),
        round_length(picture.shape[1] * um_per_px / 5),
        um_per_px=um_per_px,
    )
    return np.asarray(page, dtype=np.uint8)
