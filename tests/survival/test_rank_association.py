"""What a score goes with: correlations and tests as R has them."""

from __future__ import annotations

import numpy as np
import pytest
from support.r_oracle import r_data, run_r

from pathoml.errors import CohortError
from pathoml.survival.rank_association import kruskal_wallis, spearman


def scored(n=60):
    rng = np.random.default_rng(3)
    score = rng.normal(size=n)
    age = np.round(60 + 5 * score + rng.normal(0, 10, n))  # with ties
    return score, age, rng.choice(["a", "b", "c"], n)


@pytest.mark.ci
def test_correlation_and_test_are_those_of_r():
    score, age, level = scored()
    number = np.unique(level, return_inverse=True)[1].astype(float)
    found = run_r(
        r_data({"score": score, "age": age, "level": number})
        + """
        s <- cor.test(score, age, method = "spearman", exact = FALSE)
        k <- kruskal.test(score, factor(level))
        show("s", c(s$estimate, s$p.value)); show("k", c(k$statistic, k$p.value))
        """
    )
    correlation, p = spearman(score, age, events=20)
    chi2, df, p_level = kruskal_wallis(score, level)
    assert [correlation.estimate, p] == pytest.approx(found["s"], rel=1e-9)
    assert [chi2, p_level] == pytest.approx(found["k"], rel=1e-9)
    assert df == 2


def test_the_interval_of_a_correlation_is_that_of_bonett_and_wright():
    # r = 0.5, n = 28: se = sqrt((1 + 0.125) / 25) = 0.2121; tanh(0.5493 -+ 1.96 * 0.2121)
    rng, best = np.random.default_rng(1), None
    for _ in range(4000):
        a, b = rng.permutation(28), np.arange(28)
        rho = 1 - 6 * ((a - b) ** 2).sum() / (28 * (28**2 - 1))
        if best is None or abs(rho - 0.5) < abs(best[0] - 0.5):
            best = rho, a, b
    rho, a, b = best
    found, _ = spearman(a, b, events=3)
    error = np.sqrt((1 + rho**2 / 2) / 25)
    assert found.low == pytest.approx(np.tanh(np.arctanh(rho) - 1.959964 * error), abs=1e-6)
    assert found.high == pytest.approx(np.tanh(np.arctanh(rho) + 1.959964 * error), abs=1e-6)


@pytest.mark.parametrize(
    ("values", "why"), [(range(5), "5 patients; it needs 10"), ([1] * 12, "all values are equal")]
)
def test_too_few_or_equal_values_have_no_correlation(values, why):
    with pytest.raises(CohortError, match=why):
        spearman(np.arange(len(values)), values, events=1)


def test_levels_of_one_patient_are_left_out_of_the_test():
    score, level = np.array([1.0, 2, 3, 4, 9]), np.array(["a", "a", "b", "b", "c"])
    assert kruskal_wallis(score, level)[:2] == (pytest.approx(2.4), 1)
    with pytest.raises(CohortError, match="fewer than two levels"):
        kruskal_wallis(score[[0, 1, 4]], level[[0, 1, 4]])
