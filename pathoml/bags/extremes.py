"""The extreme tiles of a bag: along each component, the mean of its highest and lowest tiles.

A small focus moves the mean of all tiles by less than patients differ anyway; it moves the extremes
by much. No outcome is used, so that they may be read once for every model of a fold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pathoml.bags.harmonisation import Harmonisation
from pathoml.bags.reading import ROWS_AT_ONCE, feature_parts
from pathoml.bags.tile_bank import (
    Projection,
    StackedProjection,
    places_by_centre,
    seen_in_centre,
)
from pathoml.types import Bag

SHARE = 0.02  # of a bag's tiles at each end of a component; at least one
TOGETHER = 8  # projections that a bag is read under at once


def extreme_count(tiles: Tensor) -> Tensor:
    """Return how many tiles stand at each end of a component, (B,) of (B,) tiles in a bag.

    >>> extreme_count(torch.tensor([1, 60, 1000]))
    tensor([ 1,  1, 20])
    """
    return (SHARE * tiles).round().clamp(min=1).long()


class ComponentStatistics(NamedTuple):
    """What the tiles of every bag show along each component, under each projection."""

    extremes: Tensor  # (F, B, 2, K) the mean of the highest tiles, and that of the lowest
    mean_square: Tensor  # (F, B, K) of all tiles; the projection's own centre is zero


def component_statistics(
    bags: Sequence[Bag],
    projections: Sequence[Projection],
    device: torch.device,
    *,
    harmonisations: Sequence[Harmonisation] = (),
    centres: Sequence[str] | npt.NDArray[np.str_] = (),
) -> ComponentStatistics:
    """Read every bag under each projection.

    Args:
        harmonisations: of each projection, which is of harmonised tiles then; () = as they are.
        centres: (B,) of the bags, where there are harmonisations.
    """
    width = projections[0][1].shape[-1]
    extremes = torch.empty(len(projections), len(bags), 2, width)
    mean_square = torch.empty(len(projections), len(bags), width)
    for first in range(0, len(projections), TOGETHER):
        some = slice(first, min(first + TOGETHER, len(projections)))
        for centre, mine in places_by_centre(len(bags), harmonisations, centres).items():
            seen = seen_in_centre(projections[some], harmonisations[some], centre)
            project = StackedProjection(seen)
            for b in mine:
                extremes[some, b], mean_square[some, b] = _of_bag(bags[b], project, device)
    return ComponentStatistics(extremes, mean_square)


def _of_bag(bag: Bag, project: StackedProjection, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return (F, 2, K) extremes and (F, K) mean squares of one bag, whose tiles are never held
    together: of each part the k outermost are kept.
    """
    k = int(extreme_count(torch.tensor(len(bag.features))))
    kept: list[Tensor] = []  # (F, K, at most k) the highest so far, and the lowest
    square = torch.zeros(())
    for part in feature_parts(bag):
        for start in range(0, len(part), ROWS_AT_ONCE):
            rows = torch.from_numpy(part[start : start + ROWS_AT_ONCE]).to(device).float()
            # along the last axis the search is an order of magnitude faster
            columns = project(rows).transpose(1, 2).contiguous()  # (F, K, rows)
            square = square.to(device) + columns.square().sum(-1)
            beside = [torch.cat([some, columns], -1) for some in kept] or [columns, columns]
            kept = [
                values.topk(min(k, values.shape[-1]), largest=largest).values
                for values, largest in zip(beside, (True, False))
            ]
    high, low = (some.mean(-1) for some in kept)  # (F, K) each
    return torch.stack([high, low], dim=1).cpu(), (square / len(bag.features)).cpu()
