"""The offset score (train.offset): what the image says beyond the covariates.

Each fold's image log-risk, less what the covariates say of it by a ridge regression over the fold's
training patients: the clinical model's log-risk plus this is what the two say together, and no part
of it is said twice. The models are those of the plain score, unless it pays inside the training
fold to tell them the clinical log-risk as an offset in the loss; then they are trained again with
it.

Which of the two is better depends on what nobody knows beforehand. Where the tissue shows what age
and subtype stand for, the offset takes the signal from which a direction in the image is learned,
and the score adds less; where the tissue shows age and subtype only, it keeps them from being
learned at all. So it is decided by what each adds to the covariates inside the training fold, by
ridge Cox on mean embeddings over inner folds (docs/decisions/0024-offset-score.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pathoml.errors import CohortError
from pathoml.survival.cox import fit_cox, likelihood_ratio_test
from pathoml.survival.one_thread import one_blas_thread
from pathoml.survival.ridge_cox import (
    choose_ridge,
    event_balanced_folds,
    fit_ridge_cox,
    principal_scores,
)
from pathoml.training.baselines import score_by_fold
from pathoml.training.clinical_part import CLINICAL_RIDGE, NO_COVARIATES, clinical_columns
from pathoml.training.model_stack import ModelSpec
from pathoml.training.outcomes import Lessons
from pathoml.training.scoring import FoldScores
from pathoml.types import Array, Bools, Cohort, Split

INNER_FOLDS = 4
RIDGE_PER_EVENT = (30.0, 3.0, 0.3)  # enough to tell two ways to fit apart
# of chi2: what Akaike's criterion asks of one more parameter before it is believed
MARGIN = 2.0


@dataclass(frozen=True, kw_only=True)
class OffsetModels:
    """The models of the offset score beside M plain ones."""

    plain: Sequence[ModelSpec]  # M
    trained: list[ModelSpec]  # those that are trained again, told of the offset
    place: tuple[int | None, ...]  # (M,) among `trained`; None = the plain model serves
    lessons: Lessons

    def raw(self, plain: Array, trained: Array) -> Array:
        """Return (M, B) log-risks beyond the covariates.

        Args:
            plain: (M, B) log-risks by the plain models.
            trained: (T, B) log-risks by those that were told.
        """
        rows = [
            self.lessons.clinical(spec).beyond(own if place is None else trained[place])
            for spec, place, own in zip(self.plain, self.place, plain)
        ]
        return np.stack(rows)

    @property
    def told_folds(self) -> tuple[int, int]:
        """Return in how many folds the models were told, and of how many."""
        folds = {spec.tiles_seen for spec in self.plain}
        return len({spec.tiles_seen for spec in self.trained}), len(folds)


def offset_models(
    cohort: Cohort, means: Array, specs: Sequence[ModelSpec], *, strata: str | None, seed: int
) -> OffsetModels:
    """Return the models of the offset score for these plain ones; seeds of a fold are told alike.

    Args:
        means: (B, D) mean embedding of each bag.
        strata: the key train.strata.
        seed: of the inner folds.

    Raises:
        CohortError: no covariates.
    """
    if not clinical_columns(cohort):
        raise CohortError(NO_COVARIATES)
    lessons = Lessons(cohort, strata)
    told = dict[tuple[str, str, int], bool]()
    trained: list[ModelSpec] = []
    place: list[int | None] = []
    for spec in specs:
        if spec.tiles_seen not in told:
            told[spec.tiles_seen] = offset_pays(means, lessons, spec, seed=seed)
        place.append(len(trained) if told[spec.tiles_seen] else None)
        if told[spec.tiles_seen]:
            trained.append(replace(spec, offset=True))
    return OffsetModels(plain=list(specs), trained=trained, place=tuple(place), lessons=lessons)


def offset_ridge_folds(
    cohort: Cohort,
    splits: Sequence[Split],
    means: Array,
    *,
    score: OffsetModels,
) -> list[FoldScores]:
    """Return the baseline of the offset score by fold: ridge Cox on mean embeddings, told and
    untold where the image models are, less what the covariates say.

    Args:
        means: (B, D) mean embedding of each bag.
        score: whose folds were told.
    """
    spec_of = {frozenset(spec.train): spec for spec in [*score.plain, *score.trained]}

    def fit(train: Bools, seed: int) -> Array:
        spec = spec_of[frozenset(score.lessons.patients(np.flatnonzero(train)))]
        rows, outcome = score.lessons.rows(spec), score.lessons.of(spec)
        time, event = outcome.time_months[rows], outcome.event[rows]
        model = fit_ridge_cox(means[rows], time, event, seed=seed, **outcome.at(rows))
        return score.lessons.clinical(spec).beyond(model.predict(means))

    return score_by_fold(cohort, splits, fit)


def offset_pays(means: Array, lessons: Lessons, spec: ModelSpec, *, seed: int) -> bool:
    """Return whether a score that was told the clinical log-risk adds more to the covariates than
    one that was not, by ridge Cox on mean embeddings over inner folds of the training patients.

    Args:
        means: (B, D) mean embedding of each bag.
        spec: whose training patients they are; bags that were permuted stay so.
        seed: of the inner folds.
    """
    of_patient = means if spec.bag_of is None else means[list(spec.bag_of)]
    rows = lessons.rows(spec)
    try:
        scores = principal_scores(of_patient[rows])
        told, untold = (
            _gain(scores, lessons, replace(spec, offset=offset), seed=seed)
            for offset in (True, False)
        )
    except CohortError:  # too few events, or features that do not vary
        return False
    return told > untold + MARGIN


def _gain(scores: Array, lessons: Lessons, spec: ModelSpec, *, seed: int) -> float:
    """Return the signed likelihood-ratio chi2 by which a ridge Cox score of inner folds adds to the
    covariates.

    Args:
        scores: (n, K) principal components of the training rows.
    """
    rows, outcome, whole = lessons.rows(spec), lessons.of(spec), lessons.clinical(spec)
    time, event = outcome.time_months[rows], outcome.event[rows]
    about = outcome.at(rows)
    ridge = choose_ridge(
        scores,
        time,
        event,
        seed=seed,
        grid=[int(event.sum()) * k for k in RIDGE_PER_EVENT],
        copy_of=rows,
        **about,
    )
    _, first, patient = np.unique(rows, return_index=True, return_inverse=True)
    folds = min(INNER_FOLDS, int(event[first].sum()))
    fold = event_balanced_folds(event[first], folds, seed)[patient]
    found = np.zeros(len(rows))
    for held_out in range(folds):
        test = fold == held_out
        inner = replace(spec, train=lessons.patients(rows[~test]))
        told = lessons.of(inner)
        fit = fit_cox(scores[~test], time[~test], event[~test], ridge=ridge, **told.at(rows[~test]))
        log_risk = np.zeros(len(outcome.time_months))
        log_risk[rows] = scores @ fit.coefficients
        rest = lessons.clinical(inner).beyond(log_risk)[rows]
        spread = float(rest[~test].std())
        if spread > 0:
            found[test] = (rest[test] - rest[~test].mean()) / spread
    if np.ptp(found) == 0:
        return 0.0
    known = whole.covariates[rows]
    shared = {"ridge": CLINICAL_RIDGE, **about, "offset": None}
    with one_blas_thread():
        reduced = fit_cox(known, time, event, **shared)
        full = fit_cox(np.column_stack([known, found]), time, event, **shared)
    return float(np.sign(full.coefficients[-1])) * likelihood_ratio_test(full, reduced).chi2
