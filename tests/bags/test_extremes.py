"""The extreme tiles of a bag, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.learning import bag_of

from pathoml.bags.extremes import component_statistics, extreme_count

CPU = torch.device("cpu")
AS_THEY_ARE = (torch.zeros(2), torch.eye(2))  # a projection that changes nothing


def test_one_tile_in_fifty_stands_at_each_end_and_at_least_one():
    assert extreme_count(torch.tensor([1, 30, 100, 150])).tolist() == [1, 1, 2, 3]


def test_the_two_highest_and_the_two_lowest_of_a_hundred_tiles_are_averaged():
    features = np.zeros((100, 2), np.float16)
    features[[3, 50], 0] = 4.0, 8.0
    features[[7, 99], 1] = -2.0, -6.0
    [[[high, low]]] = component_statistics([bag_of(features)], [AS_THEY_ARE], CPU).extremes
    assert high.tolist() == [6.0, 0.0]
    assert low.tolist() == [0.0, -4.0]


def test_a_bag_of_one_tile_is_its_own_extremes():
    one = bag_of(np.array([[1.5, -2.0]], np.float16))
    [[[high, low]]] = component_statistics([one], [AS_THEY_ARE], CPU).extremes
    assert high.tolist() == low.tolist() == [1.5, -2.0]


def test_a_bag_that_is_read_in_parts_has_the_extremes_of_the_whole():
    values = np.random.default_rng(1).permutation(9000).astype(np.float16)  # more than one part
    tiles = np.stack([values, -values], axis=1)
    whole = np.sort(tiles.astype(np.float64), axis=0)
    [[[high, low]]] = component_statistics([bag_of(tiles)], [AS_THEY_ARE], CPU).extremes
    assert high.tolist() == pytest.approx(whole[-180:].mean(axis=0).tolist(), rel=1e-6)
    assert low.tolist() == pytest.approx(whole[:180].mean(axis=0).tolist(), rel=1e-6)


def test_each_projection_has_extremes_of_its_own_however_many_there_are():
    features = np.array([[1.0, 0.0], [0.0, 3.0]], np.float16)
    mirrored = (torch.zeros(2), -torch.eye(2))
    given = [AS_THEY_ARE, mirrored] * 5  # more than are read at once
    found = component_statistics([bag_of(features)], given, CPU).extremes
    assert found.shape == (10, 1, 2, 2)
    assert found[::2, 0, 0].tolist() == [[1.0, 3.0]] * 5
    assert found[1::2, 0, 1].tolist() == [[-1.0, -3.0]] * 5


def test_the_mean_square_is_that_of_all_tiles_about_the_projections_centre():
    features = np.array([[1.0, 0.0], [3.0, 4.0]], np.float16)
    about_one = (torch.ones(2), torch.eye(2))
    [[found]] = component_statistics([bag_of(features)], [about_one], CPU).mean_square
    assert found.tolist() == [(0 + 4) / 2, (1 + 9) / 2]
