"""All tiles of a cohort as the models see them: through F projections, packed, or raw and scaled when there is no projection.

Projected once, read in every epoch and for the full-bag scores. Models of one fold share a projection, so what is stored grows
with the folds, not with the models.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pathoml.bags import feature_parts
from pathoml.types import Bag

ROWS_AT_ONCE = 4096  # tiles converted to float32 together: 16 MB at 1024 dimensions, which stays in the cache
Projection = tuple[Tensor, Tensor]  # mean (D,) and components (D, K), or a scale a dimension (D,)


class TileBank:
    """The tiles of all bags under F projections."""

    def __init__(self, bags: Sequence[Bag], projections: Sequence[Projection], device: torch.device) -> None:
        self.sizes = [len(b.features) for b in bags]
        self.starts = np.concatenate([[0], np.cumsum(self.sizes)])  # (B + 1,)
        self.device = device
        self._projections = list(projections)
        if projections[0][1].ndim == 1:
            self._raw: Tensor | None = torch.cat([torch.from_numpy(part) for b in bags for part in feature_parts(b)]).to(device)
            self.width = self._raw.shape[1]
            return
        self._raw = None
        self.width = projections[0][1].shape[1]
        self._projected = torch.empty(len(projections), int(self.starts[-1]), self.width, device=device)  # (F, sum N, K)
        stacked = StackedProjection(projections)
        start = 0
        for bag in bags:
            for part in feature_parts(bag):
                for first in range(0, len(part), ROWS_AT_ONCE):
                    rows = torch.from_numpy(part[first : first + ROWS_AT_ONCE]).to(device).float()  # (rows, D)
                    self._projected[:, start : start + len(rows)] = stacked(rows)
                    start += len(rows)

    def take(self, projection_of: Sequence[int], rows: Tensor) -> Tensor:
        """Return (M, b, n, K) the tiles at packed rows (M, b, n), model m seeing them through projection_of[m]."""
        if self._raw is None:
            return torch.stack([self._projected[f].index_select(0, r.flatten()).view(*r.shape, -1) for f, r in zip(projection_of, rows)])
        values = self._raw[rows].float()  # (M, b, n, D)
        mean, scale = (torch.stack([self._projections[f][k] for f in projection_of])[:, None, None] for k in (0, 1))
        return (values - mean) * scale


class StackedProjection:
    """F projections as one product, several times faster than F small ones."""

    def __init__(self, projections: Sequence[Projection]) -> None:
        self.count = len(projections)
        self.is_scale = projections[0][1].ndim == 1
        self._means = torch.stack([mean for mean, _ in projections])  # (F, D)
        if self.is_scale:
            self._scales = torch.stack([scale for _, scale in projections])  # (F, D)
        else:
            self._components = torch.cat([components for _, components in projections], dim=1)  # (D, F * K)
            self._offset = torch.cat([mean @ components for mean, components in projections])  # (F * K,)

    def __call__(self, features: Tensor) -> Tensor:
        """Return (F, N, K) of (N, D) float32 features."""
        if self.is_scale:
            return (features[None] - self._means[:, None]) * self._scales[:, None]
        projected = torch.addmm(-self._offset, features, self._components)  # (N, F * K)
        return projected.view(len(features), self.count, -1).transpose(0, 1)  # (F, N, K)
