"""Find what lies on the tissue but is no tissue to be judged: pen, darkness and black ink, folds,
bubbles and edges, haze, lost focus.

All but the focus is seen on the overview; the focus needs pixels of a micrometre. Thresholds were
set on real tissue with planted artefacts (benchmarks/artefacts.py prints how many are found and how
many clean tiles are flagged).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from pathoml.tiling.staining import HE, Staining
from pathoml.tiling.tissue import grey_percentile, mean_density
from pathoml.tiling.tissue_folds import fold_mask
from pathoml.types import Bools, Image, Ints

ReadTile = Callable[[tuple[int, int], int, int], Image]

PEN_HUES = (
    (70.0, 250.0),
    (0.0, 16.0),
    (348.0, 360.0),
)  # degrees: green to blue ink, over eosin too; red ink. H&E lies between 255 and 345
PEN_SATURATION = (
    0.25,
    0.70,
    0.55,
)  # least saturation of each (eosin, blood and bone are redder than red ink is to yellow)
# greatest deviation of saturation within RED_WINDOW_UM: red ink is even, blood and bone among cells
# are not
RED_EVENNESS = 0.08
RED_WINDOW_UM = 72.0
PEN_VALUE = 0.15  # darker than this has no hue
DARK_VALUE = 0.18  # share of full brightness; nuclei at overview resolution stay above
# optical density of all three channels under black ink, which is darker than eosin or nuclei alone
# let it be
INK_DENSITY = 0.35
# least over greatest density of the channels: black ink over tissue 0.8-1, the densest tissue 0.6
INK_GREYNESS = 0.75
SPREAD_UM = 24.0  # ink bleeds at its edge

# around the tissue in which artefacts are looked for: a fold's edges, a bubble's rim
BESIDE_UM = 200.0

# optical density of all three channels at the rim of a bubble or cover glass; eosin and nuclei let
# red through
RIM_DENSITY = 0.30
# least over greatest density of the channels: dense eosin and nuclei 0.25-0.56, a grey rim over
# eosin 0.65, over glass 1
RIM_GREYNESS = 0.5
# of a whole rim, mean densities: epidermis and other dense tissue 0.57-0.62, bubbles over any
# tissue 0.75-0.89
RIM_MEAN_GREYNESS = 0.68
RIM_WIDEST_UM = 90.0
RIM_LENGTH_UM = 450.0

BLANK_WINDOW_UM = 96.0
# grey levels; smooth haze and mounting medium are below, the palest stroma above
BLANK_DEVIATION = 1.6
BLANK_BRIGHTNESS = 200  # grey level; a smooth and darker part is stained
FOCUS_UM = 1.0  # micrometres a pixel at which the focus is judged
FOCUS_SIGMAS = (1.0, 2.0, 4.0)  # pixels; two neighbouring bands of detail are compared
# finer over coarser detail: sharp real tissue 0.62-1.08, blurred by a 3 um Gaussian 0.35-0.48
FOCUS_RATIO = 0.55
FOCUS_CELLS, FOCUS_SHARE = (
    4,
    3 / 16,
)  # cells a side of a tile; share of cells that makes a tile out of focus
# grey levels of coarser detail below which there is nothing to judge the focus by
FOCUS_DETAIL = 0.6


def artefact_masks(
    image: Image, um_per_px: float, *, tissue: Bools | None = None, staining: Staining = HE
) -> dict[str, Bools]:
    """Return an (H, W) mask of an RGB overview for each of pen, dark, fold, bubble, blank.

    Args:
        image: (H, W, 3) overview of a slide.
        um_per_px: micrometres a pixel of the overview.
        tissue: (H, W); artefacts are looked for in the box around it, BESIDE_UM wider; everywhere
            without it, or where there is none.
        staining: what of ink and rims can be told beside it.
    """
    glass = max(200.0, grey_percentile(image[::4, ::4], 98))
    if tissue is None:
        return _artefacts(image, um_per_px, glass, None, staining)
    box = box_around(tissue, BESIDE_UM / um_per_px)
    masks = {}
    for name, inside in _artefacts(
        image[box], um_per_px, glass, tissue[box] if tissue.any() else None, staining
    ).items():
        masks[name] = np.zeros(tissue.shape, bool)
        masks[name][box] = inside
    return masks


def box_around(mask: Bools, margin_px: float) -> tuple[slice, slice]:
    """Return the rows and columns in which all of a mask lies, with a margin; all of them if it is
    empty.

    They begin and end at multiples of 4, so that pixels are averaged by the same fours as without a
    box.

    >>> box_around(np.pad(np.ones((5, 6), bool), 20), 4)
    (slice(16, 32, None), slice(16, 32, None))
    """
    if not mask.any():
        return slice(None), slice(None)
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    first_row, first_column = (
        max(0, int(places[0] - margin_px)) // 4 * 4 for places in (rows, columns)
    )
    last_row, last_column = (
        -(-int(places[-1] + 1 + margin_px) // 4) * 4 for places in (rows, columns)
    )
    return slice(first_row, last_row), slice(first_column, last_column)


def _artefacts(
    image: Image, um_per_px: float, glass: float, tissue: Bools | None, staining: Staining
) -> dict[str, Bools]:
    table = np.clip(-np.log10(np.maximum(np.arange(256), 1) / glass), 0, 2).astype(
        np.float32
    )  # density falls as the grey level rises
    red, green, blue = (
        np.asarray(plane, np.uint8) for plane in cv2.split(np.ascontiguousarray(image))
    )  # three of (H, W)
    brightest, darkest = (
        np.asarray(of(of(red, green), blue), np.uint8) for of in (cv2.max, cv2.min)
    )
    grey_from = (
        (table[:, None] >= RIM_GREYNESS * table).argmax(axis=1).astype(np.uint8)
    )  # (256,) of the brightest: least darkest of a grey
    grey = np.asarray(
        cv2.max(brightest, cv2.compare(cv2.LUT(brightest, grey_from), darkest, cv2.CMP_GT)),
        np.uint8,
    )
    density = mean_density((red, green, blue), (table, table, table))
    none = np.zeros(brightest.shape, bool)
    pen = _spread(_pen(image, um_per_px, staining), um_per_px) if staining.pen_hues else none
    near_black = np.asarray(brightest < math.ceil(DARK_VALUE * 255), bool)
    if staining.has_black_ink:
        near_black |= _black_ink(brightest, darkest, table)
    dark = _spread(near_black, um_per_px)
    if pen.any() or dark.any():
        density[pen | dark] = 0  # a stripe of ink is not a fold
    return {
        "pen": pen,
        "dark": dark,
        "fold": fold_mask(density, um_per_px, tissue=tissue),
        "bubble": _bubbles(grey, darkest, table, um_per_px) if staining.has_bubbles else none,
        "blank": _blank(image, um_per_px),
    }


def _pen(image: Image, um_per_px: float, staining: Staining) -> Bools:
    hue, saturation, value = cv2.split(
        cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)
    )  # hue 256 = 360 degrees, saturation and value of 255
    most = np.full(256, 255, np.uint8)  # saturation of tissue of each hue
    for (first, last), tissue in _saturations(staining):
        most[math.ceil(first * 256 / 360) : math.floor(last * 256 / 360) + 1] = math.floor(
            tissue * 255
        )
    pen = np.asarray(
        (saturation > cv2.LUT(hue, most)) & (value > math.floor(PEN_VALUE * 255)), bool
    )
    first, last = (
        math.ceil(PEN_HUES[0][0] * 256 / 360),
        math.floor(PEN_HUES[0][1] * 256 / 360),
    )  # whole numbers are compared faster
    red = pen & ((hue < first) | (hue > last))
    if not red.any():
        return pen
    if _without_lone(red).any():
        return pen & (~red | _is_even(np.asarray(saturation, np.uint8), um_per_px))
    return pen & ~red


def _saturations(staining: Staining) -> list[tuple[tuple[float, float], float]]:
    """Return each range of hues that ink beside a stain has, and the least saturation of ink."""
    return [
        ((first, last), saturation)
        for first, last in staining.pen_hues
        for (lowest, highest), saturation in zip(PEN_HUES, PEN_SATURATION)
        if lowest <= first and last <= highest
    ]


def _black_ink(brightest: Image, darkest: Image, density_of: npt.NDArray[np.float32]) -> Bools:
    """Return what takes all colours nearly alike, and much of them, by (H, W) grey levels;
    `density_of` (256,) of a level.
    """
    inky = np.asarray(
        brightest < int((density_of >= INK_DENSITY).sum()), bool
    )  # density falls as the grey level rises
    if inky.any():
        grey_from = (
            (density_of[:, None] >= INK_GREYNESS * density_of).argmax(axis=1).astype(np.uint8)
        )  # of the brightest: least darkest
        inky &= np.asarray(darkest >= cv2.LUT(brightest, grey_from), bool)
    return inky


def _is_even(saturation: Image, um_per_px: float) -> Bools:
    side = 2 * max(1, round(RED_WINDOW_UM / um_per_px / 2)) + 1
    mean = np.asarray(cv2.boxFilter(saturation, cv2.CV_32F, (side, side)), np.float32)
    variance = cv2.subtract(
        cv2.sqrBoxFilter(saturation, cv2.CV_32F, (side, side)), cv2.multiply(mean, mean)
    )
    return np.asarray(variance < (RED_EVENNESS * 255) ** 2, bool)


def _bubbles(
    grey: Image, darkest: Image, density_of: npt.NDArray[np.float32], um_per_px: float
) -> Bools:
    """Return thin rims of grey density (of bubbles, of the cover glass) and what a closed rim
    surrounds.

    Args:
        grey: (H, W) grey levels of the brightest channel, 255 where the colour is not grey.
        darkest: (H, W) grey levels of the darkest channel.
        density_of: (256,) optical density of each grey level.
    """
    least = RIM_DENSITY * 0.6
    dense_greys = int((density_of > least).sum())  # density falls as the grey level rises
    thin_from = (
        (density_of[:, None] - density_of > least).argmax(axis=1).astype(np.uint8)
    )  # (256,) first level that shows each as a rim
    without_thin = cv2.morphologyEx(grey, cv2.MORPH_CLOSE, _disc(RIM_WIDEST_UM / um_per_px))
    is_dense = grey < dense_greys
    thin = is_dense & (without_thin >= cv2.LUT(grey, thin_from))
    rim = cv2.morphologyEx(thin.view(np.uint8), cv2.MORPH_CLOSE, _disc(40.0 / um_per_px)).astype(
        bool
    )
    rim = _long_components(rim & is_dense, um_per_px, RIM_LENGTH_UM, 4.0)
    rim = _grey_components(rim, density_of[grey], density_of[darkest]) if rim.any() else rim
    if not rim.any():
        return rim
    contours, _ = cv2.findContours(rim.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    filled = np.zeros(rim.shape, np.uint8)
    cv2.drawContours(filled, contours, -1, 1, cv2.FILLED)
    return _spread(filled.astype(bool), um_per_px)


def _blank(image: Image, um_per_px: float) -> Bools:
    """Return what is bright and even around it, judged at every second pixel of every second row by
    the window of all pixels there.
    """
    (height, width), side = image.shape[:2], 2 * max(1, round(BLANK_WINDOW_UM / um_per_px / 4)) + 1
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.float32)
    mean, squares = (
        cv2.blur(
            cv2.resize(values, (-(-width // 2), -(-height // 2)), interpolation=cv2.INTER_AREA),
            (side, side),
        )
        for values in (grey, cv2.multiply(grey, grey))
    )
    blank = (cv2.subtract(squares, cv2.multiply(mean, mean)) < BLANK_DEVIATION**2) & (
        mean > BLANK_BRIGHTNESS
    )
    return np.asarray(
        cv2.resize(blank.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST), bool
    )


def _long_components(mask: Bools, um_per_px: float, length_um: float, aspect: float) -> Bools:
    """Return the connected parts that are long and thin, curved ones too: length is half the
    outline, width is area over length.
    """
    contours, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    contours = [
        contour for contour in contours if len(contour) * um_per_px >= length_um
    ]  # a step is 1.4 pixels at most
    if not contours:
        return np.zeros(mask.shape, bool)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    keep = np.zeros(len(stats), bool)
    for contour in contours:
        label = labels[contour[0, 0, 1], contour[0, 0, 0]]
        length = cv2.arcLength(contour, True) / 2
        width = stats[label, cv2.CC_STAT_AREA] / max(length, 1)
        extent = max(stats[label, cv2.CC_STAT_WIDTH], stats[label, cv2.CC_STAT_HEIGHT])
        keep[label] |= (
            length * um_per_px >= length_um
            and length >= aspect * width
            and extent * um_per_px >= length_um / 2.5
        )
    return np.asarray(keep[labels], bool)


def _grey_components(
    mask: Bools, least: npt.NDArray[np.float32], most: npt.NDArray[np.float32]
) -> Bools:
    """Return the connected parts that are grey as a whole, by (H, W) least and greatest optical
    densities of the channels.

    A rim takes light from all channels by turns over stroma, nuclei and glass; dense tissue is of
    its own colour all along.
    """
    labels = np.asarray(cv2.connectedComponents(mask.view(np.uint8), connectivity=8)[1], np.int32)
    least_sums, most_sums = (
        np.bincount(labels[mask], weights=densities[mask]) for densities in (least, most)
    )
    return np.asarray(mask & (least_sums >= RIM_MEAN_GREYNESS * most_sums)[labels], bool)


def is_out_of_focus(tile: Image) -> bool:
    """Return whether three sixteenths of an RGB tile at FOCUS_UM micrometres a pixel has lost its
    fine detail.

    Two neighbouring bands of detail are compared in FOCUS_CELLS by FOCUS_CELLS cells, since focus
    is often lost in a part only.
    """
    grey = cv2.cvtColor(tile, cv2.COLOR_RGB2GRAY).astype(np.float32)
    fine, middle, coarse = (cv2.GaussianBlur(grey, (0, 0), sigma) for sigma in FOCUS_SIGMAS)
    cells = (FOCUS_CELLS, FOCUS_CELLS)
    finer, coarser = (
        np.sqrt(cv2.resize(np.square(band), cells, interpolation=cv2.INTER_AREA))
        for band in (fine - middle, middle - coarse)
    )
    judged = coarser > FOCUS_DETAIL
    return bool((judged & (finer < FOCUS_RATIO * coarser)).mean() >= FOCUS_SHARE)


def look_closely(
    read: ReadTile, xy_l0: Ints, tile_l0: int, *, level0_mpp: float
) -> tuple[Bools, Bools]:
    """Return (N,) whether each tile is out of focus, judged at a micrometre a pixel, and (N,)
    whether it has no pixels at all.

    Args:
        read: (corner in level-0 pixels, side in level-0 pixels, side in pixels) -> RGB.
    """
    side_px = max(16, round(tile_l0 * level0_mpp / FOCUS_UM))
    blurred, white = np.zeros(len(xy_l0), bool), np.zeros(len(xy_l0), bool)
    if level0_mpp > FOCUS_UM * 1.1:  # too coarse to tell
        return blurred, white
    for i, (x, y) in enumerate(xy_l0.tolist()):
        tile = read((x, y), tile_l0, side_px)
        blurred[i], white[i] = is_out_of_focus(tile), tile.min() == 255
    return blurred, white


def _disc(diameter_px: float) -> Image:
    side = 2 * max(1, round(diameter_px / 2)) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)


def _spread(mask: Bools, um_per_px: float) -> Bools:
    if not mask.any():
        return mask
    return cv2.dilate(_without_lone(mask), _disc(2 * SPREAD_UM / um_per_px)).astype(bool)


def _without_lone(mask: Bools) -> Image:
    """Return (H, W) 1 where a mask holds in a square of three pixels: lone pixels are noise."""
    return np.asarray(
        cv2.morphologyEx(mask.view(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)), np.uint8
    )
