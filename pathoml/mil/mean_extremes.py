"""Ridge Cox on the mean of all tiles and on the extreme tiles, stacked: what a share of tissue says
and what a small focus says, each as far as the training patients support it. Exact; solved, not
trained (training/solving.py).

The second branch reads, along each principal component of the tiles, the mean of the few highest
and of the few lowest tiles: attention of a fixed form, which no outcome has chosen. A focus of one
per cent of the tiles moves the mean by less than patients differ, and the extremes by much.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pathoml.bags.extremes import extreme_count
from pathoml.types import Array, HeadOutput

Triple = tuple[Array, Array, Array]


class Readout(NamedTuple):
    """A linear log-risk of a (K,) statistic of a bag."""

    weights: Array  # (K,) log hazard ratio per unit
    centre: Array  # (K,) of the training patients' statistics: there the branch is zero
    sd: Array  # (K,) of the training patients' statistics


class Head(nn.Module):
    """Uniform attention for the mean, and for each component the tiles at its two ends."""

    exact = True
    # both penalised likelihoods have one maximum: nothing is sampled, and seeds change nothing
    solved = True
    branches = ("mean", "extremes")

    def __init__(self, in_dim: int, hidden: int, dropout: float) -> None:  # noqa: ARG002 - heads share one signature
        super().__init__()
        self.mean = nn.Linear(in_dim, 1)
        # for each end of each component: log-risk per unit, log-risk at the training patients'
        # mean, and the share of the score that rests on it
        for end in ("high", "low"):
            for what in ("weight", "zero", "share"):
                self.add_module(f"{end}_{what}", nn.Linear(in_dim, 1, bias=False))
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def _of(self, end: str, what: str) -> nn.Linear:
        layer: Any = self.get_submodule(f"{end}_{what}")  # of many models, where they are stacked
        return cast("nn.Linear", layer)

    @torch.no_grad()
    def set_branches(self, mean: Triple, high: Triple, low: Triple) -> None:
        """Take over what was solved: of the mean, and of the means of the highest and of the lowest
        tiles, what a Readout holds, over the features that the head is given.
        """
        mean, high, low = Readout(*mean), Readout(*high), Readout(*low)
        self.mean.weight.copy_(_row(mean.weights))
        self.mean.bias.fill_(-float(mean.weights @ mean.centre))
        reach = [np.abs(one.weights) * one.sd for one in (mean, high, low)]  # (K,) each, log hazard
        total = sum(float(r.sum()) for r in reach)
        for end, one, own in (("high", high, reach[1]), ("low", low, reach[2])):
            self._of(end, "weight").weight.copy_(_row(one.weights))
            self._of(end, "zero").weight.copy_(_row(one.weights * one.centre))
            share = own / total if total > 0 else np.zeros_like(own)
            self._of(end, "share").weight.copy_(_row(share))

    def forward(self, features: Tensor, is_tile: Tensor) -> HeadOutput:
        """Return risk, attention and contributions of (B, N, K) features; tiles where `is_tile` is
        False are padding.

        Attention is the share of the score's spread over patients that rests on a tile: of the mean
        on every tile alike, of an extreme on the tiles at that end.
        """
        tiles = is_tile.to(features.dtype)
        uniform = tiles / tiles.sum(1, keepdim=True)  # (B, N)
        contribution = uniform * self.mean(features).squeeze(-1)  # (B, N)
        attention = torch.zeros_like(uniform)  # (B, N)
        for end, sign in (("high", 1), ("low", -1)):
            chosen = chosen_tiles(sign * features, is_tile)  # (B, N, K)
            weight, zero, share = (self._of(end, what) for what in ("weight", "zero", "share"))
            contribution = contribution + (weight(chosen * features) - zero(chosen)).squeeze(-1)
            attention = attention + share(chosen).squeeze(-1)
        attention = attention + uniform * (1 - attention.sum(1, keepdim=True))
        return HeadOutput(
            log_risk=contribution.sum(1),  # (B,)
            attention=attention,  # (B, N) sums to 1
            contribution=contribution,
            bias=torch.zeros_like(contribution[:, 0]),  # (B,)
        )


def chosen_tiles(features: Tensor, is_tile: Tensor) -> Tensor:
    """Return (B, N, K) 1 / k for the k tiles of a bag that are highest along a component, else 0;
    k as in bags/extremes.py.
    """
    k = extreme_count(is_tile.sum(1))  # (B,)
    values = features.masked_fill(~is_tile[..., None], -torch.inf)
    most = int(extreme_count(torch.tensor(features.shape[1])))  # no bag has more tiles
    place = values.topk(most, dim=1).indices  # (B, k, K), highest first
    rank = torch.arange(place.shape[1], device=place.device)[:, None]  # (k, 1)
    weight = torch.where(rank < k[:, None, None], 1 / k[:, None, None], 0.0)  # (B, k, 1)
    return torch.zeros_like(features).scatter(
        1, place, weight.to(features.dtype).expand(place.shape)
    )


def _row(values: npt.NDArray[np.floating]) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32))[None]
