"""One slide's tiles: its scale checked, tissue and artefacts found on an overview, a grid of
squares with enough tissue, flags per tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from pathoml.errors import SlideError
from pathoml.slides.colour import open_in_colour
from pathoml.slides.contents import sha256_of_slide
from pathoml.slides.reading import SlideReader, read_overview
from pathoml.slides.reopening import TOLERATED_SHARE, ReopeningReader
from pathoml.slides.stains import stain_vectors
from pathoml.store.tiles import flags_of
from pathoml.study.feature_recipes import TILING_VERSION
from pathoml.tiling.artefacts import artefact_masks, look_closely
from pathoml.tiling.glass import (
    GLASS_LEVEL,
    Glass,
    as_scanned,
    find_glass,
    is_bright_on_dark,
    on_even_glass,
)
from pathoml.tiling.jobs import Stated, TileJob
from pathoml.tiling.quality import FLAG_COLOURS, STAINS
from pathoml.tiling.scale import checked_scale, tile_side_l0
from pathoml.tiling.staining import HE, UNLIKE, Staining, seen_staining
from pathoml.tiling.tissue import OVERVIEW_UM, optical_density, tissue_mask
from pathoml.types import FLAGS, Bools, Floats, Image, Ints, SlideInfo, TileGrid, TissueMask

FLAGGED_SHARE = {
    "pen": 0.1,
    "dark": 0.1,
    "fold": 0.1,
    "bubble": 0.1,
    "blank": 0.9,
    "excluded_region": 0.5,
}  # of a tile, from which on it is flagged
STAINED = 0.05  # optical density of an overview's pixel that glass does not reach
BEYOND_SAID = 0.05  # share of the tissue in no whole tile, from which on it is said
OVERVIEW_SIDE_PX = 1600  # longest side of the picture for people


@dataclass(frozen=True, kw_only=True)
class Look:
    """What is seen on a slide's overview."""

    mask: TissueMask
    shown: Image  # (H, W, 3) the overview as it was scanned
    even: Image  # (H, W, 3) the overview on even glass
    glass: Glass
    staining: Staining

    @property
    def judged(self) -> Bools:
        """(H, W) tissue without what lies on it as ink or darkness."""
        flags = self.mask.flags
        return np.asarray(self.mask.mask & ~flags["pen"] & ~flags["dark"])


def stains_text(look: Look) -> dict[str, str]:
    """Return each stain's vector as quality.csv shows it, nothing where too little is stained, or
    not by haematoxylin and eosin.
    """
    stains = stain_vectors(look.even, look.judged) if look.staining.name == HE.name else None
    return (
        {}
        if stains is None
        else {name: " ".join(f"{v:.3f}" for v in stain) for name, stain in zip(STAINS, stains)}
    )


def look_at(
    reader: SlideReader, mpp: float, slide_id: str, *, stated: Stated | None = None
) -> Look:
    """Return where the tissue and the artefacts are, on an overview of OVERVIEW_UM micrometres a
    pixel, judged against the slide's own glass.

    Args:
        stated: what a person says of the slide's glass, tissue and stain.

    Raises:
        SlideError: bright on dark, as fluorescence is.
    """
    said = stated or Stated()
    overview, downsample = read_overview(reader, OVERVIEW_UM / mpp)
    um_per_px = downsample * mpp
    glass = find_glass(overview, um_per_px, stated=said.glass)
    if not glass.is_found and said.glass is None and is_bright_on_dark(overview, glass):
        raise SlideError(
            f"Slide {slide_id} is bright on a dark ground, as fluorescence is; tissue is found, and"
            " encoders are trained, on light that passes through stained sections. Leave it out, or"
            " state the grey level of its glass in a column 'glass' of slides.csv."
        )
    even = on_even_glass(overview, glass)
    tissue = tissue_mask(even, um_per_px, threshold=said.density) & glass.is_scanned
    staining = said.staining or seen_staining(even, tissue, glass_level=GLASS_LEVEL)
    flags = artefact_masks(even, um_per_px, tissue=tissue, staining=staining)
    mask = TissueMask(
        slide_id=slide_id,
        mask=tissue,
        downsample=downsample,
        method=f"density-{TILING_VERSION}",
        flags=flags,
    )
    return Look(
        mask=mask,
        shown=as_scanned(overview, glass),
        even=even,
        glass=glass,
        staining=staining,
    )


