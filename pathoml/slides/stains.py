"""The two stain vectors of a slide, in optical density: how strongly and in which hue a laboratory
stains, to compare slides by.

Source: Macenko et al., ISBI 2009, doi 10.1109/ISBI.2009.5193250: the plane of greatest variance of
the stained pixels' optical density, and the extreme directions in it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pathoml.types import Bools, Image

GLASS = 240.0  # grey level of no stain, as in the paper
FAINTEST = 0.15  # optical density, natural logarithm, of all channels: paler pixels tell no hue
EXTREME_PERCENT = 1.0  # of angles cut at both ends
FEWEST_PIXELS = 200
MOST_PIXELS = 200_000

Stains = npt.NDArray[np.float64]
Densities = npt.NDArray[np.float64]


def stain_vectors(image: Image, where: Bools) -> Stains | None:
    """Return (2, 3) unit vectors of optical density (RGB), haematoxylin first, or None where too
    little is stained.

    Args:
        image: (H, W, 3) RGB.
        where: (H, W) True on tissue.
    """
    pixels = image[where]
    return vectors_of(stained_densities(pixels[:: max(1, len(pixels) // MOST_PIXELS)]))


def stained_densities(pixels: Image) -> Densities:
    """Return (S, 3) optical densities, natural logarithm, of those (P, 3) pixels that are stained
    enough to tell a hue.
    """
    density = -np.log((pixels.astype(np.float64) + 1) / GLASS)  # (P, 3)
    return np.asarray(density[(density > FAINTEST).all(axis=1)])  # (S, 3)


def vectors_of(density: Densities) -> Stains | None:
    """Return (2, 3) unit vectors of (S, 3) stained densities, haematoxylin first, or None where
    there are too few.
    """
    if len(density) < FEWEST_PIXELS:
        return None
    _, vectors = np.linalg.eigh(np.cov(density.T))
    plane = vectors[:, [2, 1]]  # (3, 2) greatest variance first
    plane = plane * np.where(plane.sum(axis=0) < 0, -1, 1)  # towards more stain
    angles = np.arctan2(density @ plane[:, 1], density @ plane[:, 0])
    low, high = np.percentile(angles, [EXTREME_PERCENT, 100 - EXTREME_PERCENT])
    stains = np.stack([plane @ [np.cos(a), np.sin(a)] for a in (low, high)])  # (2, 3)
    stains /= np.linalg.norm(stains, axis=1, keepdims=True)
    return (
        stains if stains[0, 0] >= stains[1, 0] else stains[::-1]
    )  # haematoxylin takes more red than eosin
