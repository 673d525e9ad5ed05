"""A codebook of phenotypes: spherical k-means over the cohort's tiles, blind to every outcome; as many as are stable.

Source: Dhillon & Modha, Machine Learning 42 (2001) 143-175 (spherical k-means); Hennig, Comput Stat Data Anal 52 (2007) 258-271
(stability of a cluster as its bootstrapped Jaccard index; 0.75 and more is a valid, stable cluster).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from pathoml.types import Bag

Array = npt.NDArray[np.float64]
Features = npt.NDArray[np.float32]
NUMBERS = (3, 4, 5, 6, 8, 10, 12, 16)  # of phenotypes that are tried
STABLE = 0.75  # mean Jaccard index; Hennig 2007
RESAMPLES = 10
TILES_A_PATIENT = 128  # of each patient equally many, so that a large tumour is not a vote of its own
DIMENSIONS = 32  # principal components; distances in more are noise
ROWS_AT_ONCE = 8192


@dataclass(frozen=True, kw_only=True)
class Codebook:
    """Directions in the space of principal components; a tile belongs to the one it points along most."""

    mean: Features  # (D,)
    components: Features  # (D, K)
    centres: Features  # (C, K) unit length
    stability: Array  # (C,) Jaccard index over resampled cohorts
    tried: tuple[tuple[int, float], ...]  # (number, mean Jaccard index)

    def similarity(self, features: npt.NDArray[np.floating]) -> Features:
        """Return (N, C) cosines of (N, D) features with the phenotypes."""
        parts = []
        for start in range(0, len(features), ROWS_AT_ONCE):
            rows = np.asarray(features[start : start + ROWS_AT_ONCE], dtype=np.float32)
            parts.append(_unit(np.asarray((rows - self.mean) @ self.components, dtype=np.float32)) @ self.centres.T)
        return np.concatenate(parts).astype(np.float32, copy=False)


def learn_codebook(bags: Sequence[Bag], *, number: int | None = None, seed: int = 1) -> Codebook:
    """Cluster the cohort's tiles.

    Args:
        bags: one a patient; no outcome is seen.
        number: of phenotypes; None: the largest number that is stable, else the most stable one.
    """
    rng = np.random.default_rng(seed)
    chosen, owner = [], []
    for patient, bag in enumerate(bags):
        rows = rng.choice(len(bag.features), min(TILES_A_PATIENT, len(bag.features)), replace=False)
        chosen.append(np.asarray(bag.features[np.sort(rows)], dtype=np.float32))
        owner.append(np.full(len(rows), patient))
    tiles, patient_of = np.concatenate(chosen), np.concatenate(owner)
    dimensions = min(DIMENSIONS, tiles.shape[1], len(tiles) - 1)
    pca = PCA(dimensions, svd_solver="randomized", random_state=seed).fit(tiles)
    mean, components = pca.mean_.astype(np.float32), pca.components_.T.astype(np.float32)
    unit = _unit(((tiles - mean) @ components).astype(np.float32, copy=False))  # (N, K)
    best: tuple[Features, Array] | None = None
    tried: list[tuple[int, float]] = []
    for count in [number] if number else [n for n in NUMBERS if n < len(tiles)]:
        centres = _spherical(unit, count, seed)
        stability = _stability(unit, patient_of, centres, rng)
        tried.append((count, float(stability.mean())))
        if best is None or stability.mean() >= min(STABLE, best[1].mean()):
            best = centres, stability
    if best is None:
        raise ValueError("no tiles")  # bags are never empty: read_bags leaves such patients out
    return Codebook(mean=mean, components=components, centres=best[0], stability=best[1], tried=tuple(tried))


def _unit(rows: Features) -> Features:
    length = np.linalg.norm(rows, axis=1, keepdims=True).astype(np.float32)
    return np.asarray(rows / np.maximum(length, np.float32(1e-9)), dtype=np.float32)


def _spherical(unit: Features, count: int, seed: int, restarts: int = 4) -> Features:
    centres = KMeans(count, n_init=restarts, random_state=seed).fit(unit).cluster_centers_.astype(np.float32)
    return _unit(centres)


def _stability(unit: Features, patient_of: npt.NDArray[np.integer], centres: Features, rng: np.random.Generator) -> Array:
    """Return (C,) how much of each cluster is found again when patients are resampled: best Jaccard index, mean over resamples."""
    own = (unit @ centres.T).argmax(axis=1)
    patients = np.unique(patient_of)
    found = []
    for _ in range(RESAMPLES):
        drawn = rng.choice(patients, len(patients))
        rows = np.flatnonzero(np.isin(patient_of, drawn))
        again = (unit @ _spherical(unit[rows], len(centres), int(rng.integers(2**31)), restarts=1).T).argmax(axis=1)
        overlap = np.zeros((len(centres), len(centres)))
        np.add.at(overlap, (own, again), 1)
        union = overlap.sum(axis=1, keepdims=True) + overlap.sum(axis=0, keepdims=True) - overlap
        found.append((overlap / np.maximum(union, 1)).max(axis=1))
    return np.asarray(np.mean(found, axis=0))
