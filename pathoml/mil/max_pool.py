"""The tile with the highest risk decides: the oldest form of multiple-instance learning, exact by
construction.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pathoml.types import HeadOutput


class Head(nn.Module):
    """The largest linear risk of a bag's tiles."""

    exact = True
    read_out = ("risk.weight",)  # weights for another question come without it

    def __init__(self, in_dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.transform = nn.Linear(in_dim, hidden)
        self.risk = nn.Linear(hidden, 1, bias=False)
        nn.init.normal_(self.risk.weight, std=1e-2)  # of zeros no tile would be the largest

    def forward(self, features: Tensor, is_tile: Tensor) -> HeadOutput:
        """Return risk, attention and contributions of (B, N, D) features; tiles where `is_tile` is
        False are padding.
        """
        read_out = self.risk(self.dropout(torch.relu(self.transform(features)))).squeeze(
            -1
        )  # (B, N)
        largest = (
            read_out.detach().masked_fill(~is_tile, -torch.inf).argmax(dim=1, keepdim=True)
        )  # (B, 1)
        attention = torch.zeros_like(read_out).scatter(
            1, largest, 1.0
        )  # (B, N) one for the tile that decides
        contribution = attention * read_out.masked_fill(~is_tile, 0.0)  # (B, N)
        return HeadOutput(
            log_risk=contribution.sum(1),  # (B,)
            attention=attention,
            contribution=contribution,
            bias=torch.zeros_like(contribution[:, 0]),  # (B,)
        )
