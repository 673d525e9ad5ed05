"""A linear projection in front of the head, fitted on the tiles of training patients only, without outcomes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pathoml.types import Bag

TILES_A_PATIENT = 64  # enough for the leading components; every patient weighs the same
OVERSAMPLING = 16  # extra directions of the randomised decomposition
POWER_ITERATIONS = 2


def fit_projection(bags: Sequence[Bag], dim: int | None, seed: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return (mean (D,), components (D, K)) so that (features - mean) @ components has K columns of comparable size.

    Args:
        bags: of the training patients only.
        dim: number of principal components; None keeps all D features and only centres and scales them.
        seed: of the tile sample and the decomposition.

    Source: Halko, Martinsson & Tropp, SIAM Review 53 (2011) 217-288 (randomised principal components).
    """
    rng = np.random.default_rng(seed)
    rows = []
    for bag in bags:
        chosen = rng.choice(len(bag.features), TILES_A_PATIENT, replace=len(bag.features) < TILES_A_PATIENT)
        rows.append(np.asarray(bag.features[np.sort(chosen)], dtype=np.float32))
    tiles = torch.from_numpy(np.concatenate(rows)).to(device)  # (B * TILES_A_PATIENT, D)
    mean = tiles.mean(0)  # (D,)
    centred = tiles - mean
    if dim is None:
        return mean, torch.diag(1 / centred.std(0).clamp(min=1e-6))  # (D, D)
    dim = min(dim, *tiles.shape)
    generator = torch.Generator(device=device).manual_seed(seed)
    basis = torch.randn(tiles.shape[1], dim + OVERSAMPLING, generator=generator, device=device)  # (D, K')
    for _ in range(POWER_ITERATIONS):
        basis = torch.linalg.qr(centred.T @ (centred @ basis)).Q
    _, singular, right = torch.linalg.svd(centred @ basis, full_matrices=False)  # (K',), (K', K')
    components = (basis @ right.T)[:, :dim]  # (D, K)
    components = components * torch.where(components.sum(0) < 0, -1.0, 1.0)  # a sign that does not depend on rounding
    spread = singular[:dim] / len(tiles) ** 0.5  # (K,) standard deviations
    return mean, components / spread.pow(2).mean().sqrt().clamp(min=1e-6)
