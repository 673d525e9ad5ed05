"""Concordance of a risk score with follow-up, and its standard error given the score.

Conventions, those of R `survival::concordance(Surv(time, event) ~ log_risk, reverse = TRUE)`:

- Higher log_risk means an earlier event.
- A pair is comparable if the earlier of the two had the event. At one and the same time, a censored
  patient has outlived one with the event; two events are not comparable. With delayed entry the
  other must have been under observation when the event came (entry < time).
- Equal scores count one half. Equal means the same float: there is no tolerance, so C does not
  depend on the score's scale.

The standard error is R's `concordance()$var`: C is a ratio of two sums over pairs, its derivative
by the weight of one patient is that patient's influence, and the sum of squared influences is the
variance (infinitesimal jackknife).

Source: Harrell et al., JAMA 247 (1982) 2543-2546; Uno et al., Stat Med 30 (2011) 1105-1117;
Therneau & Watson, The concordance statistic and the Cox model, Mayo report 85 (2015). Checked
against R in tests/survival/test_concordance.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pathoml.errors import CohortError
from pathoml.survival.censoring import uncensored_before
from pathoml.survival.estimate import Estimate, normal_estimate
from pathoml.survival.outcome import checked_entry, checked_groups, checked_outcome, checked_score
from pathoml.types import Array

# below these an interval is "not estimable": it would rest on a few pairs, and the influences of
# one or two patients with an event are close to 0 by construction
MIN_PATIENTS = 10
MIN_EVENTS = 5
EQUAL_SCORES = "the scores of all patients who are compared are equal"


@dataclass(frozen=True, kw_only=True)
class Concordance:
    """C of one score, or of several added up, with what each patient contributes to its error."""

    estimate: float
    influence: Array  # (B,) derivative of C by the weight of a patient
    events: int

    @property
    def standard_error(self) -> float:
        """Given the scores: R's sqrt(concordance()$var)."""
        return float(np.sqrt((self.influence**2).sum()))

    def minus(self, other: Concordance) -> Concordance:
        """The difference of two C of the same patients, with its own influences."""
        return Concordance(
            estimate=self.estimate - other.estimate,
            influence=self.influence - other.influence,
            events=self.events,
        )


def harrell_c(
    log_risk: npt.ArrayLike,
    time_months: npt.ArrayLike,
    event: npt.ArrayLike,
    *,
    entry_months: npt.ArrayLike | None = None,
) -> float:
    """Return Harrell's C: the share of comparable pairs in which the higher score had the earlier
    event.

    Args:
        log_risk: (B,) higher means earlier event.
        time_months: (B,) months to the event or the last visit.
        event: (B,) bool or 0/1, True if the event was seen.
        entry_months: (B,) months at which observation began; None is 0 for everybody.

    Raises:
        CohortError: lengths differ, a value is missing, or no pair is comparable.

    Pairs: 3 + 1.5 + 1 concordant of 3 + 2 + 1.

    >>> harrell_c([3.0, 2.0, 2.0, 1.0], [1, 2, 3, 3], [1, 1, 1, 0])
    0.9166666666666666
    """
    return concordance(log_risk, time_months, event, entry_months=entry_months).estimate


def stratified_harrell_c(
    log_risk: npt.ArrayLike,
    time_months: npt.ArrayLike,
    event: npt.ArrayLike,
    *,
    stratum: npt.ArrayLike,
    entry_months: npt.ArrayLike | None = None,
) -> float:
    """Return Harrell's C over the pairs within a stratum, as R does with `+ strata(centre)`.

    A score that only knows the centre gets 0.5.

    >>> score, time, event = [9.0, 9.0, 1.0, 1.0], [1, 2, 5, 6], [1, 1, 1, 1]
    >>> stratified_harrell_c(score, time, event, stratum=["A", "A", "B", "B"])
    0.5
    """
    found = concordance(log_risk, time_months, event, stratum=stratum, entry_months=entry_months)
    return found.estimate


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
    weight = uno_weights(time_months, event, tau=tau)
    return concordance(log_risk, time_months, event, weight=weight).estimate


