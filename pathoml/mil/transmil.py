"""Tiles that look at each other before they are pooled, in the manner of TransMIL, at a cost linear
in the tiles.

Source: Shao et al., NeurIPS 2021, arXiv:2106.00908. TransMIL approximates self-attention by
landmarks that are means of consecutive tiles, and adds positions by folding the sequence of tiles
into a square: both depend on the order in which tiles were written. Here the landmarks are learned
(Lee et al., ICML 2019, arXiv:1810.00825), so that a patient's risk does not depend on that order. A
tile's part in the risk runs through all other tiles: there are no exact contributions, and the head
says so.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pathoml.types import HeadOutput

LANDMARKS = 16  # learned queries through which tiles exchange what they know
LAYERS = 2  # as in the paper


class Exchange(nn.Module):
    """Landmarks read the tiles, tiles read the landmarks; residual and normalised."""

    def __init__(self, hidden: int, dropout: float) -> None:
        super().__init__()
        self.before = nn.LayerNorm(hidden)
        self.landmark = nn.Linear(hidden, LANDMARKS)  # logits of each landmark for each tile
        self.value = nn.Linear(hidden, hidden)
        self.query = nn.Linear(hidden, LANDMARKS)  # logits of each tile for each landmark
        self.out = nn.Linear(hidden, hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tiles: Tensor, is_tile: Tensor) -> Tensor:
        normal = self.before(tiles)  # (B, N, H)
        reading = torch.softmax(
            self.landmark(normal).masked_fill(~is_tile[..., None], -torch.inf), dim=1
        )  # (B, N, L)
        landmarks = reading.transpose(1, 2) @ self.value(normal)  # (B, L, H)
        heard = torch.softmax(self.query(normal), dim=-1) @ landmarks  # (B, N, H)
        exchanged: Tensor = tiles + self.dropout(self.out(heard))
        return exchanged


class Head(nn.Module):
    """Two layers of exchange between tiles, pooled by attention."""

    exact = False
    read_out = ("risk.weight",)  # weights for another question come without it

    def __init__(self, in_dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.transform = nn.Linear(in_dim, hidden)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList([Exchange(hidden, dropout) for _ in range(LAYERS)])
        self.last = nn.LayerNorm(hidden)
        self.score = nn.Linear(hidden, 1)
        self.risk = nn.Linear(hidden, 1, bias=False)
        nn.init.zeros_(self.risk.weight)

    def forward(self, features: Tensor, is_tile: Tensor) -> HeadOutput:
        """Return risk and attention of (B, N, D) features; tiles where `is_tile` is False are
        padding. Contributions are zero.
        """
        tiles = self.dropout(torch.relu(self.transform(features)))  # (B, N, H)
        for layer in self.layers:
            tiles = layer(tiles, is_tile)
        tiles = self.last(tiles)
        attention = torch.softmax(
            self.score(tiles).squeeze(-1).masked_fill(~is_tile, -torch.inf), dim=1
        )  # (B, N) sums to 1
        log_risk = (attention * self.risk(tiles).squeeze(-1)).sum(1)  # (B,)
        return HeadOutput(
            log_risk=log_risk,
            attention=attention,
            contribution=torch.zeros_like(attention),
            bias=torch.zeros_like(log_risk),
        )
