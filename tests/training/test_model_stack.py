"""The stack of models against the plain loop: one model, one bag at a time, as a reader would write
it.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from pathoml.plugins import names_with
from pathoml.training.losses import CoxLoss, cox_loss
from pathoml.training.model_stack import HeadSpec, ModelStack
from pathoml.training.stacked_layers import (
    FastDropout,
    FastTanh,
    MappedHead,
    StackedHead,
    stack_heads,
)

HEADS = names_with("pathoml.mil", "Head")
PATIENTS, TILES, DIM, MODELS = 14, 9, 6, 3
CHOOSES_A_TILE = (
    "max_pool",
    "dsmil",
)  # rounding may choose another tile: another gradient, not a worse one
BF16_BOUND = (
    3e-2  # of the largest gradient: 8 bits of mantissa are 4e-3 a product, summed over a few layers
)


def cohort() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(PATIENTS, TILES, DIM, generator=generator)
    time_months = torch.randint(1, 8, (PATIENTS,), generator=generator).double()  # ties
    event = torch.rand(PATIENTS, generator=generator) < 0.7
    is_training = torch.stack([torch.arange(PATIENTS) % MODELS != m for m in range(MODELS)])
    return features, time_months, event, is_training


def heads(name: str, count: int = MODELS) -> list[nn.Module]:
    built = []
    for seed in range(count):
        torch.manual_seed(seed)
        head = HeadSpec(head=name, in_dim=DIM, hidden=8, dropout=0.0).build()
        for parameter in head.parameters():
            nn.init.normal_(parameter, std=0.5)
        built.append(head)
    return built


def gradient_of(value: torch.Tensor) -> torch.Tensor:
    """Return zeros for what the risk does not rest on, such as shares of attention."""
    return torch.zeros_like(value) if value.grad is None else value.grad


def loop_gradients(built: list[nn.Module]) -> list[dict[str, torch.Tensor]]:
    """Run the reference: for each model a loop over bags, then the whole fold's Cox loss."""
    features, time_months, event, is_training = cohort()
    for head, train in zip(built, is_training):
        mine = torch.nonzero(train)[:, 0]
        risks = [
            head(features[i][None], torch.ones(1, TILES, dtype=torch.bool)).log_risk[0]
            for i in mine
        ]
        cox_loss(torch.stack(risks), time_months[mine], event[mine]).backward()
    return [{name: gradient_of(value) for name, value in head.named_parameters()} for head in built]


def stack_gradients(
    stacked: nn.Module, dtype: torch.dtype | None = None
) -> dict[str, torch.Tensor]:
    features, time_months, event, is_training = cohort()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype is not None):
        risk = stacked(
            features.expand(MODELS, -1, -1, -1),
            torch.ones(MODELS, PATIENTS, TILES, dtype=torch.bool),
        ).log_risk
    CoxLoss(time_months, event, is_training)(risk.float()).sum().backward()
    return {name: gradient_of(value) for name, value in stacked.by_name().items()}  # type: ignore[operator]


@pytest.mark.parametrize("kind", [stack_heads, MappedHead])
@pytest.mark.parametrize("name", HEADS)
def test_gradients_of_the_stack_are_those_of_the_loop_bag_by_bag(name: str, kind: type) -> None:
    expected = loop_gradients(heads(name))
    found = stack_gradients(kind(heads(name)))
    for key, value in found.items():
        for m in range(MODELS):
            assert torch.allclose(value[m], expected[m][key], atol=1e-5), (key, m)


@pytest.mark.parametrize("name", [h for h in HEADS if h not in CHOOSES_A_TILE])
def test_bfloat16_gradients_stay_within_their_own_bound(name: str) -> None:
    expected, found = (
        loop_gradients(heads(name)),
        stack_gradients(stack_heads(heads(name)), torch.bfloat16),
    )
    largest = max(float(g.abs().max()) for one in expected for g in one.values())
    for key, value in found.items():
        for m in range(MODELS):
            assert float((value[m] - expected[m][key]).abs().max()) < BF16_BOUND * largest, (key, m)


def test_heads_of_known_layers_are_exchanged_and_others_are_mapped() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

    assert isinstance(stack_heads(heads("abmil")), StackedHead)
    assert isinstance(stack_heads([Own(), Own()]), MappedHead)


def test_some_models_of_a_stack_read_as_all_of_them_do() -> None:
    projection = (torch.zeros(DIM), torch.eye(DIM))
    spec = HeadSpec(head="abmil", in_dim=DIM, hidden=8, dropout=0.0)
    stack = ModelStack(spec, heads("abmil"), [projection], projection_of=[0] * MODELS).eval()
    features, everything = (
        cohort()[0].expand(MODELS, -1, -1, -1),
        torch.ones(PATIENTS, TILES, dtype=torch.bool),
    )
    whole = stack(features, everything).log_risk
    some = stack.forward_some(slice(1, 3), features[1:3], everything).log_risk
    assert torch.equal(whole[1:3], some)


def test_reading_a_bag_in_parts_of_the_stack_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    projection = (torch.zeros(DIM), torch.eye(DIM))
    spec = HeadSpec(head="abmil", in_dim=DIM, hidden=8, dropout=0.0)
    stack = ModelStack(spec, heads("abmil"), [projection], projection_of=[0] * MODELS)
    bag = cohort()[0][0].numpy()
    whole = stack.read_bag(bag)
    monkeypatch.setattr("pathoml.training.model_stack.READ_VALUES", 1)
    assert torch.allclose(whole.contribution, stack.read_bag(bag).contribution, atol=1e-6)


def test_dropout_drops_at_its_rate_keeps_the_mean_and_differs_between_models() -> None:
    dropout = FastDropout(0.25).train()
    values = dropout(torch.ones(2, 200_000))
    assert float((values == 0).float().mean()) == pytest.approx(0.25, abs=0.005)
    assert float(values.mean()) == pytest.approx(1, abs=0.01)
    assert not torch.equal(values[0], values[1])


def test_dropout_passes_the_gradient_of_what_it_kept() -> None:
    dropout = FastDropout(0.5).train()
    given = torch.ones(1000, requires_grad=True)
    kept = dropout(given)
    kept.sum().backward()
    assert given.grad is not None
    assert torch.equal(given.grad, kept.detach())


def test_the_fast_tanh_has_the_values_and_slopes_of_tanh() -> None:
    given = torch.tensor([-40.0, -3.0, -0.25, 0.0, 1e-3, 2.0, 40.0], requires_grad=True)
    tanh = FastTanh()(given)
    tanh.sum().backward()
    assert given.grad is not None
    assert tanh.tolist() == pytest.approx([math.tanh(x) for x in given.tolist()], abs=2e-7)
    assert given.grad.tolist() == pytest.approx(
        [1 / math.cosh(x) ** 2 for x in given.tolist()], abs=5e-7
    )


def test_dropout_is_off_when_scores_are_read() -> None:
    assert np.array_equal(FastDropout(0.5).eval()(torch.ones(5)).numpy(), np.ones(5))
