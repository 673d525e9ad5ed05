"""What cross-validation does to comparisons, intervals and tests of a score: pairs of one model,
errors widened, no test where none holds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt
from scipy import stats

from pathoml.errors import CohortError
from pathoml.evaluation.evidence import OF_VECTORS, Evidence
from pathoml.evaluation.predicted_risk import linear_predictors
from pathoml.survival.absolute_risk import patterned_folds
from pathoml.survival.cox import CoxFit
from pathoml.survival.estimate import Estimate
from pathoml.survival.fold_concordance import WIDENING, FoldedScores, fold_c_difference
from pathoml.survival.not_estimable import or_not_estimable
from pathoml.types import Array, Json, Labels

Bools = npt.NDArray[np.bool_]

HALVED = (
    " z is divided by sqrt(2), and chi2 by 2, because the models learned from these very outcomes."
)
NO_WALD = (
    " With several centres no Wald or likelihood-ratio test of a cross-validated score holds its"
    " level, so none is printed; its interval is widened by sqrt(2)."
)
DECIMALS = 10  # equal covariates are equal risks, whatever the order of a sum


def widened(fit: CoxFit, evidence: Evidence) -> CoxFit:
    """Return the fit with the errors of a score that the cohort's other patients trained."""
    return replace(fit, covariance=fit.covariance * evidence.widening**2)


def tested(evidence: Evidence, p_value: Callable[[], float]) -> float | None:
    """Return a p value of the score that rests on its likelihood, None where no such test holds."""
    holds = not evidence.was_cross_validated or evidence.compared_within is None
    return p_value() if holds else None


def halved(evidence: Evidence, chi2: float, df: int) -> float:
    """Return the p value of a likelihood-ratio chi2 of the score, over the square of `widening`."""
    return float(stats.chi2.sf(chi2 / evidence.widening**2, df))


def p_note(evidence: Evidence) -> str:
    """Return what was done to the p values of the score."""
    if not evidence.was_cross_validated:
        return ""
    return HALVED if evidence.compared_within is None else NO_WALD


def differences(evidence: Evidence) -> Json:
    """Return the headline C of the image score minus that of each baseline, on the same pairs."""
    folded = evidence.folded

    def minus(name: str) -> Estimate:
        if name not in folded:
            raise CohortError("not estimable: these scores come without this baseline.")
        return difference(evidence, on_folds_of(folded["image"], folded[name]), folded[name])

    further = [name for name in OF_VECTORS if name in folded]
    return {
        f"image_minus_{name}": or_not_estimable(partial(minus, name))
        for name in ("ridge_cox", "clinical", *further)
    }


def difference(
    evidence: Evidence, a: FoldedScores, b: FoldedScores, *, widening: float | None = None
) -> Estimate:
    """Return C of a minus C of b, compared within centres where there are several."""
    cohort = evidence.cohort
    return fold_c_difference(
        a,
        b,
        cohort.time_months,
        event=cohort.event,
        stratum=evidence.compared_within,
        entry_months=cohort.entry_months,
        widening=widening,
    )


def on_folds_of(scores: FoldedScores, other: FoldedScores) -> FoldedScores:
    """Return a score of one model as if it were of the other's partitions, so that both are
    compared on the same pairs; one that has partitions stays as it is.
    """
    if scores.fold.shape == other.fold.shape and (scores.fold == other.fold).all():
        return scores
    if len(np.unique(scores.fold)) > 1:
        raise CohortError("not estimable: the two scores were made on other folds.")
    repeated = np.tile(scores.mean, (len(other.fold), 1))
    return replace(scores, scores=repeated, fold=other.fold)


def cross_fitted_change(evidence: Evidence) -> Estimate:
    """Return C of clinical covariates and image score minus C of the covariates alone.

    Both models are Cox models of the patients of the other folds of the first partition; those
    enter with nested scores, so nobody is judged by a model that knew them, or by a score of one.

    Raises:
        CohortError: no covariates, no nested scores, or too few patients or events.
    """
    cohort = evidence.cohort
    divided = len(set(evidence.fold)) > 1
    label: Labels = np.asarray(evidence.fold) if divided else patterned_folds(cohort.event)
    nested = evidence.nested
    if evidence.was_cross_validated and (nested is None or set(label.tolist()) - set(nested)):
        raise CohortError(
            "not estimable: without nested scores (train.nested) the change of C would be apparent,"
            " judged on patients that the models knew."
        )

    def score_of(train: Bools) -> Array:
        if nested is None or not evidence.was_cross_validated:
            return evidence.score
        return nested[str(label[~train][0])]

    models = linear_predictors(cohort, score_of, evidence.clinical)
    if "clinical" not in models:
        raise CohortError("not estimable: no clinical covariates in study.yaml (cohort.covariates)")
    by_model = [_folded(models[name], label) for name in ("clinical_and_image", "clinical")]
    return difference(evidence, *by_model, widening=WIDENING)


def _folded(fit: Callable[[Bools], Array], label: Labels) -> FoldedScores:
    centred, standardised = np.empty(len(label)), np.empty(len(label))
    for name in np.unique(label):
        test = label == name
        predictor = np.round(fit(~test), DECIMALS)
        known = predictor[~test]
        spread = float(known.std(ddof=1))
        centred[test] = predictor[test] - known.mean()
        standardised[test] = centred[test] / spread if spread > 0 else 0.0
    return FoldedScores(
        scores=centred[None], fold=label[None], mean=standardised, widening=WIDENING
    )
