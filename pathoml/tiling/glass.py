"""Find what was scanned and how bright the glass is there, and bring an overview to even glass.

Scanners differ in the brightness of their glass (170 to 255), light falls off towards the corners,
and files hold rectangles that were never scanned: white, black, or of one grey. All that follows is
judged on an overview whose glass is GLASS_LEVEL everywhere, so that no threshold knows a scanner.

Glass is what is smooth, nearly without colour, and bright; its brightness is a smooth surface that
the brightest such places lie on (asymmetric least squares, as of baselines: Eilers, Anal. Chem. 75
(2003) 3631). What was never scanned is of exactly one colour and ends in straight lines, or ends at
glass of another brightness.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pathoml.tiling.tissue import at_pixel_size
from pathoml.types import Bools, Floats, Image, Ints

GLASS_LEVEL = 243  # grey level to which a slide's glass is brought; that of many scanners
SMOOTH_UM = 16.0  # micrometres a pixel at which glass is looked for; finer on small pictures
SMALL_PX = 400_000
WINDOW_PX = 5  # of those; within it glass is even
# standard deviation of grey levels in the window, over glass of GLASS_LEVEL; tissue has 4 and more
GLASS_DEVIATION = 2.0
DIMMEST = 90  # grey level of the brightest channel; darker is no glass
# greatest less least channel over the greatest: glass, and glass of a yellow or blue lamp, but not
# of the pinks of eosin
GREYEST, TINTED = 0.06, 0.16
PINKS = (0.66, 0.99)  # of a circle of hues: violet to red
LEAST_GLASS_UM2 = 15_000.0  # less tells no brightness
LEAST_GLASS_SHARE = 0.005  # of what was scanned
MOST_PLACES = 6_000  # by which the surface is fitted
LEAST_OUTER = 0.2  # share of the glass-like places that reach the edge, to begin with them
BENDS = 2  # greatest power of the surface: 1, y, y^2, x, xy, x^2
SQUARES, CROSSED = (2, 5), 4  # of those
UPPER = 0.9  # weight of places above the surface against 1 - UPPER below, at first
# ridge penalty of the surface's slopes and bends, so that a strip of glass is not prolonged
STIFF = 2e-3
AS_BRIGHT = 0.97  # of what was scanned, that a surrounding is which stands for glass
EVEN_GREYS = 0.8  # grey levels between the ends of a surface that is even
PROLONGED = 0.02  # optical density that the surface may leave the range of the glass by
NEAR = 0.012  # optical density within which a place is of the glass's surface
COARSE_UM = 64.0  # micrometres a pixel of the surface
NEAR_UM = 1500.0  # over which what the surface leaves is averaged
FLAT_SHARE = 0.004  # of the picture; smaller parts of one colour are no area that was left out
MOST_COLOURS = 6
THIN_PX = 3  # every third pixel of every third row tells which colours are frequent
BLACKEST, WHITEST = 3, 254  # grey levels
FILLING_TINT = 12  # between the channels of a filling; a bar of ink has a colour
BLUR_SHOWS = 128  # grey level; a darker area's blurred edge would be tissue
SHORTEST_EDGE_UM = 100.0
BENT_UM, BENT_SHARE = 300.0, 0.04  # of an outline that may be in no straight line
DARK_GROUND = 70  # grey level of the brightest channel; sections let more light through
BESIDE_STEP = 3  # grey levels between what was never scanned and the glass beside it


@dataclass(frozen=True, kw_only=True)
class Glass:
    """What is behind a slide's tissue."""

    is_scanned: Bools  # (H, W)
    level: tuple[float, float, float]  # median brightness of red, green and blue
    surface: npt.NDArray[np.float32] | None  # (h, w, 3) brightness, coarse; None where it is even
    is_found: bool  # False: no glass is in the picture, and `level` is assumed