def uno_weights(
    time_months: npt.ArrayLike, event: npt.ArrayLike, *, tau: float | None = None
) -> Array:
    """Return (B,) the weight of the pairs whose earlier event is a patient's: 1 / G(t-)^2, and 0
    after tau months or without an event.

    Raises:
        CohortError: no event comes before tau.
    """
    time, seen = checked_outcome(time_months, event)
    uncensored = uncensored_before(np.ones((1, len(time))), time, seen)[0]  # (B,)
    counted = seen if tau is None else seen & (time <= tau)
    if tau is not None and not counted.any():
        raise CohortError(f"No comparable pair until {tau:g} months: no event comes before.")
    return np.where(counted, 1 / np.where(counted, uncensored, 1) ** 2, 0.0)


def concordance(
    log_risk: npt.ArrayLike,
    time_months: npt.ArrayLike,
    event: npt.ArrayLike,
    *,
    stratum: npt.ArrayLike | None = None,
    entry_months: npt.ArrayLike | None = None,
    weight: npt.ArrayLike | None = None,
) -> Concordance:
    """Return C with each patient's influence, as R `concordance(..., influence = 1)`.

    Args:
        log_risk: (B,) higher means earlier event.
        time_months: (B,) months to the event or the last visit.
        event: (B,) bool or 0/1.
        stratum: (B,) labels; only pairs within a stratum count. None counts every pair.
        entry_months: (B,) months at which observation began; None is 0 for everybody.
        weight: (B,) of the pairs whose earlier event is this patient's; None is 1.

    Raises:
        CohortError: no pair is comparable, or an argument is refused.
    """
    stacked = np.asarray(log_risk, dtype=np.float64)[None]
    return pooled_concordance(
        stacked, time_months, event, stratum=stratum, entry_months=entry_months, weight=weight
    )


def pooled_concordance(
    log_risk: npt.ArrayLike,
    time_months: npt.ArrayLike,
    event: npt.ArrayLike,
    *,
    group: npt.ArrayLike | None = None,
    stratum: npt.ArrayLike | None = None,
    entry_months: npt.ArrayLike | None = None,
    weight: npt.ArrayLike | None = None,
) -> Concordance:
    """Return concordant over comparable pairs, both summed over R scores of the same patients.

    Args:
        log_risk: (R, B) one score a row.
        group: (R, B) labels, such as the fold; in each row only pairs of one label count.
        stratum, entry_months, weight: as in `concordance`, for every row.

    Raises:
        CohortError: as `concordance`.

    The two rows have 1 of 1 and 0 of 1 pair:

    >>> pooled_concordance([[2.0, 1.0], [1.0, 2.0]], [1, 2], [1, 1]).estimate
    0.5
    """
    time, seen = checked_outcome(time_months, event)
    n = len(time)
    rows = np.asarray(log_risk, dtype=np.float64)
    stratum_of = np.zeros(n, int) if stratum is None else checked_groups(stratum, n, "stratum")
    groups = np.zeros(rows.shape, int) if group is None else np.asarray(group)
    entry = checked_entry(entry_months, time)
    heavy = np.ones(n) if weight is None else checked_score(weight, n, "weight")
    concordant, comparable = np.zeros(n), np.zeros(n)  # of the pairs of each patient
    for row, labels in zip(rows, groups, strict=True):
        score, label = checked_score(row, n), checked_groups(labels, n, "group")
        cell = label * (stratum_of.max() + 1) + stratum_of
        for value in np.unique(cell):
            members = np.flatnonzero(cell == value)
            some = _pair_sums(
                score[members],
                time[members],
                seen[members],
                entry=None if entry is None else entry[members],
                weight=heavy[members],
            )
            concordant[members] += some[0]
            comparable[members] += some[1]
    total = float(comparable.sum()) / 2
    if not total > 0:
        within = "" if stratum is None and group is None else " within a stratum"
        raise CohortError(
            f"No comparable pair{within}: {n} patients, {int(seen.sum())} events. "
            "Concordance needs a patient with an event and another who was followed for longer."
        )
    estimate = float(concordant.sum()) / 2 / total
    influence = (concordant - estimate * comparable) / total
    return Concordance(estimate=estimate, influence=influence, events=int(seen.sum()))


def _pair_sums(
    score: Array, time: Array, event: npt.NDArray[np.bool_], *, entry: Array | None, weight: Array
) -> tuple[Array, Array]:
    """Return for each of B patients the weight of their concordant pairs and of their comparable
    ones, each pair at both of its patients.
    """
    first = np.flatnonzero(event & (weight > 0))  # (E,)
    outlived = (time > time[first, None]) | ((time == time[first, None]) & ~event)  # (E, B)
    if entry is not None:
        outlived &= entry < time[first, None]
    heavy = np.where(outlived, weight[first, None], 0.0)
    credit = heavy * ((score < score[first, None]) + 0.5 * (score == score[first, None]))
    sums = []
    for pairs in (credit, heavy):
        of_patient = pairs.sum(axis=0)
        of_patient[first] += pairs.sum(axis=1)
        sums.append(of_patient)
    return sums[0], sums[1]


