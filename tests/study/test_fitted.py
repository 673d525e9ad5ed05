"""How models were fitted is said by the section that they were fitted with."""

from __future__ import annotations

import pytest

from pathoml.config import TrainConfig
from pathoml.study.fitted import fitted_by


def said(**changed: object) -> str:
    return fitted_by({**TrainConfig(head="abmil").model_dump(mode="json"), **changed})


@pytest.mark.parametrize(
    ("loss", "words"), [("cox", "Cox's partial likelihood"), ("discrete_time", "discrete time")]
)
def test_the_likelihood_is_that_of_the_loss(loss: str, words: str) -> None:
    assert words in said(loss=loss)


def test_seeds_and_projection_are_those_that_were_used() -> None:
    assert "12 principal components; 1 initialisation a fold" in said(projection=12, seeds=1)
    assert "components" not in said(projection=None)


def test_a_head_that_is_solved_has_no_epochs_whatever_it_is_called() -> None:
    solved = {**TrainConfig().model_dump(mode="json"), "head": "mine:Solved"}
    assert "40 epochs" not in fitted_by(solved, solved=True)
    assert "40 epochs" in fitted_by({**solved, "head": "ridge_cox"}, solved=False)
