"""Find the tissue: what is optically denser than the slide's own glass."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from pathoml.types import Bools, Image

OVERVIEW_UM = 8.0  # micrometres a pixel of the mask; a lymphocyte is about one pixel
GLASS_PERCENTILE = 98.0  # glass is the brightest large part of a slide; scanner glare is above it
GLASS_AT_LEAST = 200  # grey level; a slide without any glass is judged against this
DENSITY_BOUNDS = (0.025, 0.04)  # Otsu's threshold on optical density is kept inside: pale stains below, dark slides above
SMOOTH_UM = 40.0  # closes membranes of fat cells and gaps between fibres
SMALLEST_UM2 = 15_000.0  # specks of dust are smaller, needle biopsies larger
HOLE_UM2 = 200_000.0  # holes that are filled: vessels, fat cells, small tears; half a millimetre across


def optical_density(image: Image) -> npt.NDArray[np.float32]:
    """Return the (H, W) mean optical density of the RGB channels over the image's own glass.

    >>> float(optical_density(np.full((4, 4, 3), 240, np.uint8)).max())
    0.0
    """
    glass = np.maximum(np.percentile(image.reshape(-1, 3), GLASS_PERCENTILE, axis=0), GLASS_AT_LEAST)  # (3,)
    density: npt.NDArray[np.float32] = -np.log10(np.maximum(image.astype(np.float32), 1) / glass.astype(np.float32))
    mean: npt.NDArray[np.float32] = np.maximum(density, 0).mean(axis=2)  # (H, W)
    return mean


def tissue_mask(image: Image, um_per_px: float) -> Bools:
    """Return (H, W) True where there is tissue.

    Args:
        image: overview of a slide, RGB.
        um_per_px: micrometres a pixel of the overview.
    """
    density = cv2.GaussianBlur(optical_density(image), (0, 0), SMOOTH_UM / um_per_px / 2)
    scaled = np.clip(density * 255, 0, 255).astype(np.uint8)
    otsu = cv2.threshold(scaled, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)[0] / 255
    mask = density > np.clip(otsu / 2, *DENSITY_BOUNDS)  # half of Otsu: pale stroma is tissue too
    mask = _without_small(mask, SMALLEST_UM2 / um_per_px**2)
    return ~_without_small(~mask, HOLE_UM2 / um_per_px**2, spare_border=True)


def _without_small(mask: Bools, area_px: float, *, spare_border: bool = False) -> Bools:
    """Drop small connected parts; with `spare_border` those at the edge of the picture stay, for nobody knows how far they go on."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] >= area_px
    if spare_border:
        keep[np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])] = True
    keep[0] = False
    return np.asarray(keep[labels], dtype=bool)
