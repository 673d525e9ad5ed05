"""Every head of pathoml/mil/ keeps the contract; a new file is tested without being named here."""

from __future__ import annotations

import importlib

import pytest
import torch

from pathoml.bags.batches import pad_bags
from pathoml.plugins import names_with
from pathoml.training.model_stack import HeadSpec

HEADS = names_with("pathoml.mil", "Head")


@pytest.fixture(params=HEADS)
def head(request: pytest.FixtureRequest) -> torch.nn.Module:
    torch.manual_seed(0)
    built = importlib.import_module(f"pathoml.mil.{request.param}").Head(6, 8, 0.5).eval()
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.7)  # a read-out of zeros would pass everything
    return built


def bags() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(n, 6, generator=generator) for n in (4, 9, 1)]


def test_padding_changes_nothing_whatever_stands_in_it(head: torch.nn.Module) -> None:
    padded, is_tile = pad_bags([b.numpy() for b in bags()])
    for junk in (0.0, 50.0, -50.0):
        output = head(
            torch.where(is_tile[..., None], padded, torch.full_like(padded, junk)), is_tile
        )
        for i, bag in enumerate(bags()):
            alone = head(bag[None], torch.ones(1, len(bag), dtype=torch.bool))
            assert torch.allclose(output.log_risk[i], alone.log_risk[0], atol=1e-5)
            assert not output.attention[i, len(bag) :].any()
            assert not output.contribution[i, len(bag) :].any()


def test_contributions_and_bias_sum_to_the_risk(head: torch.nn.Module) -> None:
    output = head(*pad_bags([b.numpy() for b in bags()]))
    if head.exact:
        assert torch.allclose(output.contribution.sum(1) + output.bias, output.log_risk, atol=1e-5)
    else:
        assert not output.contribution.any(), (
            "a head without exact contributions gives none, lest somebody draws them"
        )
    assert torch.allclose(output.attention.sum(1), torch.ones(3), atol=1e-6)


def test_what_a_head_says_of_weights_to_begin_with_is_of_its_tensors(head: torch.nn.Module) -> None:
    names = set(head.state_dict())
    assert set(getattr(head, "read_out", ())) < names
    assert set(getattr(head, "also_named", {}).values()) <= names
    assert set(getattr(head, "may_be_narrower", ())) <= names


def test_the_order_of_tiles_does_not_matter(head: torch.nn.Module) -> None:
    bag, everything = bags()[1][None], torch.ones(1, 9, dtype=torch.bool)
    assert torch.allclose(
        head(bag, everything).log_risk, head(bag.flip(1), everything).log_risk, atol=1e-5
    )


def test_a_head_that_is_dropped_in_is_found(drop_in: object) -> None:
    drop_in(  # type: ignore[operator]
        "pathoml.mil",
        "dropped_in",
        "import torch\nfrom torch import nn\nfrom pathoml.types import HeadOutput\n\n"
        "class Head(nn.Module):\n    exact = False\n\n"
        "    def __init__(self, in_dim, hidden, dropout):\n        super().__init__()\n        "
        "self.risk = nn.Linear(in_dim, 1)\n\n"
        "    def forward(self, features, is_tile):\n"
        "        g = self.risk(features).squeeze(-1).masked_fill(~is_tile, -torch.inf)\n"
        "        a = torch.softmax(g * 1e4, dim=1)\n"
        "        return HeadOutput(g.amax(1), a, a * 0, g[:, 0] * 0)\n",
    )
    head = HeadSpec(head="dropped_in", in_dim=6, hidden=4, dropout=0.0).build()
    assert head(bags()[0][None], torch.ones(1, 4, dtype=torch.bool)).log_risk.shape == (1,)
