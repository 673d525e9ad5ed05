"""Contributions for heads that have no exact ones: integrated gradients along the path from the
bag's average tile to each tile.

They sum to the risk of the bag less that of a bag of average tiles, to within INCOMPLETE; that is
not the score, and the map says how it was made.

Source: Sundararajan, Taly & Yan, ICML 2017, arXiv:1703.01365 (integrated gradients; completeness).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pathoml.bags.tile_bank import StackedProjection
from pathoml.training.model_stack import ModelStack

PATH_STEPS = 16  # midpoints of the path to begin with
# times as many where that was too coarse: midpoints of thirds keep those that are there
REFINED = 3
MOST_STEPS = 432
# largest |sum - difference of risks| over the sum of the parts' sizes; beyond it the path is
# refined
INCOMPLETE = 0.01
ROUNDING = 1e-6  # log-risk; the risks are float32


def integrated_gradients(
    stack: ModelStack,
    features: npt.NDArray[np.floating],
    models: Sequence[int],
    *,
    centre: str | None = None,
) -> npt.NDArray[np.float64]:
    """Return (U, N) the part of each tile in each model's risk, relative to a bag of average tiles.

    Args:
        features: (N, D).
        models: (U,) indices into the stack.
        centre: the patient's; models of harmonised tiles have to know it.
    """
    stack.eval()
    device = stack.projections[0][0].device
    tiles = torch.from_numpy(np.asarray(features, dtype=np.float32)).to(device)
    is_tile = torch.ones(1, len(tiles), dtype=torch.bool, device=device)  # (1, N)
    parts = []
    for model in models:
        projected = StackedProjection(stack.seen([stack.projection_of[model]], centre))(tiles)[
            :, None
        ]  # (1, 1, N, K)

        def risk_of(point: Tensor, model: int = model) -> Tensor:
            return stack.forward_some(slice(model, model + 1), point, is_tile).log_risk.sum()

        parts.append(_along_the_path(risk_of, projected)[0, 0].double().cpu().numpy())  # (N,)
    return np.stack(parts)


def _along_the_path(risk_of: Callable[[Tensor], Tensor], projected: Tensor) -> Tensor:
    """Return (1, 1, N) parts of the tiles; more midpoints are taken until the parts sum to what
    they should.
    """
    away = projected - (
        average := projected.mean(dim=2, keepdim=True)
    )  # (1, 1, N, K), (1, 1, 1, K)
    with torch.no_grad():
        difference = risk_of(projected) - risk_of(average.expand_as(projected))
    summed, steps = torch.zeros_like(projected), PATH_STEPS
    fresh: Sequence[int] = range(steps)
    while True:
        for step in fresh:
            point = (average + (step + 0.5) / steps * away).requires_grad_(True)
            summed += torch.autograd.grad(risk_of(point), point)[0]
        parts = (away * summed / steps).sum(-1)  # (1, 1, N)
        allowed = torch.clamp(INCOMPLETE * parts.abs().sum(), min=ROUNDING)
        if abs(parts.sum() - difference) <= allowed or steps * REFINED > MOST_STEPS:
            return parts
        steps *= REFINED
        fresh = [
            step for step in range(steps) if step % REFINED != REFINED // 2
        ]  # the middle thirds are known
