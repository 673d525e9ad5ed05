"""What the image score has to beat, out of fold on the same splits: ridge Cox on mean
embeddings, and the clinical model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pathoml.bags.reading import mean_features
from pathoml.errors import CohortError
from pathoml.store.scores import RepeatTable
from pathoml.survival.outcome import at_rows
from pathoml.survival.ridge_cox import fit_ridge_cox
from pathoml.training.clinical_part import clinical_columns, clinical_part
from pathoml.training.outcomes import strata_of
from pathoml.training.scoring import SMALLEST_SD, FoldScores, averaged, repeat_table
from pathoml.types import Array, Bag, Cohort, Split

FitAndScore = Callable[
    [npt.NDArray[np.bool_], int], Array
]  # (training rows, seed) -> (B,) log-risk of everyone


@dataclass(frozen=True, kw_only=True)
class Baselines:
    """The models that the image score is held against, by fold, on the image score's folds."""

    ridge_cox: Sequence[FoldScores]
    clinical: Sequence[FoldScores]  # empty without covariates
    # by column: models of vectors that were made elsewhere (train.vectors)
    vectors: Mapping[str, Sequence[FoldScores]] = field(default_factory=dict)

    @classmethod
    def fitted(
        cls,
        cohort: Cohort,
        bags: Sequence[Bag],
        splits: Sequence[Split],
        *,
        means: Array | None = None,
        strata: str | None = None,
        vectors: Mapping[str, Sequence[FoldScores]] | None = None,
    ) -> Baselines:
        """Fit both on the training patients of every fold.

        Args:
            means: (B, D) mean embeddings, where they were read already.
            strata: the key train.strata, within which ridge Cox compares patients as the image
                score's loss does. The clinical model is of all of them: it is to tell strata apart.
            vectors: models of vectors, fitted already.
        """
        return cls(
            ridge_cox=ridge_cox_folds(cohort, bags, splits, means=means, strata=strata),
            clinical=clinical_folds(cohort, splits),
            vectors=vectors or {},
        )

    def repeats(
        self, image: Sequence[FoldScores], by_seed: Mapping[str, Sequence[FoldScores]]
    ) -> RepeatTable:
        """Return every partition's scores: the image score's, the baselines', each seed's."""
        seeds = {f"seed {name}": folds for name, folds in by_seed.items()}
        own = {"log_risk": image, "ridge_cox": self.ridge_cox, "clinical": self.clinical}
        return repeat_table({**own, **self.vectors, **seeds})


def ridge_cox_folds(
    cohort: Cohort,
    bags: Sequence[Bag],
    splits: Sequence[Split],
    *,
    means: Array | None = None,
    strata: str | None = None,
) -> list[FoldScores]:
    """Return how a ridge Cox model on the mean embedding of each bag scores everyone, by fold.

    Args:
        means: (B, D) mean embeddings, where they were read already.
        strata: the key train.strata.
    """
    means = mean_features(bags) if means is None else means  # (B, D)
    stratum = strata_of(cohort, strata)

    def fit(train: npt.NDArray[np.bool_], seed: int) -> Array:
        model = fit_ridge_cox(
            means[train],
            cohort.time_months[train],
            cohort.event[train],
            seed=seed,
            entry_months=at_rows(cohort.entry_months, train),
            stratum=at_rows(stratum, train),
        )
        return model.predict(means)

    return score_by_fold(cohort, splits, fit)


def clinical_scores(cohort: Cohort, splits: Sequence[Split]) -> Array | None:
    """Return (B,) out-of-fold scores, in SD, of a Cox model on the covariates of study.yaml, or
    None if there are none.
    """
    folds = clinical_folds(cohort, splits)
    return averaged(folds) if folds else None


def clinical_folds(cohort: Cohort, splits: Sequence[Split]) -> list[FoldScores]:
    """Return how a Cox model on the covariates of study.yaml scores everyone, by fold; nothing
    where there are none.
    """
    columns = clinical_columns(cohort)
    if not columns:
        return []

    return score_by_fold(
        cohort, splits, lambda train, _seed: clinical_predictor(cohort, columns, train)
    )


def clinical_predictor(
    cohort: Cohort, columns: Mapping[str, Sequence[object]], train: npt.NDArray[np.bool_]
) -> Array:
    """Return everyone's (B,) log-risk by a ridge Cox model of these covariates, fitted to the
    training rows; zero for everyone where no covariate varies in training.
    """
    found = clinical_part(
        columns,
        cohort.time_months,
        cohort.event,
        rows=np.flatnonzero(train),
        entry_months=cohort.entry_months,
    )
    return found.log_risk


def score_by_fold(cohort: Cohort, splits: Sequence[Split], fit: FitAndScore) -> list[FoldScores]:
    """Return how the model of each fold scores everyone.

    Args:
        fit: training rows and the seed of the partition to everyone's (B,) log-risk.

    Raises:
        CohortError: a fold's model cannot be fitted; the sentence names the fold.
    """
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
    return folds
