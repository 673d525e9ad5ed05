"""Do raters agree beyond chance: Cohen's kappa (plain and quadratically weighted) and Fleiss'
kappa, with intervals over items.

Source: Cohen, Educ Psychol Meas 20 (1960) 37-46 and Psychol Bull 70 (1968) 213-220; Fleiss, Psychol
Bull 76 (1971) 378-382. Cohen's is checked against scikit-learn, Fleiss' against the worked example
that textbooks print (0.210).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from pathoml.survival.estimate import Estimate

Ratings = npt.NDArray[np.integer]
BOOTSTRAPS = 1000
FEWEST_ITEMS = 5


def cohen_kappa(first: Ratings, second: Ratings, *, weighted: bool, levels: int = 5) -> Estimate:
    """Return kappa of two readings of the same items.

    Args:
        first: (I,) from 1 to `levels`.
        weighted: by the square of the distance, for ordered scores.
    """

    distance = np.abs(np.subtract.outer(np.arange(levels), np.arange(levels)))
    cost = distance**2 if weighted else (distance > 0)  # (L, L) of a disagreement

    def kappa(rows: npt.NDArray[np.integer]) -> float:
        table = np.bincount(
            (first[rows] - 1) * levels + second[rows] - 1, minlength=levels**2
        ).reshape(levels, levels) / len(rows)
        by_chance = float((cost * np.outer(table.sum(axis=1), table.sum(axis=0))).sum())
        return (
            1 - float((cost * table).sum()) / by_chance if by_chance > 0 else float("nan")
        )  # one score for all: undefined

    return _over_items(kappa, len(first))


def fleiss_kappa(counts: npt.NDArray[np.integer]) -> Estimate:
    """Return kappa of several raters.

    Args:
        counts: (I, L) how many raters gave item i the score l; the same number of raters for each
            item.

    >>> fleiss_kappa(np.array([[2, 0], [0, 2], [2, 0], [0, 2], [2, 0]])).estimate
    1.0
    """

    def kappa(rows: npt.NDArray[np.integer]) -> float:
        table = counts[rows].astype(np.float64)
        raters = table.sum(axis=1)[0]
        observed = ((table**2).sum(axis=1) - raters).mean() / (raters * (raters - 1))
        chance = ((table.sum(axis=0) / table.sum()) ** 2).sum()
        return float((observed - chance) / (1 - chance)) if chance < 1 else float("nan")

    return _over_items(kappa, len(counts))


def _over_items(kappa: Callable[[npt.NDArray[np.integer]], float], items: int) -> Estimate:
    """Return the value with its percentile interval over resampled items; no interval for fewer
    than 5 items.
    """
    value = kappa(np.arange(items))
    if items < FEWEST_ITEMS or not np.isfinite(value):
        return Estimate(estimate=value, low=None, high=None, n=items, events=0)
    rng = np.random.default_rng(1)
    drawn = np.array([kappa(rng.integers(0, items, items)) for _ in range(BOOTSTRAPS)])
    low, high = np.nanpercentile(drawn, (2.5, 97.5))
    return Estimate(estimate=value, low=float(low), high=float(high), n=items, events=0)
