"""Single-branch attention in the manner of CLAM: a narrower gate with dropout of its own, and a
risk read-out of the pooled bag.

Source: Lu et al., Nat Biomed Eng 5 (2021) 555-570 (architecture). Left out: its instance-level
clustering loss, which takes the most attended tiles of a class as examples of that class; survival
has no class. The read-out is linear in the pooled tiles, so that contributions are exact all the
same.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from pathoml.types import HeadOutput

GATE_DROPOUT = 0.25  # CLAM's, on both branches of the gate


class Head(nn.Module):
    """Gated attention half as wide as the transform, linear risk of the bag."""

    exact = True
    read_out = ("risk.weight",)  # weights for another question come without it
    # CLAM_SB, whose layers are counted with their dropout or without; its classes are left out
    also_named: ClassVar = {
        f"attention_net.{theirs}.{part}": f"{ours}.{part}"
        for number in (2, 3)
        for theirs, ours in (
            ("0", "transform"),
            (f"{number}.attention_a.0", "content"),
            (f"{number}.attention_b.0", "gate"),
            (f"{number}.attention_c", "score"),
        )
        for part in ("weight", "bias")
    }
    left_out = ("classifiers.", "instance_classifiers.")

    def __init__(self, in_dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.tanh = nn.Tanh()
        self.gate_dropout = nn.Dropout(min(GATE_DROPOUT, dropout))
        self.transform = nn.Linear(in_dim, hidden)
        self.content = nn.Linear(hidden, max(1, hidden // 2))
        self.gate = nn.Linear(hidden, max(1, hidden // 2))
        self.score = nn.Linear(max(1, hidden // 2), 1)
        self.risk = nn.Linear(hidden, 1, bias=False)  # the Cox likelihood knows no intercept
        nn.init.zeros_(self.risk.weight)

    def forward(self, features: Tensor, is_tile: Tensor) -> HeadOutput:
        """Return risk, attention and contributions of (B, N, D) features; tiles where `is_tile` is
        False are padding.
        """
        features = self.dropout(torch.relu(self.transform(features)))  # (B, N, H)
        content = self.gate_dropout(self.tanh(self.content(features)))
        gated = content * self.gate_dropout(torch.sigmoid(self.gate(features)))  # (B, N, H / 2)
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
