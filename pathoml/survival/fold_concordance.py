"""Concordance of cross-validated scores: pairs that one model scored, and an interval for what the
procedure does on new patients.

Two patients of one fold were scored by one model that saw neither. Pairs across folds were scored
by two models, each trained on the other's patient: where centres look different such pairs lean
against the outcome (0.34-0.44 within centres where 0.5 is true), because a fold that holds many
events of a centre lowers the rate that its model learns for that centre. So only pairs of the same
fold count, over all repeats.

The standard error given the models is too small. Without signal C is a degenerate U-statistic: the
kernel of a pair is seen once when i is scored by models that learned from j, and again when j is
scored by models that learned from i. The variance given the models counts each term once, the true
one counts the sum of two equal terms: twice the variance, whatever the number of folds, repeats and
seeds. With signal the factor lies between 1 and 2; 2 is kept for all, so that no interval is too
narrow. The variance given the models is that of the averaged score over every pair, to which many
partitions come close. One partition sees a fraction of the pairs (a fifth for five folds, fewer
within centres); where the error of those pairs alone is the larger one, it is taken.

Source: Hoefling & Tibshirani, Ann Appl Stat 2 (2008) 643-664; Parker, Guenter & Bedo, BMC
Bioinformatics 8:326 (2007); Nadeau & Bengio, Mach Learn 52 (2003) 239-281, whose correction for
five folds, 1 + 5/4, is nearly the same; Arcones & Gine, Ann Stat 20 (1992) 655-674.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pathoml.errors import CohortError
from pathoml.survival.concordance import (
    Concordance,
    c_interval,
    checked_spread,
    concordance,
    pooled_concordance,
)
from pathoml.survival.estimate import Estimate
from pathoml.types import Array

WIDENING = math.sqrt(2)  # of the standard error of scores that the cohort's other patients trained
# of that of a difference of two such scores: what both learned alike cancels with its doubling
DIFFERENCE_WIDENING = 1.3  # 1.1 to 1.4 in simulations, least within many small centres


@dataclass(frozen=True, kw_only=True)
class FoldedScores:
    """How R partitions scored B patients, each patient by the fold that did not see them."""

    scores: Array  # (R, B) comparable within a fold only
    fold: npt.NDArray[np.str_]  # (R, B)
    mean: Array  # (B,) one score a patient, standardised by fold and averaged
    widening: float = WIDENING  # 1 where no patient of the cohort trained any model

    def rows(self, some: npt.NDArray[np.bool_ | np.int64]) -> FoldedScores:
        """The same of some patients, chosen by a mask or by their places (twice if named twice)."""
        return FoldedScores(
            scores=self.scores[:, some],
            fold=self.fold[:, some],
            mean=self.mean[some],
            widening=self.widening_of(some),
        )

    def widening_of(self, some: npt.NDArray[np.bool_ | np.int64]) -> float:
        """Return by how much to widen the error of what rests on some patients alone.

        Only pairs that trained one another's models count twice. Of everybody whom the models of
        some patients learned from, they themselves are a share: all of them for the whole cohort
        (sqrt(2)), half for a half (sqrt(1.5)), nobody for a centre that was left out (1). Where no
        fold is known, the share is that of the patients.

        >>> fold = np.array([["a", "a", "b", "b"]])
        >>> scores = FoldedScores(scores=np.zeros((1, 4)), fold=fold, mean=np.zeros(4))
        >>> [round(scores.widening_of(np.array(w)) ** 2, 2) for w in ([0, 1, 2, 3], [0, 2], [0, 1])]
        [2.0, 1.5, 1.0]
        """
        if self.widening == 1:
            return 1.0
        mutual = learned_from = 0.0
        for labels in self.fold:
            _, of = np.unique(labels, return_inverse=True)
            inside, size = np.bincount(of[some], minlength=of.max() + 1), np.bincount(of)
            mutual += float(inside.sum() ** 2 - (inside**2).sum())
            learned_from += float((inside * (len(of) - size)).sum())
        if not learned_from:
            return math.sqrt(1 + len(self.mean[some]) / len(self.mean))
        return math.sqrt(1 + mutual / learned_from)


def frozen_scores(score: npt.ArrayLike) -> FoldedScores:
    """Return (B,) scores of one model that no patient of this cohort trained: all pairs count, and
    nothing is widened.
    """
    values = np.asarray(score, dtype=np.float64)
    return FoldedScores(
        scores=values[None], fold=np.full((1, len(values)), ""), mean=values, widening=1.0
    )


@dataclass(frozen=True, kw_only=True)
class FoldConcordance:
    """C over pairs within folds, and the two errors that it may have."""

    within: Concordance  # over pairs of a fold, each partition with its own scores
    averaged: Concordance  # of the averaged score, over every pair
    widening: float

    @property
    def estimate(self) -> float:
        return self.within.estimate

    @property
    def standard_error(self) -> float:
        """The larger of the widened error given the models and that of the pairs within folds."""
        return max(self.widening * self.averaged.standard_error, self.within.standard_error)

    def minus(self, other: FoldConcordance, widening: float) -> FoldConcordance:
        """The difference of two scores of the same patients on the same folds."""
        return FoldConcordance(
            within=self.within.minus(other.within),
            averaged=self.averaged.minus(other.averaged),
            widening=widening,
        )

    def interval(self, *, level: float = 0.95, signed: bool = False) -> Estimate:
        """Return the estimate +- z standard errors, cut at what is possible; `signed` for a
        difference.

        Raises:
            CohortError: fewer than 10 patients or 5 events.
        """
        return c_interval(self.within, self.standard_error, level=level, signed=signed)


def fold_concordance(
    scores: FoldedScores,
    time_months: npt.ArrayLike,
    event: npt.ArrayLike,
    *,
    stratum: npt.ArrayLike | None = None,
    entry_months: npt.ArrayLike | None = None,
    weight: npt.ArrayLike | None = None,
) -> FoldConcordance:
    """Return C over pairs within a fold (and stratum): concordant and comparable pairs are summed
    over all partitions before they are divided.

    Arguments as in `concordance`.

    Raises:
        CohortError: no pair within a fold (and stratum) is comparable.

    Patients 0 and 1 share a fold, so do 2 and 3; pairs across would make it 5 of 6:

    >>> time, event = [1, 2, 3, 4], [1, 1, 1, 1]
    >>> one = FoldedScores(scores=np.array([[4.0, 3.0, 1.0, 2.0]]),
    ...     fold=np.array([["a", "a", "b", "b"]]), mean=np.array([4.0, 3.0, 1.0, 2.0]))
    >>> fold_concordance(one, time, event).estimate
    0.5
    """
    about = {"stratum": stratum, "entry_months": entry_months, "weight": weight}
    return FoldConcordance(
        within=pooled_concordance(scores.scores, time_months, event, group=scores.fold, **about),
        averaged=concordance(scores.mean, time_months, event, **about),
        widening=scores.widening,
    )


def fold_c_interval(
    scores: FoldedScores,
    time_months: npt.ArrayLike,
    event: npt.ArrayLike,
    *,
    stratum: npt.ArrayLike | None = None,
    entry_months: npt.ArrayLike | None = None,
    weight: npt.ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return C over pairs within a fold (and stratum) with its interval.

    Raises:
        CohortError: no comparable pair, too few patients or events, or all scores equal
            ("not estimable: ...").
    """
    checked_spread(scores.scores)
    found = fold_concordance(
        scores, time_months, event, stratum=stratum, entry_months=entry_months, weight=weight
    )
    return found.interval(level=level)


def fold_c_difference(
    a: FoldedScores,
    b: FoldedScores,
    time_months: npt.ArrayLike,
    *,
    event: npt.ArrayLike,
    stratum: npt.ArrayLike | None = None,
    entry_months: npt.ArrayLike | None = None,
    widening: float | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return C of a minus C of b with the interval of the difference: what both scores share
    cancels, patient by patient.

    Args:
        widening: of the error given the models; None is DIFFERENCE_WIDENING where the cohort's
            other patients trained either score, and 1 otherwise.

    Raises:
        CohortError: as fold_c_interval; or the folds differ.
    """
    if a.fold.shape != b.fold.shape or (a.fold != b.fold).any():
        raise CohortError("Two scores are compared on the same folds only; these differ.")
    about = {"stratum": stratum, "entry_months": entry_months}
    if widening is None:
        widening = DIFFERENCE_WIDENING if max(a.widening, b.widening) > 1 else 1.0
    found = [fold_concordance(one, time_months, event, **about) for one in (a, b)]
    return found[0].minus(found[1], widening).interval(level=level, signed=True)
