"""One number from several hospitals, how far they lie apart, and where the next would lie.

Random-effects meta-analysis: tau^2, the variance between hospitals, by restricted maximum
likelihood; the interval of the mean by Hartung & Knapp (t with k - 1 degrees of freedom), never
narrower than without heterogeneity (Knapp & Hartung, Stat Med 22 (2003) 2693-2710, 4); the
prediction interval of the next hospital by Higgins, Thompson & Spiegelhalter (t with k - 2). A
concordance is pooled on the logit, a ratio on the log scale, where they are nearer to normal.

Source: DerSimonian & Laird, Control Clin Trials 7 (1986) 177-188; Hartung & Knapp, Stat Med 20
(2001) 3875-3889; Higgins, Thompson & Spiegelhalter, J R Stat Soc A 172 (2009) 137-159; Debray et
al., BMJ 356 (2017) i6460; Snell et al., Stat Methods Med Res 27 (2018) 3505-3522. Checked against R
`metafor::rma` (REML; test = "adhoc" and "knha") in tests/survival/test_random_effects.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize, special, stats

from pathoml.errors import CohortError
from pathoml.types import Array

GRID = 200  # values of tau^2 among which the likeliest is sought before it is refined
FEWEST = 2  # hospitals of a mean
FEWEST_FORETOLD = 3  # of a prediction interval, which has k - 2 degrees of freedom


@dataclass(frozen=True, kw_only=True)
class PooledHospitals:
    """The mean of k hospitals and the next one, on the scale that was pooled on or back from it."""

    estimate: float
    low: float
    high: float
    prediction_low: float | None  # None of two hospitals
    prediction_high: float | None
    standard_error: float  # by Hartung & Knapp, on the scale that was pooled on
    tau2: float  # on the scale that was pooled on
    i2: float  # share of the variance of the hospitals' values that is not chance
    q: float  # Cochran's, of no heterogeneity: chi-square with k - 1
    q_p_value: float
    hospitals: int

    def back(self, transform: Callable[[float], float]) -> PooledHospitals:
        """Return the same with the ends and the mean on their own scale."""
        ends = {
            name: None if value is None else float(transform(value))
            for name, value in {
                "estimate": self.estimate,
                "low": self.low,
                "high": self.high,
                "prediction_low": self.prediction_low,
                "prediction_high": self.prediction_high,
            }.items()
        }
        rest = ("standard_error", "tau2", "i2", "q", "q_p_value", "hospitals")
        return PooledHospitals(**ends, **{name: getattr(self, name) for name in rest})  # type: ignore[arg-type]


def pool_hospitals(
    values: npt.ArrayLike,
    standard_errors: npt.ArrayLike,
    *,
    level: float = 0.95,
    at_least_fixed: bool = True,
) -> PooledHospitals:
    """Return the random-effects mean of k hospitals.

    Args:
        values: (k,) on a scale where they are about normal.
        standard_errors: (k,) each hospital's own, > 0.
        level: of both intervals.
        at_least_fixed: where hospitals lie nearer together than their own errors allow, Hartung &
            Knapp's error is smaller than that of hospitals without any heterogeneity; True keeps
            the latter then (metafor's test = "adhoc"), False does not (test = "knha").

    Raises:
        CohortError: fewer than two hospitals, or a value or error that is no number.

    Alike hospitals have no variance between them, and the mean of equally sure ones is the plain
    mean:

    >>> pooled = pool_hospitals([0.4, 0.5, 0.6], [0.2, 0.2, 0.2])
    >>> round(pooled.estimate, 10), pooled.tau2
    (0.5, 0.0)
    """
    y = np.asarray(values, dtype=np.float64)  # (k,)
    v = np.asarray(standard_errors, dtype=np.float64) ** 2  # (k,)
    k = len(y)
    if k < FEWEST or y.shape != v.shape:
        raise CohortError(
            f"not estimable: {k} hospitals with a value of their own; a mean over hospitals needs"
            f" {FEWEST}."
        )
    if not (np.isfinite(y).all() and np.isfinite(v).all() and (v > 0).all()):
        raise CohortError(
            "not estimable: a hospital's value or standard error is no positive number."
        )
    tau2 = reml_tau2(y, v)
    weight = 1 / (v + tau2)
    mean = float((weight * y).sum() / weight.sum())
    spread = float((weight * (y - mean) ** 2).sum() / (k - 1))  # 1 where tau^2 fits
    if at_least_fixed:
        spread = max(spread, 1.0)
    error = float(np.sqrt(spread / weight.sum()))
    reach = float(stats.t.ppf((1 + level) / 2, k - 1)) * error
    ahead = None
    if k >= FEWEST_FORETOLD:
        ahead = float(stats.t.ppf((1 + level) / 2, k - 2) * np.sqrt(error**2 + tau2))
    fixed = 1 / v
    q = float((fixed * (y - (fixed * y).sum() / fixed.sum()) ** 2).sum())
    typical = (k - 1) * fixed.sum() / (fixed.sum() ** 2 - (fixed**2).sum())
    return PooledHospitals(
        estimate=mean,
        low=mean - reach,
        high=mean + reach,
        prediction_low=None if ahead is None else mean - ahead,
        prediction_high=None if ahead is None else mean + ahead,
        standard_error=error,
        tau2=tau2,
        i2=float(tau2 / (tau2 + typical)),
        q=q,
        q_p_value=float(stats.chi2.sf(q, k - 1)),
        hospitals=k,
    )


def pool_concordance(
    concordance: npt.ArrayLike, standard_errors: npt.ArrayLike, *, level: float = 0.95
) -> PooledHospitals:
    """Return the mean C of k hospitals, pooled on the logit; tau^2 and the error stay on it.

    Args:
        concordance: (k,) between 0 and 1, both excluded.
        standard_errors: (k,) of C; by the delta method on the logit.

    >>> round(pool_concordance([0.6, 0.6], [0.05, 0.05]).estimate, 10)
    0.6
    """
    c = np.asarray(concordance, dtype=np.float64)
    if not ((c > 0) & (c < 1)).all():
        raise CohortError("not estimable: a hospital's C of 0 or 1 has no logit.")
    errors = np.asarray(standard_errors, dtype=np.float64) / (c * (1 - c))
    return pool_hospitals(special.logit(c), errors, level=level).back(special.expit)


def pool_observed_to_expected(
    observed: npt.ArrayLike, expected: npt.ArrayLike, *, level: float = 0.95
) -> PooledHospitals:
    """Return the mean of events seen over events foretold in k hospitals, pooled on the log scale;
    the error of a log ratio is 1 / sqrt(events seen), as what was foretold is given.

    Args:
        observed: (k,) events, > 0.
        expected: (k,) foretold, > 0.

    >>> round(pool_observed_to_expected([20, 20], [20, 20]).estimate, 10)
    1.0
    """
    seen = np.asarray(observed, dtype=np.float64)
    foretold = np.asarray(expected, dtype=np.float64)
    if not ((seen > 0).all() and (foretold > 0).all()):
        raise CohortError("not estimable: a hospital without an event has no log ratio.")
    return pool_hospitals(np.log(seen / foretold), seen**-0.5, level=level).back(
        lambda value: float(np.exp(value))
    )


def reml_tau2(values: Array, variances: Array) -> float:
    """Return the restricted maximum-likelihood estimate of tau^2, 0 or more.

    Args:
        values: (k,).
        variances: (k,) within hospitals.
    """
    k = len(values)
    spread = float(values.var(ddof=1)) if k > 1 else 0.0
    if spread == 0:
        return 0.0
    # beyond it the likelihood falls: no hospital lies further from the mean than all of them
    top = 100 * (spread + float(variances.max()))

    def score(tau2: float) -> float:
        """Twice the slope of the restricted log-likelihood."""
        weight = 1 / (variances + tau2)
        residual = values - (weight * values).sum() / weight.sum()
        trace = weight.sum() - (weight**2).sum() / weight.sum()
        return float((weight**2 * residual**2).sum() - trace)

    def likelihood(tau2: float) -> float:
        weight = 1 / (variances + tau2)
        residual = values - (weight * values).sum() / weight.sum()
        return float(
            np.log(weight).sum() - np.log(weight.sum()) - (weight * residual**2).sum()
        )  # twice

    grid = np.concatenate([[0.0], np.geomspace(1e-8 * top, top, GRID)])
    slope = np.array([score(t) for t in grid])
    peaks = [0.0] if slope[0] <= 0 else []
    peaks += [
        float(optimize.brentq(score, grid[i], grid[i + 1], xtol=1e-15 * top, rtol=1e-14))
        for i in np.flatnonzero((slope[:-1] > 0) & (slope[1:] <= 0))
    ]
    return max(peaks, key=likelihood)
