"""Concordance of cross-validated scores against hand-worked cases, R, and a simulated procedure."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.r_oracle import r_data, run_r

from pathoml.errors import CohortError
from pathoml.survival.concordance import concordance, harrell_c, harrell_c_interval
from pathoml.survival.fold_concordance import (
    DIFFERENCE_WIDENING,
    WIDENING,
    FoldedScores,
    fold_c_difference,
    fold_c_interval,
    fold_concordance,
    frozen_scores,
)


def some_scores(n: int = 60, repeats: int = 2, seed: int = 1) -> tuple[FoldedScores, dict]:
    rng = np.random.default_rng(seed)
    score = rng.normal(size=(repeats, n)).round(1)
    died, left = rng.exponential(np.exp(-score.mean(axis=0))), rng.exponential(1.5, size=n)
    cohort = {
        "time": np.minimum(died, left).round(2) + 0.01,
        "event": (died <= left).astype(int),
        "centre": rng.choice(list("ABC"), size=n),
    }
    fold = rng.choice(["1", "2", "3"], size=(repeats, n))
    return FoldedScores(scores=score, fold=fold, mean=score.mean(axis=0)), cohort


def outcome(cohort: dict) -> tuple[np.ndarray, np.ndarray]:
    return cohort["time"], cohort["event"]


def test_pairs_of_different_folds_do_not_count():
    # Within folds: (0, 1) right, (2, 3) wrong. Across folds all four pairs are right.
    fold = np.array([["a", "a", "b", "b"]])
    scores = FoldedScores(
        scores=np.array([[4.0, 3.0, 1.0, 2.0]]), fold=fold, mean=np.array([4.0, 3.0, 1.0, 2.0])
    )
    time, event = [1, 2, 3, 4], [1, 1, 1, 1]
    assert fold_concordance(scores, time, event).estimate == 0.5
    assert harrell_c(scores.mean, time, event) == 5 / 6


def test_pairs_are_summed_over_partitions_before_they_are_divided():
    # First partition: 1 of 1 pair, in fold a; second: (0, 3), (1, 2), (1, 3) and (2, 3) of 6 pairs.
    fold = np.array([["a", "a", "b", "c"], ["x", "x", "x", "x"]])
    score = np.array([[2.0, 1.0, 0.0, 0.0], [1.0, 3.0, 2.0, 0.0]])
    time, event = [1, 2, 3, 4], [1, 1, 1, 1]
    scores = FoldedScores(scores=score, fold=fold, mean=score.mean(axis=0))
    assert fold_concordance(scores, time, event).estimate == pytest.approx(5 / 7)


def test_c_within_folds_and_centres_equals_the_sum_of_rs_counts():
    scores, cohort = some_scores()
    columns = {f"score{r}": scores.scores[r] for r in range(2)}
    columns |= {f"fold{r}": scores.fold[r] for r in range(2)}
    found = run_r(
        r_data({**cohort, **columns})
        + """
        y <- Surv(time, event)
        counts <- function(x, group) {
          count <- concordance(y ~ x + strata(group), reverse = TRUE)$count
          if (is.matrix(count)) colSums(count) else count
        }
        both <- counts(score0, paste(fold0, centre)) + counts(score1, paste(fold1, centre))
        pairs <- both["concordant"] + both["discordant"] + both["tied.x"]
        show("c", (both["concordant"] + both["tied.x"] / 2) / pairs)
        """
    )
    ours = fold_concordance(scores, *outcome(cohort), stratum=cohort["centre"])
    assert ours.estimate == pytest.approx(found["c"][0], abs=1e-12)


def test_the_error_of_a_trained_score_is_widened_and_that_of_a_frozen_one_is_not():
    scores, cohort = some_scores(n=200, repeats=40)
    trained = fold_concordance(scores, *outcome(cohort))
    given = concordance(scores.mean, *outcome(cohort)).standard_error
    assert trained.within.standard_error < given * WIDENING
    assert trained.standard_error == given * WIDENING
    frozen = fold_c_interval(frozen_scores(scores.mean), *outcome(cohort))
    assert frozen == harrell_c_interval(scores.mean, *outcome(cohort))


def test_one_partition_has_the_error_of_its_own_few_pairs_where_that_is_larger():
    scores, cohort = some_scores(n=60, repeats=1)
    scores = replace(scores, fold=np.array([[str(b % 6) for b in range(60)]]))
    found = fold_concordance(scores, *outcome(cohort), stratum=cohort["centre"])
    assert found.within.standard_error > WIDENING * found.averaged.standard_error
    assert found.standard_error == found.within.standard_error


def test_a_difference_of_two_scores_needs_the_same_folds():
    scores, cohort = some_scores()
    other = replace(scores, fold=scores.fold[::-1])
    with pytest.raises(CohortError, match="same folds only"):
        fold_c_difference(scores, other, cohort["time"], event=cohort["event"])


def test_a_difference_is_that_of_the_two_estimates_with_its_own_widening():
    scores, cohort = some_scores(n=150, repeats=40)
    noise = 0.3 * np.random.default_rng(2).normal(size=150)
    other = replace(scores, scores=scores.scores + noise, mean=scores.mean + noise)
    a, b = (fold_concordance(one, *outcome(cohort)) for one in (scores, other))
    found = fold_c_difference(scores, other, cohort["time"], event=cohort["event"])
    assert found.estimate == pytest.approx(a.estimate - b.estimate)
    error = a.averaged.minus(b.averaged).standard_error
    assert found.high - found.estimate == pytest.approx(1.959964 * DIFFERENCE_WIDENING * error)


def test_equal_scores_are_not_estimable():
    scores, cohort = some_scores()
    constant = replace(scores, scores=np.zeros_like(scores.scores), mean=np.zeros(60))
    with pytest.raises(CohortError, match="not estimable: all 60 scores are equal"):
        fold_c_interval(constant, *outcome(cohort))


def test_some_patients_keep_their_folds():
    scores, cohort = some_scores()
    rows = cohort["centre"] == "A"
    some = fold_concordance(scores.rows(rows), cohort["time"][rows], cohort["event"][rows])
    assert some.within.influence.shape == (rows.sum(),)


def test_the_error_of_a_part_is_widened_by_its_share_of_whom_its_models_learned_from():
    scores, _ = some_scores(n=60, repeats=1)
    folds = replace(scores, fold=np.array([[str(b % 5) for b in range(60)]]))
    half, centre = np.arange(60) < 30, np.arange(60) < 10
    assert folds.widening_of(np.ones(60, bool)) == pytest.approx(WIDENING)
    # 30 patients, 6 of each fold: 30 x 24 pairs trained one another, of 30 x 48 who trained them
    assert folds.rows(half).widening == pytest.approx((1 + 24 / 48) ** 0.5)
    left_out = replace(scores, fold=np.array([[str(b // 10) for b in range(60)]]))
    assert left_out.rows(centre).widening == 1.0  # no patient of the centre trained its model
    assert frozen_scores(np.arange(60.0)).rows(half).widening == 1.0


@pytest.mark.nightly
@pytest.mark.parametrize(
    "cell", ["n60 null", "n60 null centre effects", "n60 weak centre effects", "n60 null left out"]
)
def test_the_interval_holds_c_on_new_patients_of_the_procedure_93_to_98_times_in_100(cell):
    path = Path(__file__).parents[2] / "benchmarks" / "interval_coverage.py"
    spec = importlib.util.spec_from_file_location("interval_coverage", path)
    simulation = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = simulation  # its dataclasses look their module up
    spec.loader.exec_module(simulation)
    found = simulation.simulate(simulation.CELLS[cell], cohorts=300, seed=11)
    assert 0.915 <= min(simulation.held(found["C"])) <= 0.99  # standard error: 1.3 points
