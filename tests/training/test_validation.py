"""A cross-validation from Python: the scores that `train` would write, for patients in any order of
bags, and refused in one sentence where it cannot be.
"""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from support.learning import planted_cohort, write_study
from torch import nn

from pathoml.bags.study_bags import read_study_bags
from pathoml.config import TrainConfig, load_study
from pathoml.errors import CohortError, ConfigError
from pathoml.study.cohort import read_cohort
from pathoml.study.splits import make_splits
from pathoml.training.run import load_run
from pathoml.training.step import train_study
from pathoml.training.validation import cross_validate
from pathoml.types import SILENT, HeadOutput

FEW = {"epochs": 3, "seeds": 1, "tiles_per_patient": 8, "projection": 8, "hidden": 8}


@pytest.fixture(scope="module")
def cohort_and_bags():
    return planted_cohort(24)[:2]


def test_scores_are_those_that_a_run_with_this_configuration_writes(tmp_path):
    cohort, bags, _ = planted_cohort(24)
    write_study(tmp_path, cohort, bags)
    study = load_study(tmp_path, ["train.nested=false", "train.epochs=3"])
    train_study(study)
    run, config = load_run(study), study.config
    mine = cross_validate(
        config.train.head,
        read_cohort(study),
        read_study_bags(study),
        make_splits(run.cohort, config.splits),
        config=config.train,
        seed=config.splits.seed,
    )
    assert [f.centred.tolist() for f in mine.folds] == [f.centred.tolist() for f in run.folds]


def test_the_order_of_bags_changes_nothing(cohort_and_bags):
    cohort, bags = cohort_and_bags
    splits = make_splits(cohort, folds=2, repeats=1)
    one = cross_validate("abmil", cohort, bags, splits, **FEW)
    other = cross_validate("abmil", cohort, bags[::-1], splits, **FEW)
    assert np.array_equal(one.score_sd, other.score_sd)


def test_each_repeat_scores_everybody_with_sd_1_and_all_repeats_together_too(cohort_and_bags):
    cohort, bags = cohort_and_bags
    splits = make_splits(cohort, folds=2, repeats=3)
    found = cross_validate("mean_pool", cohort, bags, splits, **FEW)
    assert found.score_sd_by_repeat.shape == (3, 24)
    assert found.score_sd_by_repeat.std(axis=1, ddof=1) == pytest.approx(1)
    assert found.score_sd.std(ddof=1) == pytest.approx(1)
    assert repr(found) == "Validation(head 'mean_pool', 24 patients, 3 repeats, 6 models)"


def test_a_patient_without_a_bag_is_named_with_what_to_do(cohort_and_bags):
    cohort, bags = cohort_and_bags
    splits = make_splits(cohort, folds=2, repeats=1)
    with pytest.raises(CohortError, match=r"the first is P3.*pathoml.bags.with_bags"):
        cross_validate("abmil", cohort, bags[:3], splits, **FEW)


def test_a_typo_in_a_setting_names_the_nearest_key(cohort_and_bags):
    cohort, bags = cohort_and_bags
    splits = make_splits(cohort, folds=2, repeats=1)
    with pytest.raises(ConfigError, match=r"^train: unknown key 'epoch'. Did you mean 'epochs'"):
        cross_validate("abmil", cohort, bags, splits, epoch=3)


def test_defaults_are_those_of_a_study(cohort_and_bags):
    cohort, bags = cohort_and_bags
    splits = make_splits(cohort, folds=2, repeats=1)
    assert cross_validate("ridge_cox", cohort, bags, splits).config == TrainConfig(head="ridge_cox")


def test_what_is_done_is_told_to_whoever_listens(cohort_and_bags):
    cohort, bags = cohort_and_bags
    told = []

    class Listening(type(SILENT)):
        def bar(self, what, unit):  # noqa: ARG002
            return nullcontext(lambda done, total: told.append((done, total)))

    splits = make_splits(cohort, folds=2, repeats=1)
    cross_validate("abmil", cohort, bags, splits, progress=Listening(), **FEW)
    assert told[-1] == (6, 6)


class Brightest(nn.Module):
    """The mean of linear risks, as a class of this module."""

    exact = True

    def __init__(self, in_dim: int) -> None:
        super().__init__()
        self.risk = nn.Linear(in_dim, 1, bias=False)

    def forward(self, features, is_tile):
        """Return the mean risk over the tiles."""
        attention = is_tile / is_tile.sum(1, keepdim=True)
        contribution = attention * self.risk(features).squeeze(-1)
        bias = torch.zeros_like(contribution[:, 0])
        return HeadOutput(contribution.sum(1), attention, contribution, bias)


def test_a_class_is_a_head(cohort_and_bags):
    cohort, bags = cohort_and_bags
    splits = make_splits(cohort, folds=2, repeats=1)
    found = cross_validate(Brightest, cohort, bags, splits, **FEW)
    assert found.config.head.endswith(":Brightest")
    assert np.isfinite(found.score_sd).all()
    assert np.ptp(found.score_sd) > 0


def test_a_head_of_a_file_is_looked_for_in_the_study_that_the_section_is_of(
    cohort_and_bags, tmp_path
):
    cohort, bags = cohort_and_bags
    (tmp_path / "mine.py").write_text("from pathoml.mil.mean_pool import Head\n")
    splits = make_splits(cohort, folds=2, repeats=1)
    config = TrainConfig(**FEW).of_study(tmp_path)
    found = cross_validate("./mine.py:Head", cohort, bags, splits, config=config)
    assert np.isfinite(found.score_sd).all()
