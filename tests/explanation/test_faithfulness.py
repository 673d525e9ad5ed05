"""A map that points at what raises the risk passes; the same values on other tiles do not; and
nobody judges their own map.
"""

from __future__ import annotations

import numpy as np
import pytest

from pathoml.explanation.faithfulness import (
    STEPS,
    _closed_curves,
    judge_slide,
    rank_agreement,
    share_from,
    summarise,
)

GROUP = np.array([0, 0, 1, 1])


def four_models(seed: int, shared: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Return attention and contributions of 4 models over 200 tiles: 40 of them raise the risk, the
    same for all if `shared`.
    """
    rng = np.random.default_rng(seed)
    attention = rng.dirichlet(np.full(200, 5.0), size=4)
    read_out = rng.normal(0, 0.3, (4, 200))
    for model in range(4):
        hot = np.arange(40) if shared else rng.choice(200, 40, replace=False)
        read_out[model, hot] += 2.0
    return attention, attention * read_out


def test_the_curve_is_the_contribution_left_over_the_attention_left() -> None:
    attention = np.full((1, 20), 0.05)
    contribution = np.zeros((1, 20))
    contribution[0, 0] = 0.5  # log-risk 10 times that of its equal share
    curve = _closed_curves(attention, contribution, np.ones(20, bool), np.arange(20)[None])[0, 0]
    assert curve.tolist() == [0.0] * (STEPS - 1)
    last = _closed_curves(attention, contribution, np.ones(20, bool), np.arange(20)[::-1][None])[
        0, 0
    ]
    assert last.tolist() == pytest.approx([0.5 / (0.05 * left) for left in range(19, 0, -1)])


def test_a_map_of_what_all_models_share_is_faithful_and_its_shuffled_values_are_not() -> None:
    attention, contribution = four_models(1)
    found = judge_slide(attention, contribution, GROUP, in_slide=np.ones(200, bool), seed=1)
    assert found is not None
    assert found.faithful
    assert found.bottom_area > 0
    assert abs(found.shuffled_area) < found.area / 5
    rng = np.random.default_rng(2)
    passed = 0
    for seed in range(20):  # the judges keep their own tiles, the maps that they judge are shuffled
        wrong = judge_slide(
            attention,
            np.stack([c[rng.permutation(200)] for c in contribution]),
            GROUP,
            in_slide=np.ones(200, bool),
            seed=seed,
        )
        assert wrong is not None
        passed += wrong.faithful
    assert passed <= 3


def test_models_that_agree_with_nobody_but_themselves_make_no_faithful_map() -> None:
    passed = 0
    for seed in range(20):
        attention, contribution = four_models(seed, shared=False)
        found = judge_slide(attention, contribution, GROUP, in_slide=np.ones(200, bool), seed=seed)
        assert found is not None
        passed += found.faithful
    assert passed <= 3


def test_reading_the_kept_tiles_again_gives_the_same_answer_where_attention_renormalises() -> None:
    attention, contribution = four_models(3)

    def judge(kept: np.ndarray) -> np.ndarray:
        return np.asarray(contribution[:, kept].sum(axis=1) / attention[:, kept].sum(axis=1))

    slide = np.arange(200) < 120
    closed = judge_slide(attention, contribution, GROUP, in_slide=slide, seed=1)
    read = judge_slide(attention, contribution, GROUP, in_slide=slide, seed=1, judge=judge)
    assert closed is not None
    assert read is not None
    assert read.area == pytest.approx(closed.area, abs=1e-9)


def test_without_a_second_repeat_or_seed_nobody_judges() -> None:
    attention, contribution = four_models(1)
    assert (
        judge_slide(attention, contribution, np.zeros(4, int), in_slide=np.ones(200, bool), seed=1)
        is None
    )


def test_the_cohort_counts_a_patient_once() -> None:
    good, bad = four_models(1), four_models(2, shared=False)
    slides = [
        judge_slide(*models, GROUP, in_slide=np.ones(200, bool), seed=1)
        for models in (good, good, bad)
    ]
    kept = [s for s in slides if s is not None]
    cohort = summarise(kept, ["A", "A", "B"], np.array([1.0, 1.0, 0.0]))
    assert cohort.patients == 2
    assert cohort.area == pytest.approx((kept[0].area + kept[2].area) / 2)
    assert (cohort.high_risk_slides, cohort.high_risk_better) == (2, 1.0)


def test_agreement_is_spearman() -> None:
    from scipy.stats import spearmanr

    values = np.random.default_rng(1).normal(size=(2, 30))
    assert rank_agreement(values) == pytest.approx(spearmanr(values[0], values[1]).statistic)


def test_flagged_tiles_count_by_the_size_of_their_contribution() -> None:
    assert share_from(np.array([True, False, True]), np.array([-1.0, 2.0, 1.0])) == 0.5
