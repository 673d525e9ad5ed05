"""Random fields that wrap around: smooth noise, fibres along an orientation, points that keep their
distance.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import irfft2
from scipy.spatial import cKDTree

Field = NDArray[np.floating[Any]]


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], scale_px: float) -> Field:
    """Return (H, W) Gaussian noise of mean 0 and SD 1, correlated over about `scale_px` pixels,
    periodic at its edges.
    """
    height, width = shape
    spectrum = rng.standard_normal((height, width // 2 + 1, 2), dtype=np.float32).view(
        np.complex64
    )[..., 0]
    fy = np.fft.fftfreq(height).astype(np.float32)[:, None]
    fx = np.fft.rfftfreq(width).astype(np.float32)[None]
    spectrum *= np.exp(-2 * (np.pi * scale_px) ** 2 * fy**2) * np.exp(
        -2 * (np.pi * scale_px) ** 2 * fx**2
    )
    spectrum[0, 0] = 0
    field = irfft2(spectrum, s=shape)
    return np.asarray(field / field.std(), np.float32)


def fibres(rng: np.random.Generator, angle: Field, *, length_px: int, thickness_px: float) -> Field:
    """Return (H, W) noise of mean 0 and SD 1 that is smeared along `angle`: fibres that bend with
    the field.

    Each pass averages the field with itself one step further along the fibre and doubles the step,
    so that a length of 64 pixels takes six passes.

    Args:
        angle: (H, W) direction of the fibre in radians, from the x axis towards the y axis.
        length_px: how far a fibre runs, rounded to a power of two.
        thickness_px: its width.
    """
    height, width = len(angle), angle.shape[1]
    field = smooth_noise(rng, (height, width), thickness_px / 2)
    rows, columns = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)
    cosine, sine = np.cos(angle), np.sin(angle)
    for doubling in range(max(1, round(np.log2(length_px)))):
        step = 2.0**doubling
        y = np.rint(rows + step * sine).astype(np.int32) % height
        x = np.rint(columns + step * cosine).astype(np.int32) % width
        field = 0.5 * (field + field.ravel()[y * width + x])
    return np.asarray((field - field.mean()) / field.std(), np.float32)


def spaced_points(
    rng: np.random.Generator, side_px: int, spacing_px: float, *, jitter: float = 0.3
) -> Field:
    """Return (n, 2) points (x, y) of a shaken hexagonal grid of this period, in random order."""
    count = max(1, round(side_px / spacing_px))
    rows = max(2, 2 * round(side_px / spacing_px / np.sqrt(3)))
    step_x, step_y = side_px / count, side_px / rows
    y, x = np.mgrid[:rows, :count].reshape(2, -1).astype(np.float32)
    xy = np.stack([(x + 0.5 * (y % 2)) * step_x, y * step_y], axis=1)
    xy += rng.normal(0, jitter * spacing_px, xy.shape)
    return np.asarray(rng.permutation(xy) % side_px, np.float32)


def cell_borders(xy_px: Field, side_px: int, *, coarse: int = 2) -> Field:
    """Return (side, side) distance in pixels by which the second nearest point is further than the
    nearest: 0 on a border.
    """
    centres = (np.arange(0, side_px, coarse) + coarse / 2).astype(np.float32)
    grid = np.stack(np.meshgrid(centres, centres), axis=-1).reshape(-1, 2)  # (cells, 2)
    nearest, _ = cKDTree(xy_px % side_px, boxsize=side_px).query(grid % side_px, k=2)
    gap = (nearest[:, 1] - nearest[:, 0]).reshape(len(centres), len(centres)).astype(np.float32)
    return enlarge(gap, (side_px, side_px))


def along_contours(field: Field) -> Field:
    """Return (H, W) the direction in radians in which the field does not change."""
    down, right = np.gradient(field)
    return np.asarray(np.arctan2(right, -down), np.float32)


def enlarge(field: Field, shape: tuple[int, int], *, rows: slice | None = None) -> Field:
    """Return the field at another size (H, W), bilinear, or some of the rows of that (rows, W)."""
    top, bottom = (0, shape[0]) if rows is None else (rows.start, rows.stop)
    scale = field.shape[0] / shape[0]
    picture = Image.fromarray(np.ascontiguousarray(field, np.float32))
    box = (0, top * scale, field.shape[1], bottom * scale)
    return np.asarray(picture.resize((shape[1], bottom - top), Image.Resampling.BILINEAR, box))
