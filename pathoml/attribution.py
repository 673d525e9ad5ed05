"""Contributions for heads that have no exact ones: integrated gradients along the path from the bag's average tile to each tile.

They sum to a difference that is not the score and never claim to; the map says how it was made.

Source: Sundararajan, Taly & Yan, ICML 2017, arXiv:1703.01365 (integrated gradients).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from pathoml.model_stack import ModelStack
from pathoml.tile_bank import StackedProjection

PATH_STEPS = 16  # midpoints of the path


def integrated_gradients(stack: ModelStack, features: npt.NDArray[np.floating], models: Sequence[int]) -> npt.NDArray[np.float64]:
    """Return (U, N) the part of each tile in each model's risk, relative to a bag of average tiles.

    Args:
        features: (N, D).
        models: (U,) indices into the stack.
    """
    stack.eval()
    device = stack.projections[0][0].device
    tiles = torch.from_numpy(np.asarray(features, dtype=np.float32)).to(device)
    is_tile = torch.ones(1, len(tiles), dtype=torch.bool, device=device)  # (1, N)
    parts = []
    for model in models:
        projected = StackedProjection([stack.projections[stack.projection_of[model]]])(tiles)[:, None]  # (1, 1, N, K)
        baseline = projected.mean(dim=2, keepdim=True)  # (1, 1, 1, K)
        gradient = torch.zeros_like(projected)
        for step in range(PATH_STEPS):
            point = (baseline + (step + 0.5) / PATH_STEPS * (projected - baseline)).requires_grad_(True)
            risk = stack.forward_some(slice(model, model + 1), point, is_tile).log_risk.sum()
            gradient += torch.autograd.grad(risk, point)[0] / PATH_STEPS
        parts.append(((projected - baseline) * gradient).sum(-1)[0, 0].double().cpu().numpy())  # (N,)
    return np.stack(parts)
