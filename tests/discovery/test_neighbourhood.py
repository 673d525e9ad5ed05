"""Tiles beside one another are told from their places alone."""

from __future__ import annotations

import numpy as np
import pytest

from pathoml.discovery.neighbourhood import PersistentAxes, neighbour_pairs


def test_an_axis_that_stays_from_tile_to_tile_comes_before_one_that_varies_more() -> None:
    rng = np.random.default_rng(1)
    column, row = np.meshgrid(np.arange(20), np.arange(20))
    pairs = neighbour_pairs(np.stack([column.ravel(), row.ravel()], axis=1) * 256)
    assert len(pairs) == 2 * 20 * 19 + 2 * 19 * 19  # sides and corners
    persistent = PersistentAxes(2)
    for _ in range(5):
        bands = np.repeat(
            rng.normal(size=4), 100
        )  # five rows each: of 1,482 pairs 117 cross from one band to the next
        persistent.add(np.stack([10 * rng.normal(size=400), bands], axis=1), pairs)
    axes, persistence = persistent.axes()
    assert persistence[0] > 0.8
    assert persistence[1] < 0.1
    assert abs(axes[0, 0]) < 0.01 * abs(axes[1, 0])
    assert np.linalg.norm(axes[:, 1]) < 0.02 * np.linalg.norm(axes[:, 0])
    r2 = persistence[0] ** 2
    assert axes[:, 0] @ (persistent.within / persistent.tiles) @ axes[:, 0] == pytest.approx(
        (r2 / (r2 + 0.01)) ** 2, rel=1e-3
    )


def test_tiles_of_other_tools_on_two_lattices_find_their_neighbours() -> None:
    first, second = np.array([[0, 0], [256, 0]]), np.array([[5000, 131], [5000, 387], [9000, 131]])
    assert neighbour_pairs(np.concatenate([first, second])).tolist() == [[0, 1], [2, 3]]
