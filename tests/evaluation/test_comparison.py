"""Recipes are compared on the same folds, and the price of choosing the best of them is paid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.hospitals import hospitals
from support.initial import head_tensors, write_weights
from support.learning import planted_cohort, write_study

from pathoml.config import load_study
from pathoml.evaluation.comparison import choice_corrected_c, compare, train_of
from pathoml.survival.concordance import harrell_c
from pathoml.survival.fold_concordance import frozen_scores


def test_a_comparison_has_every_recipe_the_clinical_model_a_winner_and_a_corrected_p(
    tmp_path: Path,
) -> None:
    write_study(tmp_path, *planted_cohort(48, effect=6.0)[:2])
    said: list[str] = []
    study, heads = load_study(tmp_path, ["train.seeds=1"]), ["mean_pool", "ridge_cox"]
    content = compare(study, ["efficientnet_lite0"], heads, permutations=9, say=said.append)
    assert [c["head"] for c in content["candidates"]] == ["mean_pool", "ridge_cox", "clinical"]
    assert content["selection"]["p_value"] == pytest.approx(0.1)
    assert content["candidates"][0]["cpu_seconds"] > 0
    best = max(c["harrell_c_centre_stratified"]["estimate"] for c in content["candidates"][:2])
    winner = content["selection"]["winner"]["head"]
    assert best == next(
        c["harrell_c_centre_stratified"]["estimate"]
        for c in content["candidates"]
        if c["head"] == winner
    )


def test_the_best_of_many_scores_of_pure_noise_is_corrected_to_chance() -> None:
    cohort, _, _ = planted_cohort(80, effect=0.0)
    noise = np.random.default_rng(0).normal(size=(20, 80))
    best = max(harrell_c(score, cohort.time_months, cohort.event) for score in noise)
    assert best > 0.56
    assert abs(choice_corrected_c([frozen_scores(score) for score in noise], cohort) - 0.5) < 0.04


def test_with_and_without_harmonising_are_recipes_on_the_same_folds(tmp_path: Path) -> None:
    write_study(tmp_path, *hospitals("stain", seed=1, patients=48))
    study = load_study(tmp_path, ["train.seeds=1", "splits.repeats=1"])
    content = compare(
        study,
        ["efficientnet_lite0"],
        ["ridge_cox"],
        permutations=4,
        say=lambda _: None,
        harmonise=[None, "centre"],
    )
    plain, harmonised, _ = content["candidates"]
    assert (plain["harmonise"], harmonised["harmonise"]) == (None, "centre")
    assert plain["harrell_c"] != harmonised["harrell_c"]
    assert content["selection"]["winner"]["harmonise"] in (None, "centre")
    assert content["selection"]["permutations"] == 4


def test_only_the_studys_own_head_begins_with_its_weights(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "study", *planted_cohort(24)[:2]).folder
    write_weights(folder / "w.safetensors", head_tensors(), public_cohorts="TCGA")
    settings = ["train.init=w.safetensors", "train.projection=null", "cohort.source=TCGA"]
    study = load_study(folder, [*settings, "train.seeds=1", "train.epochs=2"])
    said: list[str] = []
    heads = ["abmil", "ridge_cox"]  # of which the second has no beginning
    content = compare(study, ["efficientnet_lite0"], heads, permutations=0, say=said.append)
    assert [c["head"] for c in content["candidates"]] == ["abmil", "ridge_cox", "clinical"]
    assert "WARNING The weights that the models began with (w.safetensors)" in said[0]
    assert train_of(study, "efficientnet_lite0", "mean_pool").init is None
    assert train_of(study, "efficientnet_lite0", "abmil").init == "w.safetensors"
    assert train_of(study, "uni", "abmil").init is None
