"""Gated attention with a linear risk read-out of each tile, so that every tile's contribution to
the risk is exact.

Source: Ilse, Tomczak & Welling, ICML 2018, arXiv:1802.04712 (gated attention); the read-out w h_i
of each transformed tile before pooling makes log_risk = sum_i a_i (w h_i), which is the additive
form of Javed et al., NeurIPS 2022, arXiv:2206.01794.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from pathoml.types import HeadOutput


class Head(nn.Module):
    """Gated attention over tiles, linear risk."""

    exact = True
    read_out = ("risk.weight",)  # weights for another question come without it
    # MIL-Lab's ABMIL with one layer, one gate and one head (Shao et al., ICML 2025,
    # arXiv:2506.09022; src/models/abmil.py): the same sum before its classes. Its attention may be
    # narrower than its transform (384 of 512): units of zeros say nothing and never learn
    also_named: ClassVar = {
        f"{theirs}.{part}": f"{ours}.{part}"
        for theirs, ours in (
            ("patch_embed.0", "transform"),
            ("global_attn.attention_a.0", "content"),
            ("global_attn.attention_b.0", "gate"),
            ("global_attn.attention_c", "score"),
        )
        for part in ("weight", "bias")
    }
    may_be_narrower = ("content.weight", "content.bias", "gate.weight", "gate.bias", "score.weight")
    left_out = ("classifier.",)

    def __init__(self, in_dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.transform = nn.Linear(in_dim, hidden)
        self.content = nn.Linear(hidden, hidden)
        self.tanh = nn.Tanh()
        self.gate = nn.Linear(hidden, hidden)
        self.score = nn.Linear(hidden, 1)
        self.risk = nn.Linear(hidden, 1, bias=False)  # the Cox likelihood knows no intercept
        nn.init.zeros_(self.risk.weight)  # what is not learned must not colour the map

    def forward(self, features: Tensor, is_tile: Tensor) -> HeadOutput:
        """Return risk, attention and contributions of (B, N, D) features; tiles where `is_tile` is
        False are padding.
        """
        features = self.dropout(torch.relu(self.transform(features)))
        gated = self.tanh(self.content(features)) * torch.sigmoid(self.gate(features))  # (B, N, H)
        attention_logits = self.score(gated).squeeze(-1)  # (B, N)
        attention = torch.softmax(
            attention_logits.masked_fill(~is_tile, -torch.inf), dim=1
        )  # (B, N) sums to 1
        contribution = attention * self.risk(features).squeeze(-1)  # (B, N)
        return HeadOutput(
            log_risk=contribution.sum(1),  # (B,)
            attention=attention,
            contribution=contribution,
            bias=torch.zeros_like(contribution[:, 0]),  # (B,)
        )