def harrell_c_interval(
    log_risk: npt.ArrayLike,
    time_months: npt.ArrayLike,
    event: npt.ArrayLike,
    *,
    stratum: npt.ArrayLike | None = None,
    entry_months: npt.ArrayLike | None = None,
    widening: float = 1.0,
    level: float = 0.95,
) -> Estimate:
    """Return Harrell's C with a normal interval from its standard error given the scores.

    Args:
        log_risk, time_months, event, stratum, entry_months: as in `concordance`.
        widening: of the standard error; 1 where the score is frozen, fold_concordance.WIDENING
            where other patients of the cohort trained it.
        level: coverage aimed at, between 0 and 1.

    Raises:
        CohortError: fewer than 10 patients or 5 events, no comparable pair, or all scores equal
            ("not estimable: ...").
    """
    found = concordance(log_risk, time_months, event, stratum=stratum, entry_months=entry_months)
    checked_spread(log_risk)
    return c_interval(found, found.standard_error * widening, level=level)


def uno_c_interval(
    log_risk: npt.ArrayLike,
    time_months: npt.ArrayLike,
    event: npt.ArrayLike,
    *,
    tau: float | None = None,
    widening: float = 1.0,
    level: float = 0.95,
) -> Estimate:
    """Return Uno's C with a normal interval; its error takes the censoring weights as given, as R's
    does.

    Arguments and errors as in harrell_c_interval and uno_c.
    """
    weight = uno_weights(time_months, event, tau=tau)
    found = concordance(log_risk, time_months, event, weight=weight)
    checked_spread(log_risk)
    return c_interval(found, found.standard_error * widening, level=level)


def checked_spread(log_risk: npt.ArrayLike) -> None:
    """Refuse scores that are all equal: their C is 0.5 whatever happened.

    Raises:
        CohortError: they are.
    """
    score = np.asarray(log_risk, dtype=np.float64)
    if len(score) and np.ptp(score, axis=-1).max() == 0:
        raise CohortError(
            f"not estimable: all {score.shape[-1]} scores are equal ({score.flat[0]:g}); they put"
            " nobody before anybody."
        )


def c_interval(
    found: Concordance, standard_error: float, *, level: float = 0.95, signed: bool = False
) -> Estimate:
    """Return C, or a difference of two (`signed`), with a normal interval cut at what is possible.

    Raises:
        CohortError: fewer than 10 patients or 5 events.

    No interval is given where every pair says the same, so that the error is 0.
    """
    n = len(found.influence)
    if n < MIN_PATIENTS or found.events < MIN_EVENTS:
        raise CohortError(
            f"not estimable: {n} patients with {found.events} events; an interval of the"
            f" concordance needs {MIN_PATIENTS} patients and {MIN_EVENTS} events."
        )
    normal = normal_estimate(found.estimate, standard_error, n=n, events=found.events, level=level)
    lowest = -1.0 if signed else 0.0
    low, high = normal.low, normal.high
    if standard_error == 0 and found.estimate == 0.5 and not signed:
        raise CohortError(f"not estimable: {EQUAL_SCORES}.")
    if standard_error == 0 or low is None or high is None:
        return replace(normal, low=None, high=None)
    return replace(normal, low=max(low, lowest), high=min(high, 1.0))


def harrell_c_difference(
    score_a: npt.ArrayLike,
    score_b: npt.ArrayLike,
    time_months: npt.ArrayLike,
    *,
    event: npt.ArrayLike,
    stratum: npt.ArrayLike | None = None,
    entry_months: npt.ArrayLike | None = None,
    widening: float = 1.0,
    level: float = 0.95,
) -> Estimate:
    """Return C of score_a minus C of score_b with a normal interval: influences are subtracted
    patient by patient, so what both scores share cancels.

    Arguments and errors as in harrell_c_interval.
    """
    both = [
        concordance(score, time_months, event, stratum=stratum, entry_months=entry_months)
        for score in (score_a, score_b)
    ]
    difference = both[0].minus(both[1])
    return c_interval(difference, difference.standard_error * widening, level=level, signed=True)


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
