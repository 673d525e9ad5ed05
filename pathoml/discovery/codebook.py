"""A codebook of phenotypes: spherical k-means over the cohort's tiles, blind to every outcome, as
many as are stable.

Axes are those that persist from a tile to its neighbours; centres are learned along them from tiles
averaged with their neighbours, and each tile is then assigned by itself. What the tiles of a centre
have in common, its stain and scanner, is taken off first, or phenotypes would be centres.

Source: Dhillon & Modha, Machine Learning 42 (2001) 143-175 (spherical k-means); Hennig, Comput Stat
Data Anal 52 (2007) 258-271 (stability of a cluster as its bootstrapped Jaccard index; 0.75 and more
is a valid, stable cluster, 0.6 a pattern); why this way: docs/decisions/0015-phenotypes.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from pathoml.discovery.neighbourhood import PersistentAxes, neighbour_pairs, with_neighbours
from pathoml.errors import CohortError
from pathoml.types import Array, Bag

Features = npt.NDArray[np.float32]
NUMBERS = (3, 4, 5, 6, 7, 8, 9, 10, 12, 16)  # of phenotypes that are tried
RESAMPLES = 30
# of each patient equally many, so that a large tumour is not a vote of its own
TILES_A_PATIENT = 128
DIMENSIONS = 32  # principal components; distances in more are noise
ROWS_AT_ONCE = 8192


@dataclass(frozen=True, kw_only=True)
class Codebook:
    """Directions along persistent axes; a tile belongs to the one it points along most."""

    mean: Features  # (D,) of the patients
    offsets: Mapping[str, Features]  # (D,) of each centre, what its tiles have in common
    components: Features  # (D, K)
    origin: Features  # (K,) mean of the tiles along the components
    centres: Features  # (C, K) unit length
    stability: Array  # (C,) Jaccard index over resampled cohorts
    tried: tuple[tuple[int, float], ...]  # (number, mean Jaccard index)

    def similarity(self, features: npt.NDArray[np.floating], centre: str = "") -> Features:
        """Return (N, C) cosines of (N, D) features with the phenotypes.

        Args:
            centre: where the slide is from; nothing is taken off for one that was not learned from.
        """
        along = _project(
            features, self.mean + self.offsets.get(centre, np.float32(0)), self.components
        )
        return np.asarray(_unit(along - self.origin) @ self.centres.T, dtype=np.float32)


def membership(similarity: Features) -> Features:
    """Return (N, C) how much more a tile is like each phenotype than like the nearest other one:
    above 0 in its own only.

    >>> membership(np.array([[0.75, 0.5, -0.25]], np.float32)).tolist()
    [[0.25, -0.25, -1.0]]
    """
    first, second = np.sort(similarity, axis=1)[:, :-3:-1].T
    is_first = np.arange(similarity.shape[1]) == similarity.argmax(axis=1)[:, None]
    return np.asarray(
        similarity - np.where(is_first, second[:, None], first[:, None]), dtype=np.float32
    )


def learn_codebook(
    bags: Sequence[Bag], centre: Sequence[str] = (), *, number: int | None = None, seed: int = 1
) -> Codebook:
    """Cluster the cohort's tiles.

    Args:
        bags: one per patient; no outcome is seen.
        centre: of each patient; none: nothing is taken off.
        number: of phenotypes; None: the fewest that are, within one standard error, as stable as
            any when patients are resampled.
    """
    if not bags:
        raise ValueError("no tiles")  # bags are never empty: read_bags leaves such patients out
    rng = np.random.default_rng(seed)
    centre = list(centre) or [""] * len(bags)
    rows = [
        np.sort(rng.choice(len(b.features), min(TILES_A_PATIENT, len(b.features)), replace=False))
        for b in bags
    ]
    mean, offsets = _offsets(bags, centre)
    sample = [
        np.asarray(b.features[r], np.float32) - (mean + offsets[c])
        for b, r, c in zip(bags, rows, centre)
    ]
    tiles = np.concatenate(sample)
    pca = PCA(
        min(DIMENSIONS, tiles.shape[1], len(tiles) - 1), svd_solver="randomized", random_state=seed
    ).fit(tiles)
    shared, axes = _neighbourhoods(
        bags, centre, rows, mean, offsets, pca.components_.T.astype(np.float32)
    )
    along = np.concatenate(shared) @ axes  # (N, K) what tiles share with their neighbours
    origin = along.mean(axis=0)
    unit, patient_of = (
        _unit(along - origin),
        np.repeat(np.arange(len(bags)), [len(r) for r in rows]),
    )
    tried, best = _stable(
        unit, patient_of, [number] if number else [n for n in NUMBERS if n < len(tiles)], seed, rng
    )
    return Codebook(
        mean=mean,
        offsets=offsets,
        components=np.asarray(pca.components_.T @ axes, np.float32),
        origin=origin.astype(np.float32),
        centres=best[0],
        stability=best[1],
        tried=tried,
    )


def _offsets(bags: Sequence[Bag], centre: Sequence[str]) -> tuple[Features, dict[str, Features]]:
    """Return the mean over patients (D,), and of each centre the best linear prediction of what its
    stain and scanner add.

    A centre's mean is that of its patients' tumours as well: the fewer they are, and the less
    centres differ beyond what patients of a centre do, the less of the difference is the centre's
    (one-way random effects; Searle et al., Variance Components, 1992, chapter 3).
    """
    of_patient = np.stack([b.features.mean(axis=0, dtype=np.float64) for b in bags])  # (B, D)
    mean, label = of_patient.mean(axis=0), np.asarray(centre)
    own = {str(name): of_patient[label == name] for name in np.unique(label)}
    number = np.array([len(rows) for rows in own.values()])
    patients, centres = len(bags), len(own)
    zero = {name: np.zeros(len(mean), np.float32) for name in own}
    if centres < 2 or patients == centres:  # nothing to tell centres and patients apart by
        return mean.astype(np.float32), zero
    within = sum(float(((rows - rows.mean(axis=0)) ** 2).sum()) for rows in own.values()) / (
        patients - centres
    )
    between = sum(
        len(rows) * float(((rows.mean(axis=0) - mean) ** 2).sum()) for rows in own.values()
    ) / (centres - 1)
    variance = max(0.0, between - within) / (
        (patients - (number**2).sum() / patients) / (centres - 1)
    )
    if not variance:
        return mean.astype(np.float32), zero
    shrink = {name: variance / (variance + within / len(rows)) for name, rows in own.items()}
    return mean.astype(np.float32), {
        n: ((rows.mean(axis=0) - mean) * shrink[n]).astype(np.float32) for n, rows in own.items()
    }


def _neighbourhoods(
    bags: Sequence[Bag],
    centre: Sequence[str],
    rows: Sequence[npt.NDArray[np.int64]],
    mean: Features,
    offsets: Mapping[str, Features],
    components: Features,
) -> tuple[list[Features], Features]:
    """Return the chosen rows of each bag along the components, averaged with their neighbours, and
    the axes (K, K) that persist.
    """
    persistent, chosen = PersistentAxes(components.shape[1]), []
    for bag, own, name in zip(bags, rows, centre):
        along = _project(bag.features, mean + offsets[name], components)
        for slide in range(len(bag.slide_ids)):
            here = np.flatnonzero(bag.slide_index == slide)
            pairs = neighbour_pairs(bag.xy_l0[here])
            persistent.add(
                along[here], pairs
            )  # single tiles: means share tiles, and any axis would seem to persist
            along[here] = with_neighbours(along[here], pairs)
        chosen.append(along[own])
    return chosen, persistent.axes()[0].astype(np.float32)


def _stable(
    unit: Features,
    patient_of: npt.NDArray[np.integer],
    numbers: Sequence[int],
    seed: int,
    rng: np.random.Generator,
) -> tuple[tuple[tuple[int, float], ...], tuple[Features, Array]]:
    """Return (number, mean stability) as tried, and the chosen codebook, (C, K), with its
    stability, (C,).

    Chosen is the smallest number whose mean stability is within one standard error of the highest
    (the one-standard-error rule: Breiman et al., Classification and Regression Trees, 1984, 3.4.3):
    a resample more or less should not split a kind of tissue.
    """
    wanted = min(numbers, default=NUMBERS[0])
    if not numbers or wanted >= len(unit):
        raise CohortError(
            f"The study has {len(unit)} tiles, too few to divide them into {wanted} phenotypes. Add"
            " slides, or tile them finer (tiles.mpp); everything but `discover` goes without."
        )
    codebooks = []
    for count in numbers:
        centres = _spherical(unit, count, seed)
        codebooks.append((centres, _stability(unit, patient_of, centres, rng)))
    means = np.array([found.mean() for _, found in codebooks])
    error = codebooks[means.argmax()][1].mean(axis=1).std(ddof=1) / np.sqrt(RESAMPLES)
    centres, found = codebooks[int(np.argmax(means >= means.max() - error))]
    return tuple((len(c), float(mean)) for (c, _), mean in zip(codebooks, means)), (
        centres,
        np.asarray(found.mean(axis=0)),
    )


def _project(features: npt.NDArray[np.floating], shift: Features, components: Features) -> Features:
    parts = [
        (np.asarray(features[start : start + ROWS_AT_ONCE], np.float32) - shift) @ components
        for start in range(0, len(features), ROWS_AT_ONCE)
    ]
    return np.concatenate(parts).astype(np.float32, copy=False)


def _unit(rows: Features) -> Features:
    length = np.linalg.norm(rows, axis=1, keepdims=True).astype(np.float32)
    return np.asarray(rows / np.maximum(length, np.float32(1e-9)), dtype=np.float32)


def _spherical(unit: Features, count: int, seed: int, restarts: int = 4) -> Features:
    centres = (
        KMeans(count, n_init=restarts, random_state=seed)
        .fit(unit)
        .cluster_centers_.astype(np.float32)
    )
    return _unit(centres)


def _stability(
    unit: Features, patient_of: npt.NDArray[np.integer], centres: Features, rng: np.random.Generator
) -> Array:
    """Return (RESAMPLES, C) how much of each cluster is found again when patients are resampled:
    its best Jaccard index.
    """
    own = (unit @ centres.T).argmax(axis=1)
    patients = np.unique(patient_of)
    found = []
    for _ in range(RESAMPLES):
        drawn = rng.choice(patients, len(patients))
        rows = np.flatnonzero(np.isin(patient_of, drawn))
        most = min(len(centres), len(rows))  # of few tiles, some of which were not drawn
        again = (
            unit @ _spherical(unit[rows], most, int(rng.integers(2**31)), restarts=1).T
        ).argmax(axis=1)
        overlap = np.zeros((len(centres), len(centres)))
        np.add.at(overlap, (own, again), 1)
        union = overlap.sum(axis=1, keepdims=True) + overlap.sum(axis=0, keepdims=True) - overlap
        found.append((overlap / np.maximum(union, 1)).max(axis=1))
    return np.array(found)
