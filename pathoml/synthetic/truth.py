"""Hold maps against the truth of a synthetic or composed cohort. Only demo, benchmarks and tests
read truth; the pipeline never does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pathoml.types import Array, AttentionMap, Floats

PURE = 0.7  # a tile belongs to a class if at least this share of it does


@dataclass(frozen=True, kw_only=True)
class MapAgreement:
    """Area under the ROC curve of a map for the driver tissue over other tissue, on pure tiles,
    value times tiles in the bag.
    """

    contribution: float  # pooled over tiles
    contribution_by_slide: float  # mean of the slides that have both
    attention: float  # pooled
    tiles: int


def class_shares(
    classes: npt.NDArray[np.uint8],
    cell_l0: float,
    xy_l0: npt.NDArray[np.integer],
    *,
    tile_l0: int,
    n_classes: int,
) -> Array:
    """Return (N, n_classes + 1) the share of each class in each tile; column 0 is glass.

    Args:
        classes: (H, W) class of each cell of `cell_l0` level-0 pixels.
    """
    shares = np.zeros((len(xy_l0), n_classes + 1))
    for i, (x, y) in enumerate(xy_l0):
        rows = slice(
            int(y / cell_l0), max(int(np.ceil((y + tile_l0) / cell_l0)), int(y / cell_l0) + 1)
        )
        columns = slice(
            int(x / cell_l0), max(int(np.ceil((x + tile_l0) / cell_l0)), int(x / cell_l0) + 1)
        )
        cells = classes[rows, columns].ravel()
        shares[i] = np.bincount(cells, minlength=n_classes + 1)[: n_classes + 1] / max(
            len(cells), 1
        )
    return shares


def roc_auc(is_positive: npt.NDArray[np.bool_], values: Floats) -> float:
    """Return the probability that a positive has a higher value than a negative, ties a half; NaN
    if one kind is missing.

    >>> roc_auc(np.array([True, False, True]), np.array([3.0, 1.0, 2.0]))
    1.0
    """
    from scipy.stats import rankdata

    positives, negatives = int(is_positive.sum()), int((~is_positive).sum())
    if not positives or not negatives:
        return float("nan")
    return float(
        (rankdata(values)[is_positive].sum() - positives * (positives + 1) / 2)
        / (positives * negatives)
    )


def map_agreement(
    maps: Sequence[AttentionMap], truth: Path, driver: int, *, n_classes: int
) -> MapAgreement:
    """Compare maps with truth/SLIDE.npz.

    Args:
        maps: all slides of all patients.
        driver: the class whose share drives the hazard.
    """
    bag_size: dict[str, int] = {}
    for tile_map in maps:
        bag_size[tile_map.patient_id] = bag_size.get(tile_map.patient_id, 0) + len(tile_map.xy_l0)
    is_driver, contribution, attention, by_slide = [], [], [], []
    for tile_map in maps:
        with np.load(truth / f"{tile_map.slide_id}.npz", allow_pickle=False) as stored:
            shares = class_shares(
                stored["classes"],
                float(stored["cell_l0"]),
                tile_map.xy_l0,
                tile_l0=tile_map.tile_l0,
                n_classes=n_classes,
            )
        pure = shares[:, 1:].max(axis=1) >= PURE
        n = bag_size[tile_map.patient_id]
        is_driver.append(shares[pure].argmax(axis=1) == driver)
        contribution.append(tile_map.contribution[pure] * n)
        attention.append(tile_map.attention[pure] * n)
        by_slide.append(roc_auc(is_driver[-1], contribution[-1]))
    labels = np.concatenate(is_driver)
    return MapAgreement(
        contribution=roc_auc(labels, np.concatenate(contribution)),
        contribution_by_slide=float(np.nanmean(by_slide))
        if not np.isnan(by_slide).all()
        else float("nan"),
        attention=roc_auc(labels, np.concatenate(attention)),
        tiles=len(labels),
    )
