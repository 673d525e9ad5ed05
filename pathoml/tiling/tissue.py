"""Find the tissue: what is optically denser than the slide's own glass."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from pathoml.types import Bools, Image

Level = TypeVar("Level", np.uint8, np.float32)

OVERVIEW_UM = 8.0  # micrometres a pixel of the overview; a lymphocyte is about one pixel
# at which tissue is told from glass: after smoothing as wide as this, finer pixels tell no more
TISSUE_UM = 16.0
GLASS_PERCENTILE = 98.0  # glass is the brightest large part of a slide; scanner glare is above it
GLASS_AT_LEAST = 200  # grey level; a slide without any glass is judged against this
DENSITY_BOUNDS = (
    0.025,
    0.04,
)  # Otsu's threshold on optical density is kept inside: pale stains below, dark slides above
# less stained tissue than a needle biopsy has; a very pale section is then looked for
LEAST_STAINED_UM2 = 300_000.0
PALEST = 0.008  # optical density of a section against glass; less is uneven glass
PALE_APART = 1.2  # standard deviations of both kinds of places together
PALE_STEPS = 5000  # steps a unit of optical density
SMOOTH_UM = 40.0  # closes membranes of fat cells and gaps between fibres
SMALLEST_UM2 = 15_000.0  # specks of dust are smaller, needle biopsies larger
# holes that are filled: vessels, fat cells, small tears; half a millimetre across
HOLE_UM2 = 200_000.0


def optical_density(image: Image) -> npt.NDArray[np.float32]:
    """Return the (H, W) mean optical density of the RGB channels over the image's own glass.

    >>> float(optical_density(np.full((4, 4, 3), 240, np.uint8)).max())
    0.0
    """
    planes = [
        np.asarray(plane, np.uint8) for plane in cv2.split(np.ascontiguousarray(image))
    ]  # three of (H, W)
    brightness = [
        np.float32(max(grey_percentile(plane, GLASS_PERCENTILE), GLASS_AT_LEAST))
        for plane in planes
    ]
    greys = np.maximum(np.arange(256, dtype=np.float32), 1)
    return mean_density(planes, [np.maximum(-np.log10(greys / glass), 0) for glass in brightness])


def mean_density(
    planes: Sequence[npt.NDArray[np.uint8]], tables: Sequence[npt.NDArray[np.float32]]
) -> npt.NDArray[np.float32]:
    """Return the (H, W) mean of the channels' densities: (H, W) grey levels of each, looked up in
    (256,) densities of a level.
    """
    density = np.asarray(cv2.LUT(planes[0], tables[0]), np.float32)
    for plane, table in zip(planes[1:], tables[1:]):
        density += np.asarray(cv2.LUT(plane, table), np.float32)
    density /= len(planes)
    return density


def grey_percentile(greys: Image, percent: float) -> float:
    """Return `np.percentile` of grey levels, by counting them: in a tenth of the time.

    >>> grey_percentile(np.array([[0, 10, 20, 40]], np.uint8), 50.0)
    15.0
    """
    counts = cv2.calcHist([np.ascontiguousarray(greys).reshape(1, -1)], [0], None, [256], [0, 256])
    ends = np.cumsum(counts.ravel().astype(np.int64))  # values up to each grey level
    place = (ends[-1] - 1) * percent / 100
    below, above = np.searchsorted(ends, [math.floor(place), math.ceil(place)], side="right")
    return float(below + (above - below) * (place - math.floor(place)))


def tissue_mask(image: Image, um_per_px: float, *, threshold: float | None = None) -> Bools:
    """Return (H, W) True where there is tissue.

    Args:
        image: overview of a slide, RGB.
        um_per_px: micrometres a pixel of the overview.
        threshold: optical density from which on there is tissue; half of Otsu's without it.
    """
    density = np.asarray(
        cv2.GaussianBlur(
            optical_density(at_pixel_size(image, um_per_px, TISSUE_UM)),
            (0, 0),
            SMOOTH_UM / TISSUE_UM / 2,
        ),
        np.float32,
    )
    otsu = (
        cv2.threshold(
            cv2.convertScaleAbs(density, alpha=255), 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU
        )[0]
        / 255
    )
    if threshold is None:  # half of Otsu: pale stroma is tissue too
        mask = _cleaned(density > float(np.clip(otsu / 2, *DENSITY_BOUNDS)))
        if mask.sum() * TISSUE_UM**2 < LEAST_STAINED_UM2 and (pale := _pale_threshold(density)):
            mask = _cleaned(density > pale)
    else:
        mask = _cleaned(density > threshold)
    return np.asarray(
        cv2.resize(mask.view(np.uint8), image.shape[1::-1], interpolation=cv2.INTER_NEAREST),
        np.uint8,
    ).view(bool)


def _cleaned(mask: Bools) -> Bools:
    mask = _without_small(mask, SMALLEST_UM2 / TISSUE_UM**2)
    return ~_without_small(~mask, HOLE_UM2 / TISSUE_UM**2, spare_border=True)


def _pale_threshold(density: npt.NDArray[np.float32]) -> float | None:
    """Return the optical density that divides a slide of a very pale section, by Otsu; None where
    there are no two kinds of places, or they are no further apart than glass is uneven.
    """
    few = density[density <= DENSITY_BOUNDS[0] * 2]
    if not few.size:
        return None
    steps = np.clip(np.rint(few * PALE_STEPS), 0, 255).astype(np.uint8)[None]
    level = cv2.threshold(steps, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)[0] / PALE_STEPS
    glass, tissue = few[few <= level], few[few > level]
    if not glass.size or not tissue.size:
        return None
    apart = float(np.median(tissue) - np.median(glass))
    if apart < max(PALEST, PALE_APART * float(glass.std() + tissue.std())):
        return None
    return float(np.median(glass)) + apart / 2


def at_pixel_size(
    image: npt.NDArray[Level], um_per_px: float, wanted_um: float
) -> npt.NDArray[Level]:
    """Return an image, or densities, of `um_per_px` micrometres a pixel, averaged to about
    `wanted_um` micrometres a pixel.

    >>> at_pixel_size(np.array([[0, 1, 0.25, 0.75]], np.float32), 8.0, 16.0)
    array([[0.5, 0.5]], dtype=float32)
    """
    height, width = (max(1, round(side * um_per_px / wanted_um)) for side in image.shape[:2])
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), image.dtype)


def _without_small(mask: Bools, area_px: float, *, spare_border: bool = False) -> Bools:
    """Drop small connected parts; with `spare_border` those at the edge of the picture stay, for
    nobody knows how far they go on.
    """
    _, parts, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    labels = np.asarray(parts, np.int32)  # (H, W)
    keep = stats[:, cv2.CC_STAT_AREA] >= area_px
    if spare_border:
        keep[np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])] = True
    if keep[1:].all():
        return mask
    keep[0] = False
    return np.take(keep, labels)
