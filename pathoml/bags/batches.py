"""Bags of unequal size side by side: padded batches with `is_tile`, and samples of tiles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from pathoml.types import BagBatch


def pad_bags(bags: Sequence[npt.NDArray[np.floating]]) -> BagBatch:
    """Return bags of different length as one batch; `is_tile` is False where there is padding.

    Args:
        bags: (N_i, D) each.
    """
    longest = max(len(b) for b in bags)
    features = torch.zeros(len(bags), longest, bags[0].shape[1])
    is_tile = torch.zeros(len(bags), longest, dtype=torch.bool)
    for i, bag in enumerate(bags):
        features[i, : len(bag)] = torch.from_numpy(np.asarray(bag, dtype=np.float32))
        is_tile[i, : len(bag)] = True
    return BagBatch(features=features, is_tile=is_tile)


def batches_by_size(bag_sizes: Sequence[int], most_tiles: int) -> list[list[int]]:
    """Return the bags in batches of similar size, each of at most `most_tiles` tiles with the
    padding, or of one bag.

    >>> batches_by_size([5, 100, 6], 12)
    [[0, 2], [1]]
    """
    batches: list[list[int]] = []
    for bag in sorted(range(len(bag_sizes)), key=lambda b: bag_sizes[b]):
        if batches and (len(batches[-1]) + 1) * bag_sizes[bag] <= most_tiles:
            batches[-1].append(bag)
        else:
            batches.append([bag])
    return batches


def padded_rows(
    starts: npt.NDArray[np.int64], sizes: Sequence[int], batch: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return packed rows (b, N) and `is_tile` (b, N) of several whole bags; padding repeats a bag's
    last tile.
    """
    size = torch.tensor([sizes[b] for b in batch])[:, None]  # (b, 1)
    place = torch.arange(int(size.max()))[None]  # (1, N)
    start = torch.tensor([int(starts[b]) for b in batch])[:, None]  # (b, 1)
    return start + torch.minimum(place, size - 1), place < size


def sample_tiles(
    bag_sizes: Sequence[int], tiles_a_bag: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Return (B, tiles_a_bag) indices into the packed tiles of all bags: equal samples, so that
    nothing is padded.

    A bag with fewer tiles gives each of them at least once, some again; a larger one gives distinct
    tiles.
    """
    starts = np.concatenate([[0], np.cumsum(bag_sizes)[:-1]])
    rows = []
    for start, size in zip(starts, bag_sizes):
        whole, rest = divmod(tiles_a_bag, size)
        parts = [np.tile(np.arange(size), whole), rng.choice(size, rest, replace=False)]
        rows.append(start + np.concatenate(parts))
    return np.stack(rows).astype(np.int64)
