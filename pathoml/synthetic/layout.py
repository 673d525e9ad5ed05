"""Where on the slide there is tissue, and of which phenotype: outline, cracks, regions whose areas
follow the shares.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pathoml.synthetic.fields import Field, smooth_noise

CELL_UM = 4.0  # side of a layout cell
TRUTH_CELL_UM = 16.0  # side of a cell of the truth map
REGION_UM = 105.0  # correlation length of a region: regions are a few tiles of 112 um wide


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The plan of one slide on cells of CELL_UM."""

    depth: Field  # (rows, columns) > 0 inside the tissue, SD about 1
    crack: Field  # (rows, columns) > 0 where the tissue is torn
    phenotype: NDArray[
        np.uint8
    ]  # (rows, columns) 1, 2, ...: index into PHENOTYPES + 1, also outside the tissue


def plan_layout(rng: np.random.Generator, shares: Field, *, side_um: float) -> Layout:
    """Return an irregular piece of tissue, about three fifths of the slide, split into regions.

    Args:
        shares: (phenotypes,) fractions of the tissue, sum 1.
        side_um: side of the square slide.
    """
    cells = int(np.ceil(side_um / TRUTH_CELL_UM)) * int(TRUTH_CELL_UM / CELL_UM)
    depth = _outline(rng, cells)
    return Layout(
        depth=depth, crack=_cracks(rng, depth), phenotype=_regions(rng, depth > 0, shares)
    )


def truth_map(coverage: Field, phenotype: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the class map on cells of TRUTH_CELL_UM: the commonest phenotype, 0 where more than
    half is glass.

    Args:
        coverage: (rows, columns) part of each layout cell that is tissue, 0-1.
        phenotype: (rows, columns) as in Layout.
    """
    step = int(TRUTH_CELL_UM / CELL_UM)
    rows, columns = phenotype.shape[0] // step, phenotype.shape[1] // step
    votes = [
        (coverage * (phenotype == k)).reshape(rows, step, columns, step).sum((1, 3))
        for k in range(1, phenotype.max() + 1)
    ]
    tissue = coverage.reshape(rows, step, columns, step).mean((1, 3)) > 0.5
    return np.where(tissue, np.argmax(votes, axis=0) + 1, 0).astype(np.uint8)


def _outline(rng: np.random.Generator, cells: int) -> Field:
    """(cells, cells) > 0 inside: a resection is one lump, a core a long cylinder, either sometimes
    in two pieces.
    """
    y, x = np.mgrid[-1 : 1 : cells * 1j, -1 : 1 : cells * 1j].astype(np.float32)
    turn = rng.uniform(0, np.pi)
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    stretch = rng.uniform(1.0, 1.4)
    lump = 1 - np.hypot(along / np.sqrt(stretch), across * np.sqrt(stretch))
    rough = [smooth_noise(rng, (cells, cells), s * cells / 288) for s in (34, 12, 4)]
    depth = 2.6 * lump + 0.36 * rough[0] + 0.12 * rough[1] + 0.04 * rough[2]
    if rng.random() < 0.25:  # torn in two
        gap = along + 0.1 * rough[0] + rng.uniform(-0.25, 0.25)
        depth = np.minimum(depth, 9 * (np.abs(gap) - 0.035) + 0.08 * rough[1])
    border = 6 * (0.93 - (x**6 + y**6) ** (1 / 6)) + 0.12 * rough[1]  # glass all around
    depth = np.minimum(depth - np.quantile(depth, 1 - rng.uniform(0.58, 0.70)), border)
    return np.asarray(depth, np.float32)


def _regions(
    rng: np.random.Generator, tissue: NDArray[np.bool_], shares: Field
) -> NDArray[np.uint8]:
    """(rows, columns): one noise field a phenotype, the highest wins, raised or lowered until the
    areas fit the shares.
    """
    scale = REGION_UM / CELL_UM * min(1.0, len(tissue) / 280)
    fields = np.stack([smooth_noise(rng, tissue.shape, scale) for _ in shares])
    fields += 0.12 * np.stack([smooth_noise(rng, tissue.shape, scale / 5) for _ in shares])
    inside = fields[:, tissue]  # (phenotypes, cells of tissue)
    raised = np.where(shares > 0, np.log(np.maximum(shares, 1e-6)) / 2, -np.inf)
    for round_ in range(60):
        areas = (
            np.bincount(np.argmax(inside + raised[:, None], axis=0), minlength=len(shares))
            / inside.shape[1]
        )
        raised = (
            raised
            + (1.0 if round_ < 30 else 0.4)
            * np.clip(np.log((shares + 2e-3) / (areas + 2e-3)), -1, 1)
            * 0.3
        )
    return np.asarray(np.argmax(fields + raised[:, None, None], axis=0) + 1, np.uint8)


def _cracks(rng: np.random.Generator, depth: Field) -> Field:
    """Return (rows, columns) > 0 inside a crack: lines along which the section tore, wide in some
    places, absent in most.
    """
    scale = 16.0 * min(1.0, len(depth) / 280)
    line, place = smooth_noise(rng, depth.shape, scale), smooth_noise(rng, depth.shape, 1.6 * scale)
    width = np.clip(0.10 * (place - rng.uniform(1.0, 2.2)), -0.3, 0.14)
    return np.asarray(width - np.abs(line), np.float32)
