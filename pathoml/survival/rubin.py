"""Rubin's rules: one answer from the fits to several imputed data sets.

The variance of the pooled estimate is the mean variance within a set plus (1 + 1/m) times the
variance between the m sets; the degrees of freedom are those for small samples of Barnard & Rubin.

Source: Rubin, Multiple Imputation for Nonresponse in Surveys (1987), chapter 3; Barnard & Rubin,
Biometrika 86 (1999) 948-955; Meng & Rubin, Biometrika 79 (1992) 103-111; White, Royston & Wood,
Stat Med 30 (2011) 377-399. Checked against R `mice::pool` in tests/survival/test_rubin.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from pathoml.errors import CohortError

# of the variance, below which missing cells make no difference; that of mice:::barnard.rubin
SMALLEST_LAMBDA = 1e-4
FEWEST_SETS = 20  # White, Royston & Wood (2011), section 7.3: that Monte Carlo error is small


@dataclass(frozen=True, kw_only=True)
class PooledEstimate:
    """One coefficient over m imputed sets."""

    estimate: float
    standard_error: float
    df: float  # Barnard & Rubin; infinite where nothing limits it
    within: float  # mean of the sets' variances
    between: float  # variance of the sets' estimates
    missing_information: float  # share of the information that the missing cells took
    sets: int

    @property
    def p_value(self) -> float:
        """Two-sided, of t."""
        return float(2 * stats.t.sf(abs(self.estimate) / self.standard_error, self.df))

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return the t interval."""
        reach = float(stats.t.ppf((1 + level) / 2, self.df)) * self.standard_error
        return self.estimate - reach, self.estimate + reach


@dataclass(frozen=True, kw_only=True)
class PooledLikelihoodRatio:
    """Meng & Rubin's pooled likelihood ratio (D3), an F statistic."""

    f: float
    df: int  # of the numerator: the coefficients that are tested
    denominator_df: float  # infinite: a chi-square over its degrees of freedom

    @property
    def p_value(self) -> float:
        return self.p_value_of(self.f)

    def p_value_of(self, f: float) -> float:
        """Return the p value that another F of these degrees of freedom would have."""
        if math.isinf(self.denominator_df):
            return float(stats.chi2.sf(self.df * f, self.df))
        return float(stats.f.sf(f, self.df, self.denominator_df))


def imputations_needed(incomplete: int, patients: int) -> int:
    """Return how many sets to impute: as many as per cent of the patients are incomplete, 20 at
    least.

    >>> imputations_needed(3, 100), imputations_needed(31, 90)
    (20, 35)
    """
    return max(FEWEST_SETS, math.ceil(100 * incomplete / patients)) if patients else FEWEST_SETS


def pool_estimate(
    estimates: npt.ArrayLike, variances: npt.ArrayLike, *, df_complete: float = math.inf
) -> PooledEstimate:
    """Return one estimate from those of m imputed sets.

    Args:
        estimates: (m,) of one quantity, on the scale where it is about normal: a log hazard ratio.
        variances: (m,) its squared standard errors.
        df_complete: degrees of freedom had nothing been missing; of a Cox model its events less
            its coefficients, as `mice::pool` takes them.

    Raises:
        CohortError: fewer than two sets, or a variance that is not positive.

    Two sets that agree add nothing to the variance within:

    >>> pooled = pool_estimate([0.5, 0.5], [0.04, 0.04])
    >>> pooled.standard_error, pooled.missing_information < 1e-6
    (0.2, True)
    """
    values = np.asarray(estimates, dtype=np.float64)  # (m,)
    squares = np.asarray(variances, dtype=np.float64)  # (m,)
    m = len(values)
    if values.shape != squares.shape or m < 2:
        raise CohortError(
            f"{m} estimates and {len(squares)} variances: pooling needs two imputed data sets at"
            " least, with an estimate and a variance each."
        )
    if not (np.isfinite(values).all() and np.isfinite(squares).all() and (squares > 0).all()):
        raise CohortError("not estimable: an imputed data set has no finite estimate or variance.")
    within, between = float(squares.mean()), float(values.var(ddof=1))
    added = (1 + 1 / m) * between
    total = within + added
    share = max(added / total, SMALLEST_LAMBDA)
    df = (m - 1) / share**2
    if math.isfinite(df_complete):
        kept = max(df_complete, 1.0)
        observed = (kept + 1) / (kept + 3) * kept * (1 - share)
        df = df * observed / (df + observed)
    ratio = added / within
    return PooledEstimate(
        estimate=float(values.mean()),
        standard_error=math.sqrt(total),
        df=df,
        within=within,
        between=between,
        missing_information=(ratio + 2 / (df + 3)) / (ratio + 1),
        sets=m,
    )


def pool_likelihood_ratio(
    own: Sequence[float], at_pooled: Sequence[float], df: int
) -> PooledLikelihoodRatio:
    """Return the pooled likelihood-ratio test of nested models.

    Args:
        own: (m,) twice the gain in log-likelihood, each set at its own coefficients.
        at_pooled: (m,) the same with both models' coefficients held at their means over the sets.
        df: coefficients that only the larger model has.

    >>> round(pool_likelihood_ratio([4.0, 4.0], [4.0, 4.0], 1).p_value, 4)  # as chi-square
    0.0455
    """
    m = len(own)
    if m < 2 or len(at_pooled) != m or df < 1:
        raise CohortError(
            f"{m} and {len(at_pooled)} likelihood ratios with {df} df: pooling needs the same two"
            " or more data sets, and one coefficient at least."
        )
    mean, held = float(np.mean(own)), float(np.mean(at_pooled))
    ratio = max((m + 1) / (df * (m - 1)) * (mean - held), 0.0)
    statistic = max(held, 0.0) / (df * (1 + ratio))
    t = df * (m - 1)
    if ratio == 0:
        return PooledLikelihoodRatio(f=statistic, df=df, denominator_df=math.inf)
    below = (
        4 + (t - 4) * (1 + (1 - 2 / t) / ratio) ** 2
        if t > 4
        else t * (1 + 1 / df) * (1 + 1 / ratio) ** 2 / 2
    )
    return PooledLikelihoodRatio(f=statistic, df=df, denominator_df=below)
