"""Concordance of a risk score with follow-up, and what the bootstrap over patients says of its
precision.

Conventions, those of R `survival::concordance(Surv(time, event) ~ log_risk, reverse = TRUE)`:

- Higher log_risk means an earlier event.
- A pair is comparable if the earlier of the two had the event. At one and the same time, a censored
  patient has outlived one with the event; two events are not comparable.
- Equal scores count one half. Equal means the same float: there is no tolerance, so C does not
  depend on the score's scale.

Every statistic is a ratio of two sums over pairs. A bootstrap draw is a count for each patient, so
the sums of all draws are two matrix products, and a patient drawn twice makes no pair with itself
because nobody outlives themselves.

Source: Harrell et al., JAMA 247 (1982) 2543-2546; Uno et al., Stat Med 30 (2011) 1105-1117.
Checked against R in tests/survival/test_concordance.py.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from pathoml.errors import CohortError
from pathoml.survival.censoring import uncensored_before
from pathoml.survival.estimate import Estimate, percentile_estimate
from pathoml.survival.outcome import checked_groups, checked_outcome, checked_score
from pathoml.types import Array

MIN_PATIENTS = 10  # below this an interval is "not estimable": it would rest on a few pairs
# share of bootstrap draws without a comparable pair; above it the percentiles mean little
MAX_EMPTY_DRAWS = 0.05


def harrell_c(log_risk: npt.ArrayLike, time_months: npt.ArrayLike, event: npt.ArrayLike) -> float:
    """Return Harrell's C: the share of comparable pairs in which the higher score had the earlier
    event.

    Args:
        log_risk: (B,) higher means earlier event.
        time_months: (B,) months to the event or the last visit.
        event: (B,) bool or 0/1, True if the event was seen.

    Raises:
        CohortError: lengths differ, a value is missing, or no pair is comparable.

    Pairs: 3 + 1.5 + 1 concordant of 3 + 2 + 1.

    >>> harrell_c([3.0, 2.0, 2.0, 1.0], [1, 2, 3, 3], [1, 1, 1, 0])
    0.9166666666666666
    """
    pairs = _Pairs(log_risk, time_months, event)
    return _estimate(pairs.concordance(np.ones((1, pairs.n))), pairs)


def stratified_harrell_c(
    log_risk: npt.ArrayLike,
    time_months: npt.ArrayLike,
    event: npt.ArrayLike,
    *,
    stratum: npt.ArrayLike,
) -> float:
    """Return Harrell's C over the pairs within a stratum, as R does with `+ strata(centre)`.

    A score that only knows the centre gets 0.5.

    >>> score, time, event = [9.0, 9.0, 1.0, 1.0], [1, 2, 5, 6], [1, 1, 1, 1]
    >>> stratified_harrell_c(score, time, event, stratum=["A", "A", "B", "B"])
    0.5
    """
    pairs = _Pairs(log_risk, time_months, event, stratum=stratum)
    return _estimate(pairs.concordance(np.ones((1, pairs.n))), pairs)


def uno_c(
    log_risk: npt.ArrayLike,
    time_months: npt.ArrayLike,
    event: npt.ArrayLike,
    *,
    tau: float | None = None,
) -> float:
    """Return Uno's C: Harrell's pairs weighted by 1 / G(t-)^2, so that it does not depend on how
    patients were censored.

    G is the Kaplan-Meier estimate of staying uncensored just before the event; patients with an
    event at the same time as a censoring are no longer at risk of being censored. Equals R
    `concordance(..., timewt = "n/G2", ymax = tau)`.

    Args:
        log_risk: (B,) higher means earlier event.
        time_months: (B,) months to the event or the last visit.
        event: (B,) bool or 0/1.
        tau: months; pairs whose earlier event comes after tau do not count. None counts all, and
            then a few late events may carry most of the weight.

    All pairs are concordant; G(1-) = 1, G(3-) = 2/3.

    >>> uno_c([3.0, 1.0, 2.0, 0.0], [1, 2, 3, 4], [1, 0, 1, 0])
    1.0
    """
    pairs = _Pairs(log_risk, time_months, event)
    return _estimate(pairs.uno_concordance(np.ones((1, pairs.n)), tau), pairs, tau)


def harrell_c_interval(
    log_risk: npt.ArrayLike,
    time_months: npt.ArrayLike,
    event: npt.ArrayLike,
    *,
    stratum: npt.ArrayLike | None = None,
    resample_within: npt.ArrayLike | None = None,
    bootstraps: int = 1000,
    seed: int = 1,
    level: float = 0.95,
) -> Estimate:
    """Return Harrell's C with a percentile interval from the bootstrap over patients.

    The interval is conditional on the scores: it says nothing of how another training run would
    have scored.

    Args:
        log_risk: (B,) higher means earlier event.
        time_months: (B,) months to the event or the last visit.
        event: (B,) bool or 0/1.
        stratum: (B,) labels; only pairs within a stratum count. None counts every pair.
        resample_within: (B,) labels; each draw keeps the number of patients of every label. None
            draws from all.
        bootstraps: number of draws.
        seed: of the draws; the same seed gives the same interval.
        level: coverage aimed at, between 0 and 1.

    Raises:
        CohortError: fewer than 10 patients, no event, or too many draws without a comparable pair
            ("not estimable: ..."), or scores that are all equal: their C of one half says nothing.
    """
    pairs = _Pairs(log_risk, time_months, event, stratum=stratum)
    counts = draw_counts(pairs.n, bootstraps, seed, resample_within=resample_within)
    estimate = _estimate(pairs.concordance(np.ones((1, pairs.n))), pairs)
    pairs.require_different_scores()
    return _interval(estimate, pairs.concordance(counts), pairs, level)


def uno_c_interval(
    log_risk: npt.ArrayLike,
    time_months: npt.ArrayLike,
    event: npt.ArrayLike,
    *,
    tau: float | None = None,
    resample_within: npt.ArrayLike | None = None,
    bootstraps: int = 1000,
    seed: int = 1,
    level: float = 0.95,
) -> Estimate:
    """Return Uno's C with a percentile interval; the censoring weights are estimated anew in every
    draw.

    Arguments and errors as in harrell_c_interval and uno_c.
    """
    pairs = _Pairs(log_risk, time_months, event)
    counts = draw_counts(pairs.n, bootstraps, seed, resample_within=resample_within)
    estimate = _estimate(pairs.uno_concordance(np.ones((1, pairs.n)), tau), pairs, tau)
    pairs.require_different_scores()
    return _interval(estimate, pairs.uno_concordance(counts, tau), pairs, level)


def harrell_c_difference(
    score_a: npt.ArrayLike,
    score_b: npt.ArrayLike,
    time_months: npt.ArrayLike,
    *,
    event: npt.ArrayLike,
    stratum: npt.ArrayLike | None = None,
    resample_within: npt.ArrayLike | None = None,
    bootstraps: int = 1000,
    seed: int = 1,
    level: float = 0.95,
) -> Estimate:
    """Return C of score_a minus C of score_b with a percentile interval, both scores on the same
    draws of patients.

    Arguments and errors as in harrell_c_interval.
    """
    pairs_a = _Pairs(score_a, time_months, event, stratum=stratum)
    pairs_b = _Pairs(score_b, time_months, event, stratum=stratum)
    counts = draw_counts(pairs_a.n, bootstraps, seed, resample_within=resample_within)
    everyone = np.ones((1, pairs_a.n))
    estimate = _estimate(pairs_a.concordance(everyone), pairs_a) - _estimate(
        pairs_b.concordance(everyone), pairs_b
    )
    draws = pairs_a.concordance(counts) - pairs_b.concordance(counts)
    found = _interval(estimate, draws, pairs_a, level)
    if len(draws) and not draws.any():  # the two order everybody alike: 0, whoever is drawn
        return replace(found, low=0.0, high=0.0)
    return found


def draw_counts(
    n: int, bootstraps: int, seed: int, *, resample_within: npt.ArrayLike | None = None
) -> Array:
    """Return how often each patient is in each bootstrap draw: (bootstraps, n), whole numbers as
    float64.

    The only one of B is always drawn once:

    >>> draw_counts(4, 3, seed=1, resample_within=["A", "A", "A", "B"])[:, 3]
    array([1., 1., 1.])
    """
    group = (
        np.zeros(n, dtype=np.int64)
        if resample_within is None
        else checked_groups(resample_within, n, "resample_within")
    )
    rng = np.random.default_rng(seed)
    counts = np.empty((bootstraps, n))  # (R, B)
    for value in range(int(group.max()) + 1):
        members = np.flatnonzero(group == value)
        share = np.full(len(members), 1 / len(members))
        counts[:, members] = rng.multinomial(len(members), share, size=bootstraps)
    return counts


class _Pairs:
    """The pairs of one score that can be compared: rows are the E patients with an event, columns
    all B patients.
    """

    def __init__(
        self,
        log_risk: npt.ArrayLike,
        time_months: npt.ArrayLike,
        event: npt.ArrayLike,
        *,
        stratum: npt.ArrayLike | None = None,
    ) -> None:
        self.time, self.event = checked_outcome(time_months, event)
        self.n = len(self.time)
        self.stratified = stratum is not None
        score = checked_score(log_risk, self.n)
        self.constant = not np.ptp(score) > 0
        first = np.flatnonzero(self.event)  # (E,)
        self.first = first
        outlived = (self.time > self.time[first, None]) | (
            (self.time == self.time[first, None]) & ~self.event
        )  # (E, B)
        if stratum is not None:
            group = checked_groups(stratum, self.n, "stratum")
            outlived &= group == group[first, None]
        # float32 halves the time of the products, and sums of halves stay exact up to 2**23 pairs
        # an event
        self.comparable = outlived.astype(np.float32)  # (E, B)
        lower, equal = score < score[first, None], score == score[first, None]
        self.credit = self.comparable * (lower + np.float32(0.5) * equal)  # (E, B)

    def require_different_scores(self) -> None:
        """Raise CohortError where all scores are equal; a score that is so within strata only knows
        the stratum, and gets one half there.
        """
        if self.constant:
            raise CohortError("not estimable: all scores are equal.")

    def concordance(self, counts: Array, weight: Array | float = 1.0) -> Array:
        """Return C of every draw, (R,) from counts (R, B) and the weight of each event, (R, E); NaN
        where no pair is.
        """
        drawn = counts.astype(np.float32)
        of_event = counts[:, self.first] * weight  # (R, E)
        concordant = (of_event * (drawn @ self.credit.T)).sum(axis=1)  # (R,)
        comparable = (of_event * (drawn @ self.comparable.T)).sum(axis=1)  # (R,)
        concordance = np.full(len(counts), np.nan)
        np.divide(concordant, comparable, out=concordance, where=comparable > 0)
        return concordance

    def uno_concordance(self, counts: Array, tau: float | None) -> Array:
        """Return Uno's C of every draw, (R,)."""
        uncensored = uncensored_before(counts, self.time, self.event)[:, self.first]  # (R, E)
        counted = (
            np.ones(len(self.first))
            if tau is None
            else (self.time[self.first] <= tau).astype(float)
        )
        return self.concordance(counts, counted / uncensored**2)


def _estimate(concordance: Array, pairs: _Pairs, tau: float | None = None) -> float:
    if np.isnan(concordance[0]):
        within = " within a stratum" if pairs.stratified else ""
        until = "" if tau is None else f" until {tau:g} months"
        raise CohortError(
            f"No comparable pair{within}{until}: {pairs.n} patients, {len(pairs.first)} events. "
            "Concordance needs a patient with an event and another who was followed for longer."
        )
    return float(concordance[0])


def _interval(estimate: float, draws: Array, pairs: _Pairs, level: float) -> Estimate:
    n, events = pairs.n, len(pairs.first)
    if n < MIN_PATIENTS:
        raise CohortError(
            f"not estimable: {n} patients with {events} events; an interval of the concordance "
            f"needs {MIN_PATIENTS} patients."
        )
    if not len(draws):  # bootstraps: 0
        return Estimate(estimate=estimate, low=None, high=None, n=n, events=events)
    empty = float(np.isnan(draws).mean())
    if empty > MAX_EMPTY_DRAWS:
        raise CohortError(
            f"not estimable: {empty:.0%} of the bootstrap draws have no comparable pair"
            f" ({n} patients, {events} events)."
        )
    return percentile_estimate(estimate, draws, n=n, events=events, level=level)
