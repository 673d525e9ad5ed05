"""All tiles of a cohort as the models see them: through F projections, packed, or raw and scaled
when there is no projection.

Projected once, read in every epoch and for the full-bag scores. Models of one fold share a
projection, so what is stored grows with the folds, not with the models.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pathoml.bags.harmonisation import Harmonisation
from pathoml.bags.reading import ROWS_AT_ONCE, Rows, feature_parts
from pathoml.types import Bag

SCALED_BYTES = 2**28  # small cohorts are scaled once for each fold, larger ones anew in each epoch
RESIDENT_SHARE = 0.6  # of the free GPU memory; the rest is for the models
Projection = tuple[Tensor, Tensor]  # mean (D,) and components (D, K), or a scale a dimension (D,)


class TileBank:
    """The tiles of all bags under F projections."""

    def __init__(
        self,
        bags: Sequence[Bag],
        projections: Sequence[Projection],
        device: torch.device,
        *,
        harmonisations: Sequence[Harmonisation] = (),
        centres: Sequence[str] | npt.NDArray[np.str_] = (),
    ) -> None:
        """Project the tiles of all bags.

        Args:
            harmonisations: of each projection, which is of harmonised tiles then; () = as they are.
            centres: (B,) of the bags, where there are harmonisations.
        """
        self.sizes = [len(b.features) for b in bags]
        self.starts = np.concatenate([[0], np.cumsum(self.sizes)])  # (B + 1,)
        self.device = device
        self._parts: Rows | None = None
        self.width = projections[0][1].shape[-1]
        of_centre = places_by_centre(len(bags), harmonisations, centres)
        self._centre_of = np.empty(len(bags), np.int64)  # (B,) place of its centre in them
        for place, alike in enumerate(of_centre.values()):
            self._centre_of[alike] = place
        if (
            projections[0][1].ndim == 1
            and len(projections) * int(self.starts[-1]) * self.width * 4 > SCALED_BYTES
        ):
            seen = [seen_in_centre(projections, harmonisations, centre) for centre in of_centre]
            self._means, self._scales = (
                torch.stack([torch.stack([one[k] for one in of]) for of in seen]) for k in (0, 1)
            )  # (C, F, D)
            self._parts = Rows([part for b in bags for part in feature_parts(b)])
            self._resident = (
                torch.from_numpy(np.asarray(self._parts)).to(device)
                if _fits(self._parts, device)
                else None
            )  # (sum N, D)
            return
        self._projected = torch.empty(
            len(projections), int(self.starts[-1]), self.width, device=device
        )  # (F, sum N, K)
        for centre, places in of_centre.items():
            stacked = StackedProjection(seen_in_centre(projections, harmonisations, centre))
            for mine in places:
                start = int(self.starts[mine])
                for part in feature_parts(bags[mine]):
                    for first in range(0, len(part), ROWS_AT_ONCE):
                        rows = (
                            torch.from_numpy(part[first : first + ROWS_AT_ONCE]).to(device).float()
                        )  # (rows, D)
                        self._projected[:, start : start + len(rows)] = stacked(rows)
                        start += len(rows)

    def take(self, projection_of: Sequence[int], rows: Tensor) -> Tensor:
        """Return (M, b, n, K) the tiles at packed rows (M, b, n), model m seeing them through
        projection_of[m]; rows[m, i] are tiles of one bag.
        """
        if self._parts is None:
            first = torch.tensor(projection_of, device=self.device)[:, None, None] * int(
                self.starts[-1]
            )  # (M, 1, 1)
            return (
                self._projected.view(-1, self.width)
                .index_select(0, (rows + first).flatten())
                .view(*rows.shape, -1)
            )
        if self._resident is not None:
            values = self._resident[rows].float()  # (M, b, n, D)
        else:
            values = (
                torch.from_numpy(self._parts[rows.cpu().numpy()]).to(self.device).float()
            )  # (M, b, n, D)
        model = torch.tensor(projection_of, device=self.device)[:, None]  # (M, 1)
        centre = self._centres(rows)  # (M, b) or (1, 1)
        mean, scale = (
            table[centre, model][:, :, None] for table in (self._means, self._scales)
        )  # (M, b, 1, D) or (M, 1, 1, D)
        return (values - mean) * scale

    def _centres(self, rows: Tensor) -> Tensor:
        """Return (M, b) the place of the centre of each of these bags; (1, 1) of one alone."""
        if len(self._means) == 1:
            return torch.zeros(1, 1, dtype=torch.int64, device=self.device)
        bag = np.searchsorted(self.starts, rows[:, :, 0].cpu().numpy(), side="right") - 1
        return torch.from_numpy(self._centre_of[bag]).to(self.device)


def places_by_centre(
    bags: int,
    harmonisations: Sequence[Harmonisation],
    centres: Sequence[str] | npt.NDArray[np.str_],
) -> dict[str, list[int]]:
    """Return the places of so many bags that are projected alike: by their centres, or all under
    "" where nothing is harmonised.

    >>> places_by_centre(3, (), ())
    {'': [0, 1, 2]}
    """
    if not harmonisations:
        return {"": list(range(bags))}
    places: dict[str, list[int]] = {}
    for place, centre in enumerate(centres):
        places.setdefault(str(centre), []).append(place)
    return places


def seen_in_centre(
    projections: Sequence[Projection], harmonisations: Sequence[Harmonisation], centre: str
) -> list[Projection]:
    """Return the F projections as they take raw tiles of a centre; as they are where nothing is
    harmonised.
    """
    if not harmonisations:
        return list(projections)
    return [
        one.seen_through(projection, centre)
        for one, projection in zip(harmonisations, projections, strict=True)
    ]


def _fits(parts: Rows, device: torch.device) -> bool:
    """Return whether unprojected features may lie in the GPU's memory; on a CPU they stay in the
    mapped files.
    """
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return parts.shape[0] * parts.shape[1] * parts.dtype.itemsize < RESIDENT_SHARE * free


def where_tiles_lie(projection: int | None, device: torch.device) -> str:
    """Return a sentence for the log: how the models see the tiles, and from where."""
    memory = "GPU memory" if device.type == "cuda" else "memory"
    if projection:
        return (
            f"tiles are seen through {projection} principal components of each training fold, kept"
            f" in {memory}"
        )
    where = "GPU memory where they fit" if device.type == "cuda" else "the mapped files"
    return f"tiles are seen with all features, scaled by training fold, from {where}"


class StackedProjection:
    """F projections as one product, several times faster than F small ones."""

    def __init__(self, projections: Sequence[Projection]) -> None:
        self.count = len(projections)
        self.is_scale = projections[0][1].ndim == 1
        self._means = torch.stack([mean for mean, _ in projections])  # (F, D)
        if self.is_scale:
            self._scales = torch.stack([scale for _, scale in projections])  # (F, D)
        else:
            self._components = torch.cat(
                [components for _, components in projections], dim=1
            )  # (D, F * K)
            self._offset = torch.cat(
                [mean @ components for mean, components in projections]
            )  # (F * K,)

    def __call__(self, features: Tensor) -> Tensor:
        """Return (F, N, K) of (N, D) float32 features."""
        if self.is_scale:
            return (features[None] - self._means[:, None]) * self._scales[:, None]
        projected = torch.addmm(-self._offset, features, self._components)  # (N, F * K)
        return projected.view(len(features), self.count, -1).transpose(0, 1)  # (F, N, K)
