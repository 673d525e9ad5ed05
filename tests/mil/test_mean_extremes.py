"""The head of a linear branch on the mean and one on the extremes, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pathoml.mil.mean_extremes import Head, Readout

NOTHING = Readout(weights=np.zeros(2), centre=np.zeros(2), sd=np.ones(2))
ALL = torch.ones(1, 4, dtype=torch.bool)
TILES = torch.tensor([[[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [6.0, -8.0]]])  # (1, 4, 2)


def head(mean: Readout = NOTHING, high: Readout = NOTHING, low: Readout = NOTHING) -> Head:
    made = Head(in_dim=2, hidden=8, dropout=0.5)
    made.set_branches(mean, high, low)
    return made.eval().requires_grad_(False)


def test_the_mean_branch_is_the_weighted_mean_of_all_tiles_less_its_centre():
    mean = Readout(weights=np.array([2.0, 0.0]), centre=np.array([1.0, 0.0]), sd=np.ones(2))
    output = head(mean)(TILES, ALL)
    assert output.log_risk.tolist() == [2.0 * (3.0 - 1.0)]
    assert output.contribution.tolist() == [[0.0, 0.5, 1.0, 2.5]]
    assert output.attention.tolist() == [[0.25] * 4]


def test_the_extremes_speak_through_the_highest_and_the_lowest_tile_of_a_component():
    high = Readout(weights=np.array([0.5, 0.0]), centre=np.array([4.0, 0.0]), sd=np.ones(2))
    low = Readout(weights=np.array([0.0, -1.0]), centre=np.array([0.0, -5.0]), sd=np.ones(2))
    output = head(high=high, low=low)(TILES, ALL)
    assert output.contribution.tolist() == [[0.0, 0.0, 0.0, 0.5 * (6 - 4) - (-8 + 5)]]
    assert output.attention.tolist() == [[0.0, 0.0, 0.0, 1.0]]


def test_attention_is_the_share_of_the_spread_over_patients_that_rests_on_a_tile():
    mean = Readout(weights=np.array([1.0, 0.0]), centre=np.zeros(2), sd=np.array([3.0, 1.0]))
    high = Readout(weights=np.array([-0.5, 0.0]), centre=np.zeros(2), sd=np.array([2.0, 1.0]))
    output = head(mean, high)(TILES, ALL)  # 3 of 4 units of log hazard by the mean, 1 by the end
    assert output.attention.tolist() == [[3 / 16, 3 / 16, 3 / 16, 3 / 16 + 1 / 4]]


def test_padding_changes_nothing():
    mean = Readout(weights=np.array([1.0, 2.0]), centre=np.zeros(2), sd=np.ones(2))
    low = Readout(weights=np.array([1.0, 1.0]), centre=np.zeros(2), sd=np.ones(2))
    padded = torch.cat([TILES, torch.full((1, 3, 2), -99.0)], dim=1)
    is_tile = torch.tensor([[True] * 4 + [False] * 3])
    alone, beside = head(mean, low=low)(TILES, ALL), head(mean, low=low)(padded, is_tile)
    assert beside.log_risk.tolist() == alone.log_risk.tolist()
    assert beside.contribution.tolist() == [alone.contribution[0].tolist() + [0.0] * 3]
    assert beside.attention.tolist() == [alone.attention[0].tolist() + [0.0] * 3]


@pytest.mark.parametrize("tiles", [1, 49, 50, 151, 1000])
def test_contributions_sum_to_the_risk_and_attention_to_one(tiles):
    rng = np.random.default_rng(tiles)
    drawn = rng.normal(size=(3, 2, 2))  # weights and centre of each branch
    some = [Readout(weights=w, centre=c, sd=np.ones(2)) for w, c in drawn]
    features = torch.from_numpy(rng.normal(size=(1, tiles, 2)).astype(np.float32))
    output = head(*some)(features, torch.ones(1, tiles, dtype=torch.bool))
    assert float(output.contribution.sum()) == pytest.approx(float(output.log_risk), abs=1e-5)
    assert float(output.attention.sum()) == pytest.approx(1, abs=1e-5)
    assert float(output.attention.min()) >= -1e-6


def test_branches_without_weight_say_nothing():
    output = head()(TILES, ALL)
    assert output.log_risk.tolist() == [0.0]
    assert output.attention.tolist() == [[0.25] * 4]
