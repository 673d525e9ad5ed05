"""What a tile has in common with the tiles around it: the part of its features that belongs to the
tissue and not to the tile.

A mean over neighbours keeps what a stretch of tissue shares and averages out what changes from tile
to tile (where a vessel happens to be cut, what the encoder makes of it). Axes along which tiles
vary within slides, each scaled by how far it persists from a tile to the next, are those in which
kinds of tissue can be told apart; they are learned from single tiles, since any axis persists in
means that share tiles. What all tiles of a slide share, stain and scanner, varies within none and
is never learned. Blind to outcomes.

Source: Switzer & Green, Min/max autocorrelation factors, Stanford technical report 6 (1984).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh
from scipy.sparse import coo_array
from scipy.spatial import KDTree

from pathoml.types import Array, Ints

REACH = 1.5  # times the distance of neighbours: the eight tiles around one, whatever the lattice
# weight of the neighbours' mean beside a tile's own features; docs/decisions/0015-phenotypes.md
NEIGHBOURS = 0.6
# persistence at which an axis counts half: what persists much less does not tell kinds of tissue
# apart; the same decision
NOISE = 0.1
FEWEST_TILES = 30  # of a slide, and pairs of neighbours on it, that is asked which axes persist


def neighbour_pairs(xy_l0: Ints) -> npt.NDArray[np.int64]:
    """Return (P, 2) pairs of tiles that touch, corners included; tiles may lie on several lattices,
    as in other tools' files.

    >>> neighbour_pairs(np.array([[0, 0], [8, 0], [8, 8], [24, 0]])).tolist()
    [[0, 1], [0, 2], [1, 2]]
    """
    xy = np.asarray(xy_l0, np.float64)
    if len(xy) < 2:
        return np.empty((0, 2), np.int64)
    tree = KDTree(xy)
    nearest = tree.query(xy, k=2, p=np.inf)[0][:, 1]
    side = float(np.median(nearest))
    if side <= 0:  # tiles on top of each other: no places are known
        return np.empty((0, 2), np.int64)
    pairs: npt.NDArray[np.int64] = tree.query_pairs(
        REACH * side, p=np.inf, output_type="ndarray"
    ).astype(np.int64)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def with_neighbours(
    features: npt.NDArray[np.floating], pairs: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """Return (N, K) each tile's features (N, K), partly exchanged for the mean of its neighbours';
    a tile without any keeps its own.

    >>> features, pairs = np.array([[0.0], [10.0], [20.0], [7.0]]), np.array([[0, 1], [1, 2]])
    >>> with_neighbours(features, pairs).tolist()
    [[6.0], [10.0], [14.0], [7.0]]
    """
    rows, columns = np.concatenate([pairs, pairs[:, ::-1]]).T
    around = coo_array(
        (np.ones(len(rows), np.float32), (rows, columns)), shape=(len(features), len(features))
    ).tocsr()
    own = np.asarray(features, np.float32)
    number = np.bincount(rows, minlength=len(features)).astype(np.float32)[:, None]
    weight = np.where(number > 0, np.float32(NEIGHBOURS), np.float32(0))
    return np.asarray(
        (1 - weight) * own + weight * (around @ own) / np.maximum(number, 1), np.float32
    )


class PersistentAxes:
    """Sums over slides, one at a time, of products of tiles with themselves and with their
    neighbours.
    """

    def __init__(self, dimensions: int) -> None:
        self.within = np.zeros((dimensions, dimensions))
        self.between = np.zeros((dimensions, dimensions))
        self.tiles = 0

    def add(self, features: npt.NDArray[np.floating], pairs: npt.NDArray[np.int64]) -> None:
        """Add the tiles (N, K) of a slide and which of them are neighbours (P, 2)."""
        n = len(features)
        if min(n, len(pairs)) < FEWEST_TILES:
            return
        centred = np.asarray(features, np.float64) - np.asarray(features, np.float64).mean(axis=0)
        within = centred.T @ centred / (n - 1)
        product = centred[pairs[:, 0]].T @ centred[pairs[:, 1]] / len(pairs)
        self.within += n * within
        self.between += n * (
            (product + product.T) / 2 + within / n
        )  # two tiles of a slide less its mean correlate by -1 / N
        self.tiles += n

    def axes(self) -> tuple[Array, Array]:
        """Return (K, K) axes in columns, and (K,) the persistence r of each, from 1 to 0; the unit
        matrix, and ones, without any slide.

        The standard deviation along an axis is r^2 / (r^2 + NOISE^2): axes that persist count
        alike, others hardly.
        """
        size = len(self.within)
        if not self.tiles:
            return np.eye(size), np.ones(size)
        ridge = 1e-6 * np.trace(self.within) / size * np.eye(size)
        persistence, axes = eigh(self.between, self.within + ridge)
        persistence = np.clip(persistence[::-1], 0.0, 1.0)
        return np.asarray(
            axes[:, ::-1] * np.sqrt(self.tiles) * persistence**2 / (persistence**2 + NOISE**2)
        ), np.asarray(persistence)
