"""Integrated gradients of heads without exact contributions: hand-worked parts, and parts that sum
to what they say they do.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pathoml.explanation import integrated_gradients as attribution
from pathoml.explanation.integrated_gradients import INCOMPLETE, integrated_gradients
from pathoml.training.model_stack import HeadSpec, ModelStack
from pathoml.types import HeadOutput

DIM = 6


class Power(nn.Module):
    """Risk: the mean over the tiles of w . x to some power."""

    exact = False

    def __init__(self, power: int, weight: list[float]) -> None:
        super().__init__()
        self.power = power
        self.read = nn.Linear(len(weight), 1, bias=False)
        self.read.weight.data = torch.tensor([weight])

    def forward(self, features: Tensor, is_tile: Tensor) -> HeadOutput:  # noqa: ARG002 - part of the contract of heads
        risk = (self.read(features).squeeze(-1) ** self.power).mean(1)
        nothing = torch.zeros(features.shape[:2])
        return HeadOutput(
            log_risk=risk, attention=nothing, contribution=nothing, bias=torch.zeros_like(risk)
        )


def stack_of(*heads: nn.Module, dim: int) -> ModelStack:
    spec = HeadSpec(head="transmil", in_dim=dim, hidden=8, dropout=0.0)
    return ModelStack(
        spec, heads, [(torch.zeros(dim), torch.eye(dim))], projection_of=[0] * len(heads)
    )


def transmil(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    head = HeadSpec(head="transmil", in_dim=DIM, hidden=8, dropout=0.0).build().eval()
    for parameter in head.parameters():
        nn.init.normal_(parameter, std=0.5)  # as built, its read-out is zero
    return head


def a_bag(seed: int, tiles: int = 30) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(tiles, DIM)).astype(np.float32)


def test_parts_of_a_squared_read_out_are_those_worked_by_hand() -> None:
    """Mean of x squared over tiles 1, 3, 5 with average 3: the integral of 2 (3 + t (x - 3)) (x -
    3) / 3 over t is (x^2 - 9) / 3.
    """
    bag = np.array([[1.0, 9.0], [3.0, 9.0], [5.0, 9.0]])
    parts = integrated_gradients(stack_of(Power(2, [1.0, 0.0]), dim=2), bag, [0])
    assert parts[0] == pytest.approx([-8 / 3, 0.0, 16 / 3], abs=1e-5)


def test_each_model_explains_by_its_own_weights() -> None:
    bag = np.array([[1.0, 0.0], [3.0, 2.0]])
    one, two = integrated_gradients(
        stack_of(Power(1, [1.0, 0.0]), Power(1, [0.0, 4.0]), dim=2), bag, [0, 1]
    )
    assert one == pytest.approx([-0.5, 0.5], abs=1e-6)  # (x - 2) / 2
    assert two == pytest.approx([-2.0, 2.0], abs=1e-6)  # 4 (x - 1) / 2


def test_parts_along_a_fine_path_agree_with_finite_differences_of_the_risk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attribution, "PATH_STEPS", 400)
    head, bag = transmil(1), a_bag(1, tiles=4)
    fine, parts = head.double(), integrated_gradients(stack_of(transmil(1), dim=DIM), bag, [0])[0]
    values, everything = torch.from_numpy(bag).double(), torch.ones(1, 4, dtype=torch.bool)
    average, width, points = values.mean(0, keepdim=True), 1e-5, 100
    expected = np.zeros(4)
    with torch.no_grad():
        for point in range(points):
            here = average + (point + 0.5) / points * (values - average)
            for tile in range(4):  # move one tile along its own path, and no other
                step = torch.zeros_like(values)
                step[tile] = width * (values - average)[tile]
                up, down = (
                    fine((here + sign * step)[None], everything).log_risk.item() for sign in (1, -1)
                )
                expected[tile] += (up - down) / (2 * width) / points
    assert parts == pytest.approx(expected, abs=0.005 * np.abs(expected).sum())


@pytest.mark.parametrize("seed", range(4))
def test_parts_sum_to_the_risk_of_the_bag_less_that_of_average_tiles(seed: int) -> None:
    bag, stack = a_bag(seed), stack_of(transmil(seed), dim=DIM)
    average = np.repeat(bag.mean(axis=0, keepdims=True), len(bag), axis=0)
    risk, of_average = (float(stack.read_bag(one, [0]).log_risk[0]) for one in (bag, average))
    parts = integrated_gradients(stack, bag, [0])[0]
    assert abs(parts.sum() - (risk - of_average)) <= 1.01 * INCOMPLETE * np.abs(parts).sum()


def test_a_path_that_was_refined_keeps_what_it_had(monkeypatch: pytest.MonkeyPatch) -> None:
    bag, stack = a_bag(2), stack_of(transmil(2), dim=DIM)
    monkeypatch.setattr(attribution, "INCOMPLETE", 0.0)  # hardly anything is complete enough
    monkeypatch.setattr(attribution, "MOST_STEPS", 3 * attribution.PATH_STEPS)
    refined = integrated_gradients(stack, bag, [0])
    monkeypatch.setattr(attribution, "PATH_STEPS", 3 * attribution.PATH_STEPS)
    assert refined == pytest.approx(integrated_gradients(stack, bag, [0]), abs=1e-6)


def test_equal_tiles_have_no_parts_and_no_path_is_refined_for_rounding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attribution, "REFINED", "never")
    parts = integrated_gradients(
        stack_of(transmil(1), dim=DIM), np.repeat(a_bag(1, tiles=1), 7, axis=0), [0]
    )
    assert parts == pytest.approx(np.zeros((1, 7)), abs=1e-6)
