"""Changes of a tile's colours: one laboratory's stain brought to a fixed reference, or jittered.

All three are affine in the logarithm of light, so that a slide's estimate is twelve numbers and a
tile costs two small products.

Sources: Macenko et al., ISBI 2009, doi 10.1109/ISBI.2009.5193250; Reinhard et al., IEEE CG&A 21
(2001) 34-41, doi 10.1109/38.946629; Tellez et al., IEEE TMI 37 (2018) 2126-2136, doi
10.1109/TMI.2018.2820199, with the vectors of Ruifrok & Johnston, Anal Quant Cytol Histol 23 (2001)
291-299.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pathoml.errors import SlideError
from pathoml.slides.stains import FAINTEST, FEWEST_PIXELS, GLASS, stained_densities, vectors_of
from pathoml.types import Image

Matrix = npt.NDArray[np.float64]

STRONG_PERCENTILE = 99.0  # of a stain's concentration, in place of its maximum
REFERENCE_STAINS = np.array(
    [[0.5626, 0.7201, 0.4062], [0.2159, 0.8012, 0.5581]]
)  # of Veta's code for the paper; torchstain has them too
REFERENCE_STRENGTHS = np.array([1.9705, 1.0308])  # its STRONG_PERCENTILE
RGB_TO_CONES = np.array(
    [[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]]
)  # Reinhard, equation 4
CONES_TO_LAB = np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]]) / np.sqrt(
    [[3.0], [6.0], [2.0]]
)  # his l, alpha, beta; equation 6
REFERENCE_MEAN = np.array(
    [8.74108109, -0.12440419, 0.0444982]
)  # of TCGA-A2-A3XS-DX1, Amgad et al., Bioinformatics 35 (2019)
REFERENCE_SPREAD = np.array(
    [0.6135447, 0.10989545, 0.0286032]
)  # 3461-3467, as HistomicsTK has them; standard deviations
HED = np.array(
    [[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]]
)  # Ruifrok & Johnston: haematoxylin, eosin, DAB


@dataclass(frozen=True, kw_only=True)
class ColourChange:
    """A change that is affine in the logarithm of light: log out = matrix @ log in + offset."""

    matrix: Matrix  # (3, 3)
    offset: Matrix  # (3,)
    lights: Matrix  # (3, 3) from red, green and blue to the lights whose logarithm is meant


def recolour(tile: Image, change: ColourChange) -> Image:
    """Return a tile (H, W, 3) in its new colours.

    >>> same = ColourChange(matrix=np.eye(3), offset=np.zeros(3), lights=np.eye(3))
    >>> recolour(np.array([[[0, 128, 255]]], np.uint8), same).tolist()
    [[[0, 128, 255]]]
    """
    light = tile.astype(
        np.float32
    )  # changed in place: several threads that ask for new memory wait for each other
    light += 1  # black stays finite
    cv2.transform(light, change.lights, light)
    cv2.log(light, light)
    cv2.transform(light, np.column_stack([change.matrix, change.offset]), light)
    cv2.exp(light, light)
    cv2.transform(light, np.linalg.inv(change.lights), light)
    light -= 1
    return np.clip(np.rint(light, light), 0, 255, out=light).astype(np.uint8)


def macenko(pixels: Image) -> ColourChange | None:
    """Return what brings a slide's two stains, in hue and strength, to the reference; None where
    too little is stained.

    Args:
        pixels: (P, 3) of the slide's tissue.
    """
    density = stained_densities(pixels)  # (S, 3)
    stains = vectors_of(density)
    if stains is None:
        return None
    unmix = np.linalg.pinv(stains.T)  # (2, 3)
    strength = np.percentile(density @ unmix.T, STRONG_PERCENTILE, axis=0)  # (2,)
    if not (strength > 0).all():
        return None
    return _of_densities(
        REFERENCE_STAINS.T @ np.diag(REFERENCE_STRENGTHS / strength) @ unmix, np.zeros(3)
    )


def reinhard(pixels: Image) -> ColourChange | None:
    """Return what gives a slide's colours the reference's mean and spread in l alpha beta; None
    where too little is stained.

    Args:
        pixels: (P, 3) of the slide's tissue.
    """
    stained = pixels[
        (pixels + 1.0 < GLASS * np.exp(-FAINTEST)).any(axis=1)
    ]  # (S, 3) eosin alone leaves red as it was
    if len(stained) < FEWEST_PIXELS:
        return None
    lab = np.log((stained + 1.0) @ RGB_TO_CONES.T) @ CONES_TO_LAB.T  # (S, 3)
    mean, spread = lab.mean(axis=0), lab.std(axis=0)
    if not (spread > 0).all():
        return None
    scale = np.diag(REFERENCE_SPREAD / spread)
    back = np.linalg.inv(CONES_TO_LAB)
    return ColourChange(
        matrix=back @ scale @ CONES_TO_LAB,
        offset=back @ (REFERENCE_MEAN - scale @ mean),
        lights=RGB_TO_CONES,
    )


def jitter(sigma: float, seed: int) -> ColourChange:
    """Return a random stain: each concentration c of haematoxylin, eosin and a rest becomes c (1 +
    a) + b.

    Args:
        sigma: a and b are uniform between -sigma and sigma; b in units of optical density, natural
            logarithm.
    """
    factor, shift = np.random.default_rng(seed).uniform(-sigma, sigma, (2, 3))
    vectors = HED / np.linalg.norm(HED, axis=1, keepdims=True)
    return _of_densities(
        vectors.T @ np.diag(1 + factor) @ np.linalg.inv(vectors.T), vectors.T @ shift
    )


def _of_densities(matrix: Matrix, offset: Matrix) -> ColourChange:
    """Return the change that is density -> matrix @ density + offset, where density = log(GLASS /
    light).
    """
    return ColourChange(
        matrix=matrix,
        offset=(np.eye(3) - matrix) @ np.full(3, np.log(GLASS)) - offset,
        lights=np.eye(3),
    )


ESTIMATES: Mapping[str, Callable[[Image], ColourChange | None]] = {
    "macenko": macenko,
    "reinhard": reinhard,
}


def normalisation(method: str, pixels: Image, slide_id: str) -> ColourChange:
    """Return the change that normalises one slide.

    Raises:
        SlideError: too few of the pixels are stained to tell how.
    """
    change = ESTIMATES[method](pixels)
    if change is None:
        raise SlideError(
            f"Slide {slide_id} is too pale to be normalised: hardly any of {len(pixels)} pixels "
            f"from its tiles is stained, at least {FEWEST_PIXELS} have to be. Look at its picture "
            "in tiles/; leave the slide out, or set stain.normalise to null for all."
        )
    return change
