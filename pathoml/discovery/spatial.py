"""Where a phenotype lies on its slide: is it clustered, and how far from the border of the tissue,
against a spatial null.

Join counts of like neighbours (Cliff & Ord, Spatial Processes, 1981) under random labelling;
distances under toroidal shifts, which keep the pattern and move it (Lotwick & Silverman, J R Stat
Soc B 44 (1982) 406-413). Both describe one slide and say nothing of the outcome.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pathoml.types import Array, Floats, Ints, TissueMask

PERMUTATIONS = 199
# of a phenotype and of the rest, below which a slide says nothing of where it lies
FEWEST_TILES = 10


@dataclass(frozen=True, kw_only=True)
class SpatialFigures:
    """One phenotype on one slide."""

    phenotype: int
    share: float
    clustering: (
        float | None
    )  # like neighbours, observed over expected; None where there are too few tiles
    clustering_p: float | None  # one-sided: more clustered than chance
    border_um: (
        float | None
    )  # mean distance of its tiles to the border of the tissue, less that of all tiles
    border_p: float | None  # two-sided


def spatial_figures(
    phenotype: Ints,
    xy_l0: Ints,
    tile_l0: int,
    *,
    number: int,
    border_um: Floats | None,
    permutations: int = PERMUTATIONS,
    seed: int = 1,
) -> list[SpatialFigures]:
    """Return the figures of each phenotype on one slide.

    Args:
        phenotype: (N,) 0 to number - 1.
        xy_l0: (N, 2) corners of the tiles, on one lattice.
        border_um: (N,) distance of each tile's centre to the border of the tissue; None where there
            is no mask.
    """
    rng = np.random.default_rng(seed)
    n, counts = len(phenotype), np.bincount(phenotype, minlength=number)
    told = (counts >= FEWEST_TILES) & (n - counts >= FEWEST_TILES)
    pairs = adjacent_pairs(xy_l0, tile_l0)
    like = like_neighbours(phenotype, pairs, number)
    by_chance = np.stack(
        [like_neighbours(rng.permutation(phenotype), pairs, number) for _ in range(permutations)]
    )  # (B, K)
    clustered = (1 + (by_chance >= like).sum(axis=0)) / (permutations + 1)
    expected = by_chance.mean(axis=0)
    away, away_p = (
        _border(phenotype, xy_l0, tile_l0, number, border_um, permutations, rng)
        if border_um is not None
        else (None, None)
    )
    return [
        SpatialFigures(
            phenotype=k,
            share=float(counts[k] / n),
            clustering=float(like[k] / expected[k]) if told[k] and expected[k] > 0 else None,
            clustering_p=float(clustered[k]) if told[k] and expected[k] > 0 else None,
            border_um=float(away[k]) if told[k] and away is not None else None,
            border_p=float(away_p[k]) if told[k] and away_p is not None else None,
        )
        for k in range(number)
    ]


def adjacent_pairs(xy_l0: Ints, tile_l0: int) -> npt.NDArray[np.int64]:
    """Return (P, 2) which tiles share a side.

    >>> adjacent_pairs(np.array([[0, 0], [8, 0], [0, 8], [24, 0]]), 8).tolist()
    [[0, 1], [0, 2]]
    """
    column, row, wide = _lattice(xy_l0, tile_l0)
    key = row * wide + column
    order = np.argsort(key)
    pairs = []
    for step in (1, wide):
        place = order[np.minimum(np.searchsorted(key[order], key + step), len(key) - 1)]
        found = key[place] == key + step
        pairs.append(np.stack([np.flatnonzero(found), place[found]], axis=1))
    return np.concatenate(pairs)


def like_neighbours(
    phenotype: Ints, pairs: npt.NDArray[np.int64], number: int
) -> npt.NDArray[np.int64]:
    """Return (K,) how many neighbouring pairs are both of a phenotype."""
    first, second = phenotype[pairs[:, 0]], phenotype[pairs[:, 1]]
    return np.bincount(first[first == second], minlength=number)


def border_distance_um(mask: TissueMask, xy_l0: Ints, tile_l0: int, *, level0_mpp: float) -> Array:
    """Return (N,) the distance in micrometres of each tile's centre to the nearest place without
    tissue; 0 outside the tissue.
    """
    padded = np.pad(mask.mask.astype(np.uint8), 1)  # the tissue ends where the picture does
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1]
    column, row = ((np.asarray(xy_l0, np.float64) + tile_l0 / 2) / mask.downsample).astype(int).T
    inside = distance[
        np.clip(row, 0, distance.shape[0] - 1), np.clip(column, 0, distance.shape[1] - 1)
    ]
    return np.asarray(inside * mask.downsample * level0_mpp, np.float64)


def _lattice(xy_l0: Ints, tile_l0: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], int]:
    column, row = (
        np.rint((np.asarray(xy_l0) - np.asarray(xy_l0).min(axis=0)) / tile_l0).astype(np.int64).T
    )
    return (
        column,
        row,
        int(column.max()) + 2,
    )  # one empty column, so that a row's last tile is no neighbour of the next row's first


def _border(
    phenotype: Ints,
    xy_l0: Ints,
    tile_l0: int,
    number: int,
    border_um: Floats,
    permutations: int,
    rng: np.random.Generator,
) -> tuple[Array, Array]:
    column, row, _ = _lattice(xy_l0, tile_l0)
    raster = np.full((int(row.max()) + 1, int(column.max()) + 1), -1, np.int64)
    raster[row, column] = phenotype

    def away(labels: npt.NDArray[np.int64]) -> Array:
        known = labels >= 0
        tiles = np.bincount(labels[known], minlength=number)
        summed = np.bincount(labels[known], weights=border_um[known], minlength=number)
        return np.asarray(
            np.divide(summed, tiles, out=np.full(number, np.nan), where=tiles > 0)
            - border_um[known].mean(),
            np.float64,
        )

    observed = away(np.asarray(phenotype, np.int64))
    null = []
    for _ in range(permutations):
        by = rng.integers(0, raster.shape[0]), rng.integers(0, raster.shape[1])
        null.append(away(np.roll(raster, by, axis=(0, 1))[row, column]))
    extreme = (
        np.abs(np.stack(null)) >= np.abs(observed) - 1e-12
    )  # (B, K); a shift that leaves no tile is not extreme
    return observed, (1 + extreme.sum(axis=0)) / (permutations + 1)