def find_glass(image: Image, um_per_px: float, *, stated: float | None = None) -> Glass:
    """Return what of an overview was scanned, and how bright its glass is.

    Args:
        image: (H, W, 3) RGB.
        um_per_px: micrometres a pixel.
        stated: grey level of the glass, where a person says it.
    """
    is_scanned = ~never_scanned(image, um_per_px)
    if not is_scanned.any():
        is_scanned = np.ones(image.shape[:2], bool)
    if stated is not None:
        return _assumed(is_scanned, stated)
    um = SMOOTH_UM if is_scanned.size > SMALL_PX else min(um_per_px, SMOOTH_UM)
    small = at_pixel_size(image, um_per_px, um)
    small_scanned = at_pixel_size(is_scanned.astype(np.float32), um_per_px, um) > 1 - 1e-6
    is_glass = _glass_like(small, small_scanned)
    least = max(LEAST_GLASS_UM2 / um**2, LEAST_GLASS_SHARE * small_scanned.sum())
    if is_glass.sum() < least:
        return _without_glass(image, is_scanned)
    places = np.argwhere(is_glass)  # (P, 2)
    places = places[:: max(1, len(places) // MOST_PLACES)]
    parts = cv2.connectedComponents(is_glass.view(np.uint8), connectivity=4)[1]
    part_of = np.asarray(parts, np.int64)[places[:, 0], places[:, 1]]  # (P,)
    outer = np.isin(part_of, _at_the_edge(np.asarray(parts, np.int64), small_scanned))
    light = np.log10(small[places[:, 0], places[:, 1]].astype(np.float64))  # (P, 3)
    shape = small.shape[:2]
    terms = _terms(places, shape)
    on_it = _fit(terms, light.mean(axis=1), part_of, outer)
    if on_it.sum() < least * len(places) / max(is_glass.sum(), 1):
        return _without_glass(image, is_scanned)
    coefficients = _stiffly(terms[on_it], light[on_it], np.ones(int(on_it.sum())))  # (terms, 3)
    left = light[on_it] - terms[on_it] @ coefficients  # (Q, 3)
    ends = np.percentile(light[on_it], [1, 99], axis=0)  # (2, 3)
    ends += np.array([[-PROLONGED], [PROLONGED]])
    surface = _surface(coefficients, places[on_it], left, shape, ends=ends, um=um)  # (h, w, 3)
    level = np.median(10 ** light[on_it], axis=0)
    return Glass(
        is_scanned=is_scanned,
        level=(float(level[0]), float(level[1]), float(level[2])),
        surface=None if np.ptp(surface, axis=(0, 1)).max() <= EVEN_GREYS else surface,
        is_found=True,
    )


def on_even_glass(image: Image, glass: Glass) -> Image:
    """Return (H, W, 3) RGB in which glass is GLASS_LEVEL everywhere, and what was never scanned is
    glass.

    >>> grey = np.full((2, 2, 3), 200, np.uint8)
    >>> all_of_it = np.ones((2, 2), bool)
    >>> lamp = Glass(is_scanned=all_of_it, level=(200.0,) * 3, surface=None, is_found=True)
    >>> int(on_even_glass(grey, lamp).max())
    243
    """
    if glass.surface is None:
        greys = np.arange(256)[:, None] * (GLASS_LEVEL / np.array(glass.level))  # (256, 3)
        table = np.clip(np.rint(greys), 0, 255).astype(np.uint8)[None]  # (1, 256, 3)
        even = cv2.LUT(np.ascontiguousarray(image), table)
    else:
        gain = cv2.resize(
            GLASS_LEVEL / glass.surface, image.shape[1::-1], interpolation=cv2.INTER_LINEAR
        )
        even = cv2.multiply(image, gain, dtype=cv2.CV_8U)
    even[~glass.is_scanned] = GLASS_LEVEL
    return np.asarray(even, np.uint8)


def as_scanned(image: Image, glass: Glass) -> Image:
    """Return an overview for people: what was never scanned is shown as glass."""
    if glass.is_scanned.all():
        return image
    shown = image.copy()
    shown[~glass.is_scanned] = np.rint(glass.level).astype(np.uint8)
    return shown


def is_bright_on_dark(image: Image, glass: Glass) -> bool:
    """Return whether most of what was scanned is as dark as no section is, and hardly anything as
    bright as glass: fluorescence.

    Args:
        image: (H, W, 3) the overview as it was scanned.
    """
    brightest = _extremes(image)[0]
    seen = brightest[glass.is_scanned | (brightest <= BLACKEST)]  # black was taken for padding
    scanned = image[glass.is_scanned]  # (S, 3)
    if not len(scanned) or (seen < DARK_GROUND).mean() <= 0.5:
        return False
    has_no_white = (scanned.min(axis=1) > DARK_GROUND).mean() < 0.1
    return bool(np.median(scanned.max(axis=1)) < DARK_GROUND or has_no_white)


def never_scanned(image: Image, um_per_px: float) -> Bools:
    """Return (H, W) True on areas of exactly one colour that are black, or grey and end in straight
    lines, or are white and end at other glass.
    """
    block = np.ones((3, 3), np.uint8)
    spread = _extremes(
        np.asarray(cv2.subtract(cv2.dilate(image, block), cv2.erode(image, block)), np.uint8)
    )[0]
    is_flat = spread == 0  # (H, W)
    least = max(16.0, FLAT_SHARE * is_flat.size)
    packed = (image[:, :, 0].astype(np.int32) << 16 | image[:, :, 1].astype(np.int32) << 8) | image[
        :, :, 2
    ]
    colours, counts = np.unique(
        packed[::THIN_PX, ::THIN_PX][is_flat[::THIN_PX, ::THIN_PX]], return_counts=True
    )
    counts = counts * THIN_PX**2
    usual = colours[counts >= least]
    usual = usual[np.argsort(-counts[counts >= least])][:MOST_COLOURS]
    none = np.zeros(is_flat.shape, bool)
    for value in usual:
        colour = np.array([value >> 16, value >> 8 & 255, value & 255])
        for part in _parts(_of_colour(packed, is_flat, int(value)), least):
            is_black = colour.max() <= BLACKEST
            is_grey = colour.max() - colour.min() <= FILLING_TINT
            if is_black or (is_grey and _ends_straight(part, um_per_px)):
                none |= part if colour.max() > BLUR_SHOWS else _wider(part, 2)
    for value in usual:
        colour = np.array([value >> 16, value >> 8 & 255, value & 255])
        if colour.min() < WHITEST:
            continue
        for part in _parts(_of_colour(packed, is_flat, int(value)) & ~none, least):
            if _ends_at_glass(image, spread, part, none):
                none |= _wider(part, 2)
    return none


def _extremes(image: Image) -> tuple[Image, Image]:
    """Return (H, W) the brightest and the darkest of the channels."""
    red, green, blue = (np.asarray(plane, np.uint8) for plane in cv2.split(image))
    brightest, darkest = (of(of(red, green), blue) for of in (cv2.max, cv2.min))
    return np.asarray(brightest, np.uint8), np.asarray(darkest, np.uint8)


def _wider(part: Bools, by_px: int) -> Bools:
    """Return a part with what compression and resampling blurred around it."""
    side = 2 * by_px + 1
    return cv2.dilate(part.view(np.uint8), np.ones((side, side), np.uint8)).astype(bool)


def _of_colour(packed: npt.NDArray[np.int32], is_flat: Bools, value: int) -> Bools:
    core = is_flat & (packed == value)
    return cv2.dilate(core.view(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)


def _parts(mask: Bools, least_px: float) -> list[Bools]:
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=4)
    return [
        labels == number
        for number in range(1, len(stats))
        if stats[number, cv2.CC_STAT_AREA] >= least_px
    ]


def _ends_straight(part: Bools, um_per_px: float) -> bool:
    """Return whether the outline inside the picture is of long upright and level lines."""
    height, width = part.shape
    contours, _ = cv2.findContours(part.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    straight = bent = 0.0
    least = SHORTEST_EDGE_UM / um_per_px
    for contour in contours:
        lines = cv2.approxPolyDP(contour, 1.5, True)[:, 0].astype(np.int64)  # (K, 2)
        for (x0, y0), (x1, y1) in zip(lines, np.roll(lines, -1, axis=0)):
            is_border = any(
                max(abs(a - edge), abs(b - edge)) <= 2
                for a, b, edge in (
                    (x0, x1, 0),
                    (x0, x1, width - 1),
                    (y0, y1, 0),
                    (y0, y1, height - 1),
                )
            )
            if is_border:
                continue
            length = float(np.hypot(x1 - x0, y1 - y0))
            if min(abs(x1 - x0), abs(y1 - y0)) <= 2 and length >= least:
                straight += length
            else:
                bent += length
    return straight > 2 * least and bent <= max(BENT_UM / um_per_px, BENT_SHARE * straight)


def _ends_at_glass(image: Image, spread: Image, part: Bools, none: Bools) -> bool:
    mask = part.view(np.uint8)
    far, near = (
        np.asarray(cv2.dilate(mask, np.ones((side, side), np.uint8)), bool) for side in (11, 7)
    )
    ring = far & ~near & ~none
    if not ring.any():
        return False
    beside = image[ring].astype(np.int16)  # (R, 3)
    steps = WHITEST - beside.max(axis=1) >= BESIDE_STEP
    grey = beside.max(axis=1) - beside.min(axis=1) <= TINTED * beside.max(axis=1)
    return bool((steps & grey & (spread[ring] <= BESIDE_STEP)).mean() > 0.6)


def _glass_like(image: Image, is_scanned: Bools) -> Bools:
    """Return (h, w) what is smooth, bright and nearly grey."""
    brightest, darkest = _extremes(image)
    window = (WINDOW_PX, WINDOW_PX)
    grey = image.mean(axis=2, dtype=np.float32)
    mean = cv2.blur(grey, window)
    deviation = np.sqrt(np.maximum(cv2.blur(grey * grey, window) - mean * mean, 0))
    hue = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)[:, :, 0] / 256
    is_pink = (hue >= PINKS[0]) & (hue <= PINKS[1])
    colour = (brightest.astype(np.float32) - darkest) / np.maximum(brightest, 1)
    return np.asarray(
        (cv2.erode(is_scanned.view(np.uint8), np.ones(window, np.uint8)) > 0)
        & (deviation <= GLASS_DEVIATION * mean / GLASS_LEVEL)
        & (brightest >= DIMMEST)
        & (colour <= np.where(is_pink, GREYEST, TINTED))
    )


def _terms(places: Floats | Ints, shape: tuple[int, int]) -> Floats:
    """Return (P, terms) powers of y and x up to BENDS in sum, from -1 to 1 over the longer side."""
    y, x = ((places + 0.5) / max(shape) * 2 - 1).T
    return np.stack([x**i * y**j for i in range(BENDS + 1) for j in range(BENDS + 1 - i)], axis=1)


def _at_the_edge(parts: Ints, is_scanned: Bools) -> Ints:
    """Return the connected parts that reach the edge of what was scanned, as glass does and a
    section seldom.
    """
    inner = cv2.erode(
        is_scanned.view(np.uint8),
        np.ones((2 * WINDOW_PX + 1, 2 * WINDOW_PX + 1), np.uint8),
        borderType=cv2.BORDER_CONSTANT,
        borderValue=0,
    )
    found = np.unique(parts[inner == 0])
    return found[found > 0]


def _fit(terms: Floats, light: Floats, part_of: Ints, outer: Bools) -> Bools:
    """Return (P,) which places lie on the surface of the glass: the highest that many are near.

    Args:
        terms: (P, terms).
        light: (P,) logarithm of brightness.
        part_of: (P,) connected part of each place; a part is glass as a whole or not.
        outer: (P,) of parts at the edge, by which the surface is looked for first.
    """
    first = outer if outer.mean() > LEAST_OUTER else np.ones(len(light), bool)
    weights = np.ones(int(first.sum()))
    for _ in range(15):
        coefficients = _stiffly(terms[first], light[first], weights)
        weights = np.where(light[first] > terms[first] @ coefficients, UPPER, 1 - UPPER)
    on_it = first
    for _ in range(6):
        away = light - terms @ coefficients
        close = away[first & (np.abs(away) <= 2 * NEAR)]
        away -= np.median(close if close.size else away[first])
        sums = np.bincount(part_of, weights=np.abs(away) <= NEAR)
        mostly = sums >= 0.5 * np.maximum(np.bincount(part_of), 1)
        on_it = (np.abs(away) <= NEAR) & mostly[part_of]
        if on_it.sum() < terms.shape[1]:
            break
        coefficients = _stiffly(terms[on_it], light[on_it], np.ones(int(on_it.sum())))
    return on_it


def _stiffly(terms: Floats, light: Floats, weights: Floats) -> Floats:
    """Return (terms, ...) coefficients by weighted least squares whose slopes and bends cost STIFF.

    Light falls off towards the edges, never towards the middle: where the surface would be a bowl
    (a pale section in the middle) it is not bent that way.
    """
    free = np.ones(terms.shape[1], bool)
    free[0] = False  # constant
    for _ in range(len(SQUARES) + 1):
        coefficients = _solved(terms, light, weights, free=free)
        bowls = [k for k in SQUARES if free[k] and coefficients[k].mean() > 0]
        if not bowls:
            break
        free[[*bowls, CROSSED]] = False
    return coefficients


def _solved(terms: Floats, light: Floats, weights: Floats, *, free: Bools) -> Floats:
    total = weights.sum()
    centre, middle = weights @ terms / total, weights @ light / total
    away = (terms - centre)[:, free]
    weighted = away * weights[:, None]
    slopes = np.linalg.solve(
        weighted.T @ away / total + STIFF * np.eye(int(free.sum())),
        weighted.T @ (light - middle) / total,
    )
    coefficients = np.zeros((terms.shape[1], *light.shape[1:]))
    coefficients[free] = slopes
    coefficients[0] = middle - centre[free] @ slopes
    return coefficients


def _surface(
    coefficients: Floats,
    places: npt.NDArray[np.integer],
    left: Floats,
    shape: tuple[int, int],
    *,
    ends: Floats,
    um: float,
) -> npt.NDArray[np.float32]:
    """Return (h, w, 3) brightness: the surface, and near glass what it leaves, averaged; about
    COARSE_UM micrometres a pixel.
    """
    step = max(1, round(COARSE_UM / um))
    coarse = (-(-shape[0] // step), -(-shape[1] // step))
    rows, columns = ((np.arange(count) + 0.5) * step - 0.5 for count in coarse)
    every = np.stack([axis.ravel() for axis in np.meshgrid(rows, columns, indexing="ij")], axis=1)
    fitted = np.clip(_terms(every, shape) @ coefficients, *ends).reshape(*coarse, 3)
    sums = np.zeros((*coarse, 4), np.float32)
    ones = np.ones((len(left), 1))
    np.add.at(sums, tuple((places // step).T), np.concatenate([left, ones], axis=1))
    sums = np.asarray(cv2.GaussianBlur(sums, (0, 0), NEAR_UM / um / step / 2), np.float32)
    near = sums[:, :, :3] / (sums[:, :, 3:] + 0.01)
    brightness = np.clip(10 ** (fitted + near), 1, 255).astype(np.float32)
    whole = (coarse[1] * step, coarse[0] * step)  # the last ones reach beyond the picture
    if whole == (shape[1], shape[0]):
        return brightness
    grown = cv2.resize(brightness, whole, interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(grown[: shape[0], : shape[1]], np.float32)


def _without_glass(image: Image, is_scanned: Bools) -> Glass:
    """Return glass of the brightness that slides have, or of what is brighter: none was seen."""
    greys = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    outside, inside = greys[~is_scanned], greys[is_scanned]
    outside = outside[outside >= DIMMEST]
    if outside.size:  # a picture that was cut out and laid on white, or glass without any noise
        level_outside = float(np.median(outside))
        if level_outside >= AS_BRIGHT * np.percentile(inside[::16], 98):
            return _assumed(is_scanned, level_outside)
    level = [float(max(np.percentile(image[:, :, k][is_scanned][::16], 98), 200)) for k in range(3)]
    return Glass(
        is_scanned=is_scanned, level=(level[0], level[1], level[2]), surface=None, is_found=False
    )


def _assumed(is_scanned: Bools, level: float) -> Glass:
    return Glass(is_scanned=is_scanned, level=(level, level, level), surface=None, is_found=False)
