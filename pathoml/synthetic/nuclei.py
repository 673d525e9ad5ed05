"""Nuclei and cell bodies: irregular ellipses with a rim, chromatin and nucleoli, painted many at a
time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pathoml.synthetic.fields import Field, smooth_noise
from pathoml.synthetic.stain import FloatImage

SIZE_STEPS_PX = (
    12,
    20,
    32,
    52,
    84,
    136,
    220,
)  # windows that blobs are drawn in, so that a small one costs little


@dataclass(frozen=True, kw_only=True)
class Blobs:
    """Many irregular ellipses on one drawing; every field has one value a blob."""

    xy_px: Field  # (n, 2) centres
    length_px: Field  # (n,) full axes
    width_px: Field  # (n,)
    angle: Field  # (n,) of the long axis, radians
    irregularity: Field  # (n,) 0 is an ellipse, 0.3 is bizarre

    def __getitem__(self, chosen: NDArray[np.intp]) -> Blobs:
        return Blobs(
            xy_px=self.xy_px[chosen],
            length_px=self.length_px[chosen],
            width_px=self.width_px[chosen],
            angle=self.angle[chosen],
            irregularity=self.irregularity[chosen],
        )


def spread(rng: np.random.Generator, n: int, mean: float, *, sd: float) -> Field:
    """Return (n,) normal values, kept above a fifth of their mean."""
    return np.clip(rng.normal(mean, sd, n), 0.2 * mean, None).astype(np.float32)


def blobs(xy: Field, length: Field, width: Field, *, angle: Field, irregularity: Field) -> Blobs:
    """Return blobs of these (n, 2) centres, (n,) full axes in pixels, directions and
    irregularities.
    """
    return Blobs(
        xy_px=np.asarray(xy, np.float32),
        length_px=np.asarray(length, np.float32),
        width_px=np.asarray(width, np.float32),
        angle=np.asarray(angle, np.float32),
        irregularity=np.asarray(irregularity, np.float32),
    )


def radii(rng: np.random.Generator, blobs: Blobs, side_px: int) -> Field:
    """Return (n, side, side) distance from the centre in units of the outline: 1 on the outline."""
    n = len(blobs.angle)
    axis = (np.arange(side_px, dtype=np.float32) + 0.5 - side_px / 2)[None]
    x = (axis[:, None, :] - (blobs.xy_px[:, 0] % 1 - 0.5)[:, None, None]).astype(np.float32)
    y = (axis[:, :, None] - (blobs.xy_px[:, 1] % 1 - 0.5)[:, None, None]).astype(np.float32)
    cosine, sine = np.cos(blobs.angle)[:, None, None], np.sin(blobs.angle)[:, None, None]
    along = (x * cosine + y * sine) * (2 / blobs.length_px)[:, None, None]
    across = (y * cosine - x * sine) * (2 / blobs.width_px)[:, None, None]
    across = across + rng.normal(0, 0.25, n).astype(np.float32)[:, None, None] * (
        along**2 - 0.4
    )  # bent like a banana
    radius = np.sqrt(along**2 + across**2)  # (n, side, side)
    polar = np.arctan2(across, along)
    wobble = np.zeros_like(radius)
    for lobes in (2, 3, 5):
        phase, size = (
            rng.uniform(0, 2 * np.pi, n),
            rng.normal(0, 1, n) * blobs.irregularity / np.sqrt(lobes),
        )
        wobble += size.astype(np.float32)[:, None, None] * np.cos(
            lobes * polar + phase.astype(np.float32)[:, None, None]
        )
    return np.asarray(radius * (1 + wobble), np.float32)


def paint_bodies(
    rng: np.random.Generator, tissue: FloatImage, blobs: Blobs, *, concentration: FloatImage,
    edge_px: float = 3.0, opacity: float = 0.9, rim: float = 0.0,
) -> None:  # fmt: skip
    """Paint flat blobs over the tissue in place: cell bodies, red cells, holes (concentration 0).

    Args:
        tissue: (side, side, 3) concentrations, periodic.
        concentration: (n, 3) inside each blob.
        edge_px: width of the soft edge.
        rim: how much more dye the edge holds than the middle.
    """
    for chosen, window in _by_window(blobs):
        part = blobs[chosen]
        radius = radii(rng, part, window)
        alpha = opacity * _inside(radius, part, edge_px)
        relief = 1 + rim * (np.clip(radius, 0, 1) ** 3 - 0.5)
        _blend(
            tissue, part.xy_px, alpha, relief[..., None] * concentration[chosen][:, None, None, :]
        )


def paint_nuclei(
    rng: np.random.Generator, tissue: FloatImage, blobs: Blobs, *, haematoxylin: Field,
    vesicular: Field,
) -> None:  # fmt: skip
    """Paint nuclei over the tissue in place.

    Args:
        tissue: (side, side, 3) concentrations, periodic.
        haematoxylin: (n,) concentration.
        vesicular: (n,) 0 = dark and even, 1 = pale with a rim, clumps and nucleoli.
    """
    chromatin = smooth_noise(rng, (512, 512), 1.4)
    for chosen, window in _by_window(blobs):
        part, pale, n = blobs[chosen], vesicular[chosen][:, None, None], len(chosen)
        radius = radii(rng, part, window)
        alpha = _inside(radius, part, 1.6)
        top, left = rng.integers(0, 512 - window, (2, n))
        span = np.arange(window)
        clumps = chromatin[
            (top[:, None] + span)[:, :, None], (left[:, None] + span)[:, None, :]
        ]  # (n, window, window)
        rim = np.exp(-(((radius - 0.86) / 0.16) ** 2))
        dye = 1 - 0.42 * pale + (0.10 + 0.22 * pale) * clumps + (0.10 + 0.40 * pale) * rim
        for _ in range(2):
            dye += pale * _nucleolus(rng, part, window)
        dye = np.clip(dye, 0.15, 1.9) * haematoxylin[chosen][:, None, None]
        colour = np.stack([dye, 0.22 + 0.12 * dye, np.zeros_like(dye)], axis=-1)
        _blend(tissue, part.xy_px, 0.93 * alpha, colour)


def _nucleolus(rng: np.random.Generator, blobs: Blobs, window: int) -> Field:
    """(n, window, window): one dark spot inside each nucleus, absent from about a third."""
    n = len(blobs.angle)
    reach = 0.22 * blobs.width_px
    centre = rng.normal(0, 1, (n, 2)).astype(np.float32) * reach[:, None] + window / 2
    size = np.clip(0.09 * blobs.width_px * rng.uniform(0.7, 1.4, n), 1.0, 5.0).astype(np.float32)
    there = (rng.random(n) < 0.65).astype(np.float32)
    span = np.arange(window, dtype=np.float32) + 0.5
    x = np.exp(-(((span[None] - centre[:, :1]) / size[:, None]) ** 2))
    y = np.exp(-(((span[None] - centre[:, 1:]) / size[:, None]) ** 2))
    return np.asarray(0.7 * there[:, None, None] * y[:, :, None] * x[:, None, :], np.float32)


def _by_window(blobs: Blobs) -> list[tuple[NDArray[np.intp], int]]:
    """Blobs grouped by the window that they fit in."""
    reach = np.maximum(blobs.length_px, blobs.width_px) * (1.15 + blobs.irregularity) + 3
    step = np.minimum(np.searchsorted(SIZE_STEPS_PX, reach), len(SIZE_STEPS_PX) - 1)
    return [(np.flatnonzero(step == k), SIZE_STEPS_PX[k]) for k in np.unique(step)]


def _inside(radius: Field, blobs: Blobs, edge_px: float) -> Field:
    """(n, side, side): 1 inside the outline, 0 outside, over an edge of `edge_px`."""
    half = 0.5 * np.minimum(blobs.length_px, blobs.width_px)[:, None, None]
    return np.clip((1 - radius) * half / edge_px + 0.5, 0, 1)


def _blend(tissue: FloatImage, xy_px: Field, alpha: Field, colour: FloatImage) -> None:
    """Lay each (window, window) stamp over the tissue, wrapping around its edges."""
    side, window = len(tissue), alpha.shape[1]
    corner = np.floor(xy_px).astype(int) - window // 2
    span = np.arange(window)
    for (x, y), a, c in zip(corner, alpha[..., None], colour):
        if 0 <= x <= side - window and 0 <= y <= side - window:
            view = tissue[y : y + window, x : x + window]
            view += a * (c - view)
        else:
            rows, columns = ((y + span) % side)[:, None], (x + span) % side
            patch = tissue[rows, columns]
            tissue[rows, columns] = patch + a * (c - patch)
