"""Draw a map on its slide: true tile borders, no blur, one scale for the whole cohort, and a legend
that says what it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from pathoml.explanation.marks import UNFAITHFUL
from pathoml.slides.pictures import (
    LONGEST_SIDE_PX,
    LOWERS,
    RAISES,
    STRONGEST_ALPHA,
    draw_scale_bar,
    paint_tiles,
    round_length,
)
from pathoml.slides.reading import SlideReader, read_overview, read_tile
from pathoml.types import NOTICE, AttentionMap, Floats, Image

FOOTER_PX = 102
TILES_SHOWN = 6
THUMBNAIL_PX = 112
SCALE_PERCENTILE = 99.0
UNFAITHFUL_HUE = 90


@dataclass(frozen=True, kw_only=True)
class MapScale:
    """The cohort's scale: a tile's contribution times the tiles in its bag, which is comparable
    between patients.
    """

    limit: float

    def fraction(self, values: Floats) -> npt.NDArray[np.float64]:
        """Return (N,) in [-1, 1]."""
        return np.clip(values / self.limit, -1, 1)


def cohort_scale(contributions: Sequence[Floats]) -> MapScale:
    """Return the scale that 99 % of the cohort's tiles do not exceed.

    Args:
        contributions: (N_i,) a patient, already multiplied by N_i.
    """
    limit = (
        float(np.percentile(np.abs(np.concatenate(contributions)), SCALE_PERCENTILE))
        if contributions
        else 1.0
    )
    return MapScale(limit=max(limit, 1e-9))


def tile_colours(
    fraction: npt.NDArray[np.float64], *, faithful: bool = True
) -> npt.NDArray[np.uint8]:
    """Return (N, 3) colours of values in [-1, 1]: white at zero, orange raises risk, blue lowers
    it; grey where not faithful.
    """
    strength = np.abs(fraction)[:, None]
    return np.asarray(
        255 * (1 - strength) + tile_hues(fraction, faithful=faithful) * strength, dtype=np.uint8
    )


def tile_hues(fraction: npt.NDArray[np.float64], *, faithful: bool = True) -> npt.NDArray[np.int64]:
    """Return (N, 3) the full colour of each value's direction; grey if the map is not faithful."""
    hue = np.where(fraction[:, None] > 0, RAISES, LOWERS)
    return hue if faithful else np.full_like(hue, UNFAITHFUL_HUE)


def draw_map(
    reader: SlideReader,
    tile_map: AttentionMap,
    fraction: npt.NDArray[np.float64],
    *,
    scale: MapScale,
    percentile: float,
    mark: str = "",
) -> Image:
    """Return the slide with its tiles coloured by contribution, and a legend below.

    Args:
        fraction: (N,) contribution on the cohort's scale, in [-1, 1].
        percentile: of the patient's risk in the cohort, 0-100.
        mark: a sentence against the map; one that is not faithful is drawn in grey.
    """
    overview, downsample = read_overview(reader, max(1.0, max(reader.size_l0) / LONGEST_SIDE_PX))
    picture = colour_tiles(overview, downsample, tile_map, fraction=fraction, mark=mark)
    return _with_legend(
        picture, tile_map, scale, percentile, downsample * tile_map.level0_mpp, mark
    )


def colour_tiles(
    overview: Image,
    downsample: float,
    tile_map: AttentionMap,
    *,
    fraction: npt.NDArray[np.float64],
    mark: str = "",
) -> Image:
    """Return the overview, its own colours taken back, with the tiles coloured inside their true
    borders.

    Args:
        overview: the whole slide, `downsample` level-0 pixels a pixel.
        fraction: (N,) in [-1, 1].
    """
    hues = tile_hues(fraction, faithful=not mark.startswith(UNFAITHFUL))
    return paint_tiles(
        overview,
        downsample,
        tile_map.xy_l0,
        tile_l0=tile_map.tile_l0,
        hues=hues,
        alphas=np.abs(fraction) * STRONGEST_ALPHA,
    )


def _with_legend(
    picture: Image,
    tile_map: AttentionMap,
    scale: MapScale,
    percentile: float,
    um_per_px: float,
    mark: str,
) -> Image:
    width = max(picture.shape[1], 640)
    page = PillowImage.new("RGB", (width, picture.shape[0] + FOOTER_PX), "white")
    page.paste(PillowImage.fromarray(picture), (0, 0))
    draw, top = ImageDraw.Draw(page), picture.shape[0]
    text, small = ImageFont.load_default(size=15), ImageFont.load_default(size=12)
    bar = tile_colours(np.linspace(-1, 1, 180))
    page.paste(PillowImage.fromarray(np.repeat(bar[None], 14, axis=0)), (10, top + 10))
    draw.text((10, top + 27), f"-{scale.limit:.2g} lowers", fill="black", font=small)
    draw.text((190, top + 27), f"raises +{scale.limit:.2g}", fill="black", font=small, anchor="ra")
    side_um = tile_map.tile_l0 * tile_map.level0_mpp
    draw.text(
        (210, top + 6),
        f"{tile_map.slide_id}   risk percentile {percentile:.0f} of the cohort",
        fill="black",
        font=text,
    )
    draw.text(
        (210, top + 27),
        f"contribution to predicted log-risk x tiles; tiles of {side_um:.0f} um; one scale",
        fill="black",
        font=small,
    )
    draw.text(
        (10, top + 48),
        "Explains the model, not the disease. Zero = average training patient.",
        fill="black",
        font=small,
    )
    draw.text((10, top + 64), NOTICE, fill="black", font=small)
    if tile_map.method != "exact":
        mark = f"Contributions by {tile_map.method}: they do not sum to the risk. {mark}"
    draw.text((10, top + 82), mark, fill=(176, 0, 32), font=small)
    draw_scale_bar(
        draw,
        (width - 12, top + 52),
        round_length(picture.shape[1] * um_per_px / 5),
        um_per_px=um_per_px,
    )
    return np.asarray(page, dtype=np.uint8)


def draw_tiles(
    reader: SlideReader, tile_map: AttentionMap, fraction: npt.NDArray[np.float64]
) -> Image:
    """Return a strip of the tiles that raise (first row) and lower (second row) the risk most,
    framed in the map's colours.
    """
    order = np.argsort(fraction)
    rows = [order[::-1][:TILES_SHOWN], order[:TILES_SHOWN]]
    pitch = THUMBNAIL_PX + 10
    strip = np.full((2 * pitch, TILES_SHOWN * pitch, 3), 255, np.uint8)
    for row, chosen in enumerate(rows):
        for column, i in enumerate(chosen):
            top, left = row * pitch, column * pitch
            strip[top : top + pitch - 2, left : left + pitch - 2] = tile_colours(
                fraction[i : i + 1]
            )[0]
            x, y = (int(v) for v in tile_map.xy_l0[i])
            strip[top + 4 : top + 4 + THUMBNAIL_PX, left + 4 : left + 4 + THUMBNAIL_PX] = read_tile(
                reader, (x, y), tile_map.tile_l0, tile_px=THUMBNAIL_PX
            )
    return strip
