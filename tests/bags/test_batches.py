"""Bags of different sizes in one batch: padded, or beside bags of like size."""

from __future__ import annotations

import numpy as np
import torch

from pathoml.bags.batches import batches_by_size, padded_rows


def test_whole_bags_are_padded_by_tiles_of_their_own() -> None:
    rows, is_tile = padded_rows(np.array([0, 3]), [3, 4], [0, 1])
    assert torch.equal(rows, torch.tensor([[0, 1, 2, 2], [3, 4, 5, 6]]))
    assert is_tile.sum(1).tolist() == [3, 4]


def test_batches_hold_every_bag_once_and_a_bag_too_large_stands_alone() -> None:
    batches = batches_by_size([7, 200_000, 3, 1], 20)
    assert sorted(b for batch in batches for b in batch) == [0, 1, 2, 3]
    assert [1] in batches
