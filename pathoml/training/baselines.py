"""What the attention model has to beat, out of fold on the same splits: ridge Cox on mean
embeddings, and the clinical model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from pathoml.bags.reading import mean_features
from pathoml.errors import CohortError
from pathoml.survival.cox import fit_cox
from pathoml.survival.design import fit_design
from pathoml.survival.ridge_cox import fit_ridge_cox
from pathoml.training.scoring import SMALLEST_SD, FoldScores, out_of_fold, standardise
from pathoml.types import Array, Bag, Cohort, Split

FitAndScore = Callable[
    [npt.NDArray[np.bool_], int], Array
]  # (training rows, seed) -> (B,) log-risk of everyone
CLINICAL_RIDGE = 1.0  # on standardised columns: keeps a rare category of a small fold finite


def ridge_cox_scores(
    cohort: Cohort, bags: Sequence[Bag], splits: Sequence[Split], *, means: Array | None = None
) -> Array:
    """Return (B,) out-of-fold scores of a ridge Cox model on the mean embedding of each bag, in SD
    units.

    Args:
        means: (B, D) mean embeddings, where they were read already.
    """
    means = mean_features(bags) if means is None else means  # (B, D)

    def fit(train: npt.NDArray[np.bool_], seed: int) -> Array:
        model = fit_ridge_cox(
            means[train], cohort.time_months[train], cohort.event[train], seed=seed
        )
        return model.predict(means)

    return _score_out_of_fold(cohort, splits, fit)


def clinical_columns(cohort: Cohort) -> dict[str, list[object]]:
    """Return the covariates of study.yaml as columns, in the cohort's order."""
    names = list(cohort.patients[0].covariates)
    return {name: [p.covariates[name] for p in cohort.patients] for name in names}


def clinical_scores(cohort: Cohort, splits: Sequence[Split]) -> Array | None:
    """Return (B,) out-of-fold scores of a Cox model on the covariates of study.yaml, or None if
    there are none.
    """
    columns = clinical_columns(cohort)
    if not columns:
        return None

    def fit(train: npt.NDArray[np.bool_], _seed: int) -> Array:
        design = fit_design(
            {name: [v for v, t in zip(values, train) if t] for name, values in columns.items()}
        )
        covariates = design.transform(columns)  # (B, p)
        if not covariates.shape[1]:
            return np.zeros(len(train))
        model = fit_cox(
            covariates[train],
            cohort.time_months[train],
            cohort.event[train],
            ridge=CLINICAL_RIDGE,
            names=design.names,
        )
        return covariates @ model.coefficients

    return _score_out_of_fold(cohort, splits, fit)


def _score_out_of_fold(cohort: Cohort, splits: Sequence[Split], fit: FitAndScore) -> Array:
    folds = []
    for split in splits:
        for fold in split.folds:
            train = np.isin(cohort.patient_ids, fold.train)
            try:
                raw = fit(train, split.seed)
            except CohortError as error:
                raise CohortError(f"{split.name}, fold {fold.name}: {error}") from error
            reference = float(raw[train].mean())
            centred = raw - reference
            folds.append(
                FoldScores(
                    repeat=split.name,
                    fold=fold.name,
                    reference=reference,
                    sd=max(float(centred[train].std(ddof=1)), SMALLEST_SD),
                    cutoff=float(np.median(centred[train])),
                    centred=centred,
                    is_training=train,
                    models=(),
                )
            )
    return standardise(out_of_fold(folds, "standardised"))