def notes_of(look: Look, grid: TileGrid, *, is_stated: bool) -> list[str]:
    """Return what a person should know of how a slide was looked at, each the end of a sentence."""
    notes = []
    if not look.glass.is_found and not is_stated:
        notes.append(
            f"no glass is in the picture; a brightness of {look.glass.level[0]:.0f} was assumed"
            " (say another in a column 'glass' of slides.csv)"
        )
    if not look.staining.is_stated and look.staining.name != HE.name:
        seen = f" but like {look.staining.name}" if look.staining.name != UNLIKE else ""
        notes.append(
            f"this does not look like H&E{seen}: ink and bubbles are not looked for by all of their"
            " colours (say the stain in a column 'stain' of slides.csv)"
        )
    beyond = share_beyond(look.mask, grid)
    if beyond >= BEYOND_SAID:
        notes.append(f"{beyond:.0%} of its tissue lies beyond the last whole tile, at the edges")
    return notes


def share_beyond(mask: TissueMask, grid: TileGrid) -> float:
    """Return the share of the tissue that lies right of or below the last whole tile."""
    width, height = (side // grid.tile_l0 * grid.tile_l0 / mask.downsample for side in grid.size_l0)
    area = float(mask.mask.sum())
    if not area:
        return 0.0
    return 1 - float(mask.mask[: round(height), : round(width)].sum()) / area


def flag_tiles(
    mask: TissueMask, blurred: Bools, xy_l0: Ints, *, tile_l0: int
) -> npt.NDArray[np.uint8]:
    """Return (N,) bits, FLAGS[i] is bit i: artefacts of the overview that cover enough of a tile,
    and lost focus.

    Args:
        blurred: (N,) tiles out of focus.
    """
    flags = np.zeros(len(xy_l0), np.uint8)
    for name, where in mask.flags.items():
        share = box_means(where, xy_l0 / mask.downsample, tile_l0 / mask.downsample)
        flags[share > FLAGGED_SHARE[name]] |= 1 << FLAGS.index(name)
    flags[blurred] |= 1 << FLAGS.index("out_of_focus")
    return flags


def describe_slide(reader: SlideReader, path: Path, job: TileJob) -> SlideInfo:
    """Return what the slide says of itself, with the scale checked.

    Raises:
        SlideError: no scale, coarser than the tiles asked for, or smaller than one.
    """
    mpp, source = checked_scale(reader, job)
    return SlideInfo(
        slide_id=job.slide.slide_id,
        path=path,
        size_l0=reader.size_l0,
        mpp=mpp,
        mpp_source=source,
        level_downsamples=reader.level_downsamples,
        vendor=reader.vendor,
        sha256=sha256_of_slide(path),
    )


def tile_grid(info: SlideInfo, look: Look, job: TileJob) -> TileGrid:
    """Return the tiles with enough tissue, row by row, on a grid without gaps from the slide's top
    left corner.

    Raises:
        SlideError: more than a hundredth of them cannot be read, or have no pixels where the
            overview shows tissue.
    """
    mask, tile_l0 = look.mask, tile_side_l0(job, info.mpp)
    columns, rows = info.size_l0[0] // tile_l0, info.size_l0[1] // tile_l0
    x, y = np.meshgrid(np.arange(columns) * tile_l0, np.arange(rows) * tile_l0)
    xy_l0 = np.stack([x.ravel(), y.ravel()], axis=1).astype(np.int64)  # (rows * columns, 2)
    tissue_fraction = box_means(mask.mask, xy_l0 / mask.downsample, tile_l0 / mask.downsample)
    keep = tissue_fraction >= max(job.tiles.min_tissue, 1e-6)
    xy_l0, tissue_fraction = xy_l0[keep], tissue_fraction[keep]
    opener = partial(open_in_colour, info.path, info.slide_id, icc=job.tiles.icc)
    with ReopeningReader(opener, name=info.slide_id, tiles=len(xy_l0)) as reader:
        blurred, white = look_closely(reader.read_tile, xy_l0, tile_l0, level0_mpp=info.mpp)
    stained = (
        box_means(
            optical_density(look.even) > STAINED, xy_l0 / mask.downsample, tile_l0 / mask.downsample
        )
        > 0.5
    )
    refuse_lost_pixels(info.slide_id, white & stained)
    flags = flag_tiles(mask, blurred, xy_l0, tile_l0=tile_l0)
    return TileGrid(
        slide_id=info.slide_id,
        xy_l0=xy_l0,
        tile_l0=tile_l0,
        tile_px=job.tile_px,
        mpp=job.mpp,
        level0_mpp=info.mpp,
        size_l0=info.size_l0,
        tissue_fraction=tissue_fraction.astype(np.float32),
        flags=flags,
        slide_sha256=info.sha256,
    )


def refuse_lost_pixels(slide_id: str, lost: Bools) -> None:
    """Raise SlideError if more than a hundredth of a slide's (N,) tiles are blank in the file
    though stained on its overview.
    """
    if lost.sum() > max(1, int(len(lost) * TOLERATED_SHARE)):
        raise SlideError(
            f"Slide {slide_id} is damaged: {int(lost.sum())} of its {len(lost)} tiles have no "
            "pixels where its overview shows tissue. Copy it again from the scanner's archive."
        )


def box_means(mask: Bools, xy: Floats, side: float) -> npt.NDArray[np.float64]:
    """Return the exact mean of a mask over squares with fractional corners.

    Args:
        mask: (H, W).
        xy: (N, 2) top left corners in pixels of the mask.
        side: side of the squares in pixels of the mask.

    >>> box_means(np.array([[True, False]]), np.array([[0.5, 0.0]]), 1.0)
    array([0.5])
    """
    height, width = mask.shape
    if not mask.any():
        return np.zeros(len(xy))
    sums = cv2.integral(mask.view(np.uint8))  # (H + 1, W + 1)

    def below(x: Floats, y: Floats) -> npt.NDArray[np.float64]:
        x, y = np.clip(x, 0, width), np.clip(y, 0, height)
        i, j = np.minimum(y.astype(int), height - 1), np.minimum(x.astype(int), width - 1)
        v, u = y - i, x - j
        top = sums[i, j] * (1 - u) + sums[i, j + 1] * u
        return np.asarray(top * (1 - v) + (sums[i + 1, j] * (1 - u) + sums[i + 1, j + 1] * u) * v)

    x0, y0 = xy[:, 0], xy[:, 1]
    x1, y1 = x0 + side, y0 + side
    return np.asarray((below(x1, y1) - below(x0, y1) - below(x1, y0) + below(x0, y0)) / side**2)


def draw_overview(overview: Image, mask: TissueMask, grid: TileGrid) -> Image:
    """Return the overview with the tissue's outline (green), flags (tinted) and the tiles (thin
    lines), for the eye.
    """
    picture = overview.copy()
    for name, flag in mask.flags.items():
        picture[flag] = (0.5 * picture[flag] + 0.5 * np.array(FLAG_COLOURS[name])).astype(np.uint8)
    scale = min(3.0, OVERVIEW_SIDE_PX / max(picture.shape[:2]))
    shrink_or_grow = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    picture = np.asarray(
        cv2.resize(picture, None, fx=scale, fy=scale, interpolation=shrink_or_grow), dtype=np.uint8
    )
    side = grid.tile_l0 / mask.downsample * scale
    for (x, y), flag in zip(grid.xy_l0 / mask.downsample * scale, flags_of(grid)):
        corner, opposite = (round(x), round(y)), (round(x + side), round(y + side))
        cv2.rectangle(picture, corner, opposite, (200, 60, 0) if flag else (60, 60, 60), 1)
    outlines, _ = cv2.findContours(
        mask.mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE
    )
    cv2.drawContours(
        picture, [np.round(o * scale).astype(np.int32) for o in outlines], -1, (0, 130, 60), 2
    )
    return np.asarray(picture, dtype=np.uint8)
