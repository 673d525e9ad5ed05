"""A slide as one vector, for baselines that see no single tile: SLIDE.npz with mean and covariance
of its features, for numpy alone.

    tiles       ()                N, to weigh the slides of a patient
    mean        (D,)              of the N tiles' features
    variance    (D,)              of each feature, divided by N: diagonal of the whole covariance
    covariance  (K (K + 1) / 2,)  of features @ projection, divided by N: the upper triangle with
                                  the diagonal, row by row

A covariance of 1536 features has over a million entries, more than any cohort pays for. So it is
taken of K = 32 random directions, which keep distances and lengths on average, know neither
patients nor outcomes, and are the same for every encoder of D features: projection.npy (D, K).
Principal components would have to be fitted on training patients only, anew for each fold. Where D
is at most K, the projection is the identity.

Source: Johnson & Lindenstrauss, Contemporary Mathematics 26 (1984) 189-206; Dasgupta & Gupta,
Random Structures & Algorithms 22 (2003) 60-65.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pathoml.config import Study
from pathoml.interop._features import study_embeddings
from pathoml.store.files import write_bytes
from pathoml.types import Exchange, Floats

DIRECTIONS = 32
SEED = 1
ROWS_AT_ONCE = 4096  # tiles turned into float64 together
PROJECTION = "projection.npy"


def export_to(study: Study, target: Path) -> Exchange:
    """Write SLIDE.npz for every slide, and projection.npy.

    Raises:
        ConfigError: the study has no embeddings.
        StoreError: a file of embeddings is torn or changed.
    """
    written: list[Path] = []
    projection = np.empty((0, 0))
    for slide in study_embeddings(study):
        if projection.shape[0] != slide.features.shape[1]:
            projection = random_directions(slide.features.shape[1])  # (D, K)
            _save(target / PROJECTION, projection)
        mean, variance, covariance = pooled(slide.features, projection)
        made = io.BytesIO()
        np.savez(
            made,
            tiles=np.int64(len(slide.features)),
            mean=mean,
            variance=variance,
            covariance=covariance,
        )
        write_bytes(target / f"{slide.slide_id}.npz", made.getvalue())
        written.append(target / f"{slide.slide_id}.npz")
    return Exchange(
        files=(*written, target / PROJECTION),
        notes=(f"{projection.shape[0]} features, {projection.shape[1]} directions",),
    )


def pooled(features: Floats, projection: Floats) -> tuple[npt.NDArray[np.float32], ...]:
    """Return mean, variance and covariance of (N, D) features, the last of them projected and as an
    upper triangle.

    >>> two_tiles = np.array([[0.0, 2.0], [4.0, 2.0]])
    >>> [values.tolist() for values in pooled(two_tiles, np.eye(2))]
    [[2.0, 2.0], [4.0, 0.0], [4.0, 0.0, 0.0]]
    """
    count, starts = len(features), range(0, len(features), ROWS_AT_ONCE)
    mean = features.mean(axis=0, dtype=np.float64)  # (D,)
    variance = np.zeros(features.shape[1])
    covariance = np.zeros((projection.shape[1],) * 2)
    for start in starts:
        centred = features[start : start + ROWS_AT_ONCE] - mean  # (rows, D) float64
        projected = centred @ projection  # (rows, K)
        variance += np.square(centred).sum(axis=0)
        covariance += projected.T @ projected
    upper = (covariance / count)[np.triu_indices(projection.shape[1])]
    return mean.astype(np.float32), (variance / count).astype(np.float32), upper.astype(np.float32)


def random_directions(dim: int) -> npt.NDArray[np.float64]:
    """Return (D, K) directions, normal with variance 1 / K, so that a vector's length is kept on
    average.
    """
    if dim <= DIRECTIONS:
        return np.eye(dim)
    return np.asarray(
        np.random.default_rng(SEED).standard_normal((dim, DIRECTIONS)) / np.sqrt(DIRECTIONS)
    )


def _save(path: Path, array: Floats) -> None:
    made = io.BytesIO()
    np.save(made, array)
    write_bytes(path, made.getvalue())
