"""Stain concentrations and what a centre makes of them: its dyes, glass and scanner's colour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

DYES = (
    "haematoxylin",
    "eosin",
    "blood",
)  # the channels of every drawing; blood is eosin bound to haemoglobin
FloatImage = NDArray[np.floating[Any]]
Image8 = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Stain:
    """One laboratory's stain: optical density in red, green and blue of one unit of each dye, and
    its strength.
    """

    haematoxylin: tuple[float, float, float]
    eosin: tuple[float, float, float]
    blood: tuple[float, float, float]
    strength: tuple[float, float, float] = (1.0, 1.0, 1.0)  # of haematoxylin, eosin, blood
    glass: tuple[float, float, float] = (243.0, 242.0, 243.0)  # grey levels of the empty slide

    def density(self) -> FloatImage:
        """Return the (3 dyes, 3 colours) optical densities of one unit of concentration."""
        vectors = np.array([self.haematoxylin, self.eosin, self.blood], np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors * np.array(self.strength, np.float32)[:, None]


# Around the vectors of Macenko, ISBI 2009, and of Ruifrok and Johnston, Anal Quant Cytol Histol 23
# (2001) 291.
BALANCED = Stain(
    haematoxylin=(0.58, 0.71, 0.40),
    eosin=(0.20, 0.83, 0.50),
    blood=(0.14, 0.72, 0.68),
    strength=(1.0, 1.1, 1.0),
)
BLUISH = Stain(
    haematoxylin=(0.64, 0.69, 0.34), eosin=(0.16, 0.88, 0.44), blood=(0.16, 0.78, 0.60),
    strength=(1.15, 1.0, 1.0), glass=(240.0, 240.0, 244.0),
)  # fmt: skip
REDDISH = Stain(
    haematoxylin=(0.52, 0.75, 0.42), eosin=(0.17, 0.78, 0.60), blood=(0.10, 0.68, 0.73),
    strength=(0.85, 1.25, 1.1), glass=(246.0, 244.0, 241.0),
)  # fmt: skip


def to_rgb(concentration: FloatImage, stain: Stain) -> Image8:
    """Return the colours that light has after passing the dyes (Beer and Lambert).

    Args:
        concentration: (H, W, 3) units of haematoxylin, eosin and blood, >= 0.
        stain: the laboratory's dyes.

    Returns:
        (H, W, 3) uint8.

    >>> to_rgb(np.zeros((1, 1, 3), np.float32), BALANCED)[0, 0].tolist()
    [243, 242, 243]
    """
    density = stain.density()
    out = np.empty(concentration.shape, np.uint8)
    for colour, glass in enumerate(stain.glass):
        absorbed = sum(concentration[..., dye] * density[dye, colour] for dye in range(len(DYES)))
        out[..., colour] = np.exp(-np.asarray(absorbed)) * np.float32(glass) + np.float32(0.5)
    return out
