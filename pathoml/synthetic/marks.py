"""What is on a slide and is not biology: ink of a pen, a fold of the section, dust."""

from __future__ import annotations

import numpy as np

from pathoml.synthetic.fields import Field, enlarge, smooth_noise
from pathoml.synthetic.stain import Image8

INKS = {
    "blue": (40, 70, 170),
    "green": (30, 130, 80),
    "black": (30, 30, 34),
    "red": (190, 40, 50),
}  # grey levels
COARSE = 8  # drawing pixels a cell on which the stroke's course is drawn


def fold_band(rng: np.random.Generator, cells: tuple[int, int]) -> Field:
    """Return (rows, columns) distance into a band across the section, in cells; below 0 there is no
    fold.

    >>> fold_band(np.random.default_rng(1), (40, 40)).shape
    (40, 40)
    """
    return rng.uniform(2.3, 4.5) - np.abs(
        _curve(rng, cells, offset=rng.uniform(-0.3, 0.3), bend=0.10)
    )


def draw_pen(rng: np.random.Generator, rgb: Image8, ink: str) -> None:
    """Draw one stroke of a felt pen across an edge of the slide, in place."""
    shape = rgb.shape[0] // COARSE, rgb.shape[1] // COARSE
    distance = _curve(rng, shape, offset=rng.choice([-1, 1]) * rng.uniform(0.68, 0.84), bend=0.05)
    streaks = smooth_noise(rng, shape, 2.5)
    coarse = np.clip((rng.uniform(55, 95) / COARSE - np.abs(distance) + 0.7 * streaks) / 1.5, 0, 1)
    cover = enlarge(coarse * np.clip(0.82 + 0.10 * streaks, 0.4, 1), rgb.shape[:2])
    colour = np.array(INKS[ink], np.float32)
    rows, columns = np.flatnonzero(cover.any(axis=1)), np.flatnonzero(cover.any(axis=0))
    if len(rows):
        box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        seen = rgb[box].astype(np.float32)
        rgb[box] = seen + cover[box][..., None] * (seen * colour / 255 - seen)


def scatter_dust(rng: np.random.Generator, rgb: Image8, *, specks: int) -> None:
    """Put small dark grains on the slide, in place."""
    height, width = rgb.shape[:2]
    for _ in range(specks):
        x, y, r = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(2, 7)
        top, left = max(0, int(y - 9)), max(0, int(x - 9))
        view = rgb[top : top + 18, left : left + 18]
        rows, columns = np.indices(view.shape[:2])
        dark = np.clip(
            (r - np.hypot(rows + top - y, (columns + left - x) * rng.uniform(0.6, 1.6))) / 2, 0, 0.7
        )
        view[:] = view * (1 - dark[..., None])


def _curve(
    rng: np.random.Generator, shape: tuple[int, int], *, offset: float, bend: float
) -> Field:
    """(rows, columns) signed distance in cells from a bent line at `offset` half slides from the
    middle.
    """
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    turn = rng.uniform(0, 2 * np.pi)
    line = (
        y * np.cos(turn) - x * np.sin(turn) - offset + bend * smooth_noise(rng, shape, shape[0] / 6)
    )
    return np.asarray(line * max(shape) / 2, np.float32)
