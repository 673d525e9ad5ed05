"""Ridge Cox on the mean embedding, as a head: linear in every tile, so that its map is exact;
solved, not trained (training/fit.py).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pathoml.types import HeadOutput


class Head(nn.Module):
    """Uniform attention over tiles, linear risk of the features as they are."""

    exact = True
    # the penalised likelihood has one maximum: nothing is sampled, and seeds change nothing
    solved = True

    def __init__(self, in_dim: int, hidden: int, dropout: float) -> None:  # noqa: ARG002 - heads share one signature
        super().__init__()
        self.risk = nn.Linear(in_dim, 1, bias=False)
        nn.init.zeros_(self.risk.weight)

    def forward(self, features: Tensor, is_tile: Tensor) -> HeadOutput:
        """Return risk, attention and contributions of (B, N, D) features; tiles where `is_tile` is
        False are padding.
        """
        attention = is_tile.to(features.dtype) / is_tile.sum(1, keepdim=True)  # (B, N)
        contribution = attention * self.risk(features).squeeze(-1)  # (B, N)
        return HeadOutput(
            log_risk=contribution.sum(1),  # (B,)
            attention=attention,
            contribution=contribution,
            bias=torch.zeros_like(contribution[:, 0]),  # (B,)
        )
