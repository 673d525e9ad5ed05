"""Out-of-fold risk scores: each patient scored by the models that did not see them, one model a
repeat.

Definitions (docs/architecture.md): r = raw log-risk minus the mean raw log-risk of the model's
training patients on full bags; log_risk = mean of r over repeats; score_sd = mean of r /
SD(training patients' r), scaled to SD 1 over the cohort.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pathoml.errors import CohortError
from pathoml.store.scores import RepeatTable
from pathoml.survival.fold_concordance import FoldedScores
from pathoml.training.model_stack import ModelSpec
from pathoml.training.models import models_sha256
from pathoml.types import Bag, Cohort, RiskScore

# of training scores; below it a model has learned nothing and gives everyone the same risk
SMALLEST_SD = 1e-9


@dataclass(frozen=True, kw_only=True)
class FoldScores:
    """One fold of one repeat, seeds averaged: how it scores every patient, and its scale by its own
    training patients.
    """

    repeat: str
    fold: str
    reference: float  # mean raw log-risk of the training patients
    sd: float  # SD of the training patients' raw log-risk
    cutoff: float  # median of the training patients' centred log-risk
    centred: npt.NDArray[np.float64]  # (B,) raw minus reference
    is_training: npt.NDArray[np.bool_]  # (B,)
    models: tuple[int, ...]  # indices into the stack, one per seed

    @property
    def standardised(self) -> npt.NDArray[np.float64]:
        """(B,) centred log-risk over the SD of the training patients; 0 for everyone where nothing
        was learned.
        """
        return self.centred / self.sd if self.sd > SMALLEST_SD else np.zeros_like(self.centred)


def score_type_of(scheme: str) -> str:
    """Return what scores.csv calls the scores of a way to split.

    >>> score_type_of("leave_one_centre_out"), score_type_of("stratified")
    ('loco', 'oof')
    """
    return "loco" if scheme == "leave_one_centre_out" else "oof"


def fold_scores(
    raw: npt.NDArray[np.float64], specs: Sequence[ModelSpec], patient_ids: Sequence[str]
) -> list[FoldScores]:
    """Centre the raw log-risks of each fold on its training patients, seeds averaged first.

    Args:
        raw: (M, B) log-risks of full bags.
    """
    groups: dict[tuple[str, str], list[int]] = {}
    for m, spec in enumerate(specs):
        groups.setdefault((spec.repeat, spec.fold), []).append(m)
    scored = []
    for (repeat, fold), models in groups.items():
        mean = raw[models].mean(axis=0)  # (B,)
        train = set(specs[models[0]].train)
        is_training = np.array([p in train for p in patient_ids])
        learned = specs[models[0]].copies(np.flatnonzero(is_training))  # a resample's with copies
        reference = float(mean[learned].mean())
        centred = mean - reference
        scored.append(
            FoldScores(
                repeat=repeat,
                fold=fold,
                reference=reference,
                sd=float(centred[learned].std(ddof=1)),
                cutoff=float(np.median(centred[learned])),
                centred=centred,
                is_training=is_training,
                models=tuple(models),
            )
        )
    return scored


def out_of_fold(folds: Sequence[FoldScores], what: str = "centred") -> npt.NDArray[np.float64]:
    """Return (R, B): for each repeat the score of each patient by the fold that did not see them.

    Args:
        what: "centred", "standardised" (divided by the SD of the fold's training patients) or
            "above_cutoff" (margin over the median of the fold's training patients).

    Raises:
        CohortError: a patient is scored by no model of a repeat, or by two.
    """
    repeats = list(dict.fromkeys(f.repeat for f in folds))
    scores = np.full((len(repeats), len(folds[0].centred)), np.nan)
    for fold in folds:
        row = scores[repeats.index(fold.repeat)]
        unseen = ~fold.is_training
        if not np.isnan(row[unseen]).all():
            raise CohortError(
                f"{fold.repeat}, fold {fold.fold}: a patient is scored by two models of one repeat."
            )
        values = {
            "centred": fold.centred,
            "standardised": fold.standardised,
            "above_cutoff": fold.centred - fold.cutoff,
        }[what]
        row[unseen] = values[unseen]
    if np.isnan(scores).any():
        raise CohortError(
            "A patient is scored by no model of a repeat. The splits do not test everyone."
        )
    return scores


def standardise(standardised: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return (B,) scores with SD 1 over the cohort from (R, B) standardised ones; no outcome is
    used.
    """
    mean = standardised.mean(axis=0)
    sd = mean.std(ddof=1)
    return mean / sd if sd > SMALLEST_SD else np.zeros_like(mean)


def averaged(folds: Sequence[FoldScores]) -> npt.NDArray[np.float64]:
    """Return (B,) score_sd: by the models that did not see a patient, in SD of their training
    patients, averaged over repeats.
    """
    return standardise(out_of_fold(folds, "standardised"))


def repeat_table(by_name: Mapping[str, Sequence[FoldScores]]) -> RepeatTable:
    """Return every partition's own scores, of several models on the same folds.

    Args:
        by_name: name of a column -> its folds; names without folds are left out.
    """
    present = {name: folds for name, folds in by_name.items() if folds}
    first = next(iter(present.values()))
    repeats = tuple(dict.fromkeys(f.repeat for f in first))
    fold = np.empty((len(repeats), len(first[0].centred)), dtype=object)
    for one in first:
        fold[repeats.index(one.repeat), ~one.is_training] = one.fold
    return RepeatTable(
        repeats=repeats,
        fold=fold.astype(str),
        scores={name: out_of_fold(folds) for name, folds in present.items()},
    )


def folded_scores(folds: Sequence[FoldScores]) -> FoldedScores:
    """Return the scores of a cross-validation as C takes them: by partition, with their folds."""
    table = repeat_table({"score": folds})
    return FoldedScores(scores=table.scores["score"], fold=table.fold, mean=averaged(folds))


def seed_folds(
    raw: npt.NDArray[np.float64], specs: Sequence[ModelSpec], patient_ids: Sequence[str]
) -> dict[str, list[FoldScores]]:
    """Return for each seed its folds, as if only the models of that seed had been trained.

    Args:
        raw: (M, B) log-risks of full bags.
    """
    folds = {}
    for seed in sorted({spec.seed for spec in specs}):
        mine = [m for m, spec in enumerate(specs) if spec.seed == seed]
        folds[str(seed)] = fold_scores(raw[mine], [specs[m] for m in mine], patient_ids)
    return folds


def risk_scores(
    cohort: Cohort,
    bags: Sequence[Bag],
    folds: Sequence[FoldScores],
    *,
    model_hashes: Sequence[str],
    splits_sha256: str,
    score_type: str,
    data_cut: str,
) -> list[RiskScore]:
    """Return one row per patient, in the cohort's order."""
    centred = out_of_fold(folds)  # (R, B)
    score_sd = standardise(out_of_fold(folds, "standardised"))  # (B,)
    above = out_of_fold(folds, "above_cutoff")  # (R, B)
    votes = (
        (above > 0).mean(axis=0) * 2 - 1 + 1e-6 * np.sign(above.mean(axis=0))
    )  # (B,) a tie goes to the mean margin
    rows = []
    for b, (patient, bag) in enumerate(zip(cohort.patients, bags)):
        mine = [f for f in folds if not f.is_training[b]]
        rows.append(
            RiskScore(
                patient_id=patient.patient_id,
                centre=patient.centre,
                log_risk=float(centred[:, b].mean()),
                score_sd=float(score_sd[b]),
                score_type=score_type,
                fold=";".join(f.fold for f in mine),
                n_repeats=len(mine),
                repeat_sd=float(centred[:, b].std(ddof=1)) if len(mine) > 1 else float("nan"),
                n_slides=len(bag.slide_ids),
                n_tiles=len(bag.features),
                model_sha256=models_sha256([model_hashes[m] for f in mine for m in f.models]),
                splits_sha256=splits_sha256,
                data_cut=data_cut,
                score_group="high" if votes[b] > 0 else "low",
            )
        )
    return rows
