"""The mean of linear risks, as a head by name and as classes that are referred to."""

from __future__ import annotations

from torch import Tensor, nn

from pathoml.types import HeadOutput


class Head(nn.Module):
    """Mean of linear risks."""

    exact = True

    def __init__(self, in_dim: int, hidden: int, dropout: float) -> None:  # noqa: ARG002
        super().__init__()
        self.risk = nn.Linear(in_dim, 1, bias=False)
        nn.init.zeros_(self.risk.weight)

    def forward(self, features: Tensor, is_tile: Tensor) -> HeadOutput:
        attention = is_tile.to(features.dtype) / is_tile.sum(1, keepdim=True)  # (B, N)
        contribution = attention * self.risk(features).squeeze(-1)  # (B, N)
        return HeadOutput(
            log_risk=contribution.sum(1),
            attention=attention,
            contribution=contribution,
            bias=contribution[:, 0] * 0,
        )


class Narrow(Head):
    """Asks for less than it could have."""

    def __init__(self, in_dim: int) -> None:
        super().__init__(in_dim, 0, 0.0)


class Greedy(Head):
    """Asks for what nobody gives."""

    def __init__(self, in_dim: int, classes: int) -> None:  # noqa: ARG002
        super().__init__(in_dim, 0, 0.0)
