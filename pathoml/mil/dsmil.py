"""Two streams: the critical tile, and attention by likeness to it; the risk is their mean, and both
parts are sums over tiles.

Source: Li, Li & Eliceiri, CVPR 2021, arXiv:2011.08939. The multi-scale features of the paper are
left to the encoder.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pathoml.types import HeadOutput


class Head(nn.Module):
    """Mean of the critical tile's risk and of the risk pooled by likeness to that tile."""

    exact = True
    read_out = (
        "tile_risk.weight",
        "bag_risk.weight",
    )  # weights for another question come without it

    def __init__(self, in_dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.transform = nn.Linear(in_dim, hidden)
        self.query = nn.Linear(hidden, hidden)
        self.tile_risk = nn.Linear(hidden, 1, bias=False)  # stream of the critical tile
        self.bag_risk = nn.Linear(hidden, 1, bias=False)  # stream of the pooled bag
        nn.init.normal_(self.tile_risk.weight, std=1e-2)  # of zeros no tile would be critical
        nn.init.zeros_(self.bag_risk.weight)

    def forward(self, features: Tensor, is_tile: Tensor) -> HeadOutput:
        """Return risk, attention and contributions of (B, N, D) features; tiles where `is_tile` is
        False are padding.
        """
        features = self.dropout(torch.relu(self.transform(features)))  # (B, N, H)
        tile_risk = self.tile_risk(features).squeeze(-1)  # (B, N)
        critical = (
            tile_risk.detach().masked_fill(~is_tile, -torch.inf).argmax(dim=1, keepdim=True)
        )  # (B, 1)
        one = torch.zeros_like(tile_risk).scatter(1, critical, 1.0)  # (B, N)
        query = torch.tanh(self.query(features))  # (B, N, H)
        critical_query = (one[..., None] * query).sum(1, keepdim=True)  # (B, 1, H)
        likeness = (query * critical_query).sum(-1) / query.shape[-1] ** 0.5  # (B, N)
        pooled = torch.softmax(
            likeness.masked_fill(~is_tile, -torch.inf), dim=1
        )  # (B, N) sums to 1
        contribution = (
            one * tile_risk + pooled * self.bag_risk(features).squeeze(-1)
        ) / 2  # (B, N)
        return HeadOutput(
            log_risk=contribution.sum(1),  # (B,)
            attention=(one + pooled) / 2,  # (B, N) sums to 1
            contribution=contribution,
            bias=torch.zeros_like(contribution[:, 0]),  # (B,)
        )
