"""Whether a score goes with a column: Spearman's correlation with its interval, and the test of
Kruskal and Wallis between levels.

Source: Bonett & Wright, Psychometrika 65 (2000) 23-28 (interval); Kruskal & Wallis, J Am Stat Assoc
47 (1952) 583-621. Checked against R cor.test and kruskal.test in
tests/survival/test_rank_association.py.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import stats

from pathoml.errors import CohortError
from pathoml.survival.estimate import Estimate
from pathoml.types import Array

FEWEST_PAIRED = 10  # patients
FEWEST_OF_LEVEL = 2  # smaller levels are left out of the test


def spearman(score: npt.ArrayLike, values: npt.ArrayLike, *, events: int) -> tuple[Estimate, float]:
    """Return Spearman's correlation of (B,) scores and values with its interval, and its p value
    (by t, as R cor.test(exact = FALSE)).

    Args:
        events: of these patients, as every estimate has them.

    Raises:
        CohortError: fewer than ten patients, or all values equal.

    >>> correlation, p = spearman(range(12), [x * x for x in range(12)], events=5)
    >>> round(correlation.estimate, 6), p < 1e-6
    (1.0, True)
    """
    a, b = np.asarray(score, dtype=np.float64), np.asarray(values, dtype=np.float64)
    n = len(a)
    if n < FEWEST_PAIRED:
        raise CohortError(f"not estimable: {n} patients; it needs {FEWEST_PAIRED}.")
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        raise CohortError("not estimable: all values are equal.")
    rho = float(np.clip(np.corrcoef(stats.rankdata(a), stats.rankdata(b))[0, 1], -1, 1))
    rest = 1 - rho**2
    p = float(2 * stats.t.sf(abs(rho) * math.sqrt((n - 2) / rest), n - 2)) if rest > 0 else 0.0
    low = high = None
    if abs(rho) < 1 - 1e-12:
        reach = float(stats.norm.ppf(0.975)) * math.sqrt((1 + rho**2 / 2) / (n - 3))
        low, high = math.tanh(math.atanh(rho) - reach), math.tanh(math.atanh(rho) + reach)
    return Estimate(estimate=rho, low=low, high=high, n=n, events=events), p


def kruskal_wallis(score: Array, level: npt.NDArray[np.str_]) -> tuple[float, int, float]:
    """Return chi-square, degrees of freedom and p of a difference in (B,) scores between levels;
    levels of one patient are left out.

    Raises:
        CohortError: fewer than two levels, or all scores equal.

    >>> chi2, df, _ = kruskal_wallis(np.array([1.0, 2, 3, 4]), np.array(["a", "a", "b", "b"]))
    >>> round(chi2, 6), df
    (2.4, 1)
    """
    names, counts = np.unique(level, return_counts=True)
    groups = [score[level == name] for name in names[counts >= FEWEST_OF_LEVEL]]
    if len(groups) < 2:
        raise CohortError("not estimable: fewer than two levels of two patients.")
    if np.ptp(np.concatenate(groups)) == 0:
        raise CohortError("not estimable: all scores are equal.")
    found = stats.kruskal(*groups)
    return float(found.statistic), len(groups) - 1, float(found.pvalue)
