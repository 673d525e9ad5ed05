"""Is the effect of the score a straight line? A restricted cubic spline against it, by likelihood
ratio.

Three to five knots at fixed quantiles; linear beyond the outer ones. Source: Durrleman & Simon,
Stat Med 8 (1989) 551-561; Harrell, Regression Modeling Strategies (2015), 2.4.5. The basis is that
of R rms::rcs; checked in tests/survival/test_agreement_with_r.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from pathoml.errors import CohortError
from pathoml.survival.cox import LikelihoodRatio, fit_cox, likelihood_ratio_test
from pathoml.survival.outcome import checked_outcome, checked_score
from pathoml.types import Array

QUANTILES = {
    3: (0.10, 0.5, 0.90),
    4: (0.05, 0.35, 0.65, 0.95),
    5: (0.05, 0.275, 0.5, 0.725, 0.95),
}  # Harrell 2015, table 2.3
CURVE_POINTS = 41


@dataclass(frozen=True, kw_only=True)
class SplineForm:
    """The test of a bent line, and the hazard ratio against the median score."""

    test: LikelihoodRatio
    knots: Array
    score: Array  # (41,) from the 2.5th to the 97.5th percentile
    hazard_ratio: Array
    low: Array
    high: Array


def spline_basis(values: npt.ArrayLike, knots: npt.ArrayLike) -> Array:
    """Return (B, K - 1): the values themselves and K - 2 cubic terms, scaled by the squared
    distance of the outer knots.

    >>> spline_basis([0.0, 1.0, 3.0], [0.0, 1.0, 2.0])[:, 1]  # 1/4 (1^3), and linear after 2
    array([0.  , 0.25, 3.  ])
    """
    x, k = np.asarray(values, dtype=np.float64)[:, None], np.asarray(knots, dtype=np.float64)

    def cube(v: Array) -> Array:
        return np.asarray(np.clip(v, 0.0, None) ** 3)

    last, before = k[-1], k[-2]
    inner = k[:-2]
    terms = (
        cube(x - inner)
        - cube(x - before) * (last - inner) / (last - before)
        + cube(x - last) * (before - inner) / (last - before)
    )
    return np.concatenate([x, terms / (last - k[0]) ** 2], axis=1)  # (B, K - 1)


def spline_knots(values: npt.ArrayLike, knots: int = 4) -> Array:
    """Return the knots at Harrell's quantiles.

    Raises:
        CohortError: the values have too many ties for knots that differ.
    """
    placed = np.quantile(np.asarray(values, dtype=np.float64), QUANTILES[knots])
    if not (np.diff(placed) > 0).all():
        raise CohortError(
            f"not estimable: {knots} knots need as many different values of the score; quantiles"
            f" are {placed.tolist()}."
        )
    return placed


def spline_form(
    score: npt.ArrayLike,
    time_months: npt.ArrayLike,
    event: npt.ArrayLike,
    *,
    knots: int = 4,
    entry_months: npt.ArrayLike | None = None,
) -> SplineForm:
    """Test a spline of the score against a straight line, and return its curve."""
    time, seen = checked_outcome(time_months, event)
    x = checked_score(score, len(time))
    placed = spline_knots(x, knots)
    basis = spline_basis(x, placed)
    names = ["the score", *(f"bend {k} of the score" for k in range(1, basis.shape[1]))]
    full = fit_cox(basis, time, seen, entry_months=entry_months, names=names)
    straight = fit_cox(x[:, None], time, seen, entry_months=entry_months, names=names[:1])
    test = likelihood_ratio_test(full, straight)
    grid = np.linspace(float(np.quantile(x, 0.025)), float(np.quantile(x, 0.975)), CURVE_POINTS)
    against_median = spline_basis(grid, placed) - spline_basis(
        [float(np.median(x))], placed
    )  # (41, K - 1)
    effect = against_median @ full.coefficients
    error = np.sqrt(np.einsum("gi,ij,gj->g", against_median, full.covariance, against_median))
    reach = stats.norm.ppf(0.975) * error
    return SplineForm(
        test=test,
        knots=placed,
        score=grid,
        hazard_ratio=np.exp(effect),
        low=np.exp(effect - reach),
        high=np.exp(effect + reach),
    )
