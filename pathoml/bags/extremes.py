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
                columns = _columns(bags[b], project, device)  # (F, K, N)
                k = int(extreme_count(torch.tensor(columns.shape[-1])))
                for end, largest in enumerate((True, False)):
                    extremes[some, b, end] = columns.topk(k, largest=largest).values.mean(-1).cpu()
                mean_square[some, b] = columns.square().mean(-1).cpu()
    return ComponentStatistics(extremes, mean_square)


def _columns(bag: Bag, project: StackedProjection, device: torch.device) -> Tensor:
    parts = [
        project(torch.from_numpy(part[start : start + ROWS_AT_ONCE]).to(device).float())
        for part in feature_parts(bag)
        for start in range(0, len(part), ROWS_AT_ONCE)
    ]  # (F, rows, K) each
    # along the last axis the search is an order of magnitude faster
    return torch.cat(parts, dim=1).transpose(1, 2).contiguous()
