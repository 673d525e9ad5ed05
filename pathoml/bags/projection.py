"""A linear projection in front of the head, fitted on the tiles of training patients only, without
outcomes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pathoml.bags.harmonisation import Floats, Harmonisation
from pathoml.types import Bag

TILES_A_PATIENT = 64  # every patient weighs the same
# of a cohort: enough for the leading components; larger cohorts take fewer tiles of each patient
TILES = 8192
FEWEST_TILES = 16  # a patient
# what the figures of benchmarks/results.md were measured with; the cost grows in proportion
COMPONENTS = 64
LARGE_COHORT = 1000  # patients from which a GPU learns from all features
OVERSAMPLING = 16  # extra directions of the randomised decomposition
POWER_ITERATIONS = 2
SMALLEST_SD = 1e-6  # a feature that is constant must not be blown up


def choose_projection(wanted: int | str | None, patients: int, device: torch.device) -> int | None:
    """Return the number of principal components: as study.yaml says, else by the size of the cohort
    and the device.

    64 keep small cohorts from fitting noise and a CPU from multiplying by it; a large cohort on a
    GPU keeps all features.

    >>> cpu = torch.device("cpu")
    >>> choose_projection("auto", 246, cpu), choose_projection(32, 246, cpu)
    (64, 32)
    """
    if wanted != "auto":
        return None if wanted is None else int(wanted)
    return None if device.type == "cuda" and patients >= LARGE_COHORT else COMPONENTS


def fit_projections(
    bags: Sequence[Bag],
    trainings: Sequence[npt.NDArray[np.integer]],
    dim: int | None,
    *,
    seed: int,
    device: torch.device,
    harmonisations: Sequence[Harmonisation] = (),
    centres: Sequence[str] | npt.NDArray[np.str_] = (),
) -> list[tuple[Tensor, Tensor]]:
    """Return (mean (D,), components (D, K)) for each set of training bags, so that (features -
    mean) @ components has comparable columns.

    Without a dimension the second tensor is (D,), a scale for each feature.

    Args:
        bags: of the whole cohort; a fit reads those of its own set only.
        trainings: indices of the training bags, one array a fold.
        dim: number of principal components; None keeps all D features and only centres and scales
            them.
        seed: of the tile samples and the decomposition.
        harmonisations: of each set, whose features the projection is to see; () = as they are.
        centres: (B,) of the bags, where there are harmonisations.

    Source: Halko, Martinsson & Tropp, SIAM Review 53 (2011) 217-288 (randomised principal
    components).
    """
    samples = _sample(bags, min(TILES_A_PATIENT, max(FEWEST_TILES, TILES // len(bags))), seed).to(
        device
    )  # (B, n, D)
    if harmonisations:
        own = (
            _harmonised(samples[t], *one.of_bags(np.asarray(centres)[t]))
            for t, one in zip(trainings, harmonisations)
        )  # (b * n, D) each
        return [
            _centred_and_scaled(tiles.double().mean(0), tiles.double().square().mean(0))
            if dim is None
            else _principal_components(tiles, dim, seed)
            for tiles in own
        ]
    if dim is None:
        mean, square = samples.double().mean(1), samples.double().square().mean(1)  # (B, D) each
        return [_centred_and_scaled(mean[t].mean(0), square[t].mean(0)) for t in trainings]
    return [_principal_components(samples[t].flatten(0, 1), dim, seed) for t in trainings]


def fit_projection(
    bags: Sequence[Bag], dim: int | None, seed: int, *, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return the projection fitted on all of these bags."""
    return fit_projections(bags, [np.arange(len(bags))], dim, seed=seed, device=device)[0]


def _sample(bags: Sequence[Bag], tiles: int, seed: int) -> Tensor:
    """Return (B, tiles, D) of each bag, the same whoever else is in the cohort."""
    rows = np.empty((len(bags), tiles, bags[0].features.shape[1]), np.float32)
    for i, bag in enumerate(bags):
        rng = np.random.default_rng([seed, i])
        chosen = rng.choice(len(bag.features), tiles, replace=len(bag.features) < tiles)
        rows[i] = bag.features[np.sort(chosen)]
    return torch.from_numpy(rows)


def _harmonised(tiles: Tensor, scale: Floats, offset: Floats) -> Tensor:
    """Return (b * n, D) of (b, n, D) tiles with the scale and offset of their bags, (b, D) each."""
    own = [torch.from_numpy(v)[:, None].to(tiles.device) for v in (scale, offset)]  # (b, 1, D)
    return (tiles * own[0] + own[1]).flatten(0, 1)


def _centred_and_scaled(mean: Tensor, square: Tensor) -> tuple[Tensor, Tensor]:
    """Return (mean (D,), scale (D,)) by the means of features and of their squares."""
    sd = (square - mean.square()).clamp(min=0).sqrt().clamp(min=SMALLEST_SD)
    return mean.float(), 1 / sd.float()


def _principal_components(tiles: Tensor, dim: int, seed: int) -> tuple[Tensor, Tensor]:
    mean = tiles.mean(0)  # (D,)
    centred = tiles - mean
    dim = min(dim, *tiles.shape)
    generator = torch.Generator(device=tiles.device).manual_seed(seed)
    basis = torch.randn(
        tiles.shape[1], dim + OVERSAMPLING, generator=generator, device=tiles.device
    )  # (D, K')
    for _ in range(POWER_ITERATIONS):
        basis = torch.linalg.qr(centred.T @ (centred @ basis)).Q
    _, singular, right = torch.linalg.svd(centred @ basis, full_matrices=False)  # (K',), (K', K')
    components = (basis @ right.T)[:, :dim]  # (D, K)
    components = components * torch.where(
        components.sum(0) < 0, -1.0, 1.0
    )  # a sign that does not depend on rounding
    spread = singular[:dim] / len(tiles) ** 0.5  # (K,) standard deviations
    return mean, components / spread.pow(2).mean().sqrt().clamp(min=SMALLEST_SD)
