"""Models that judge the maps of a run in which one model scores each patient, as when centres are
left out: the head is solved again for each fold, without another fifth of its training patients.

A head that is trained has initialisations that judge each other (train.seeds); one that is solved
has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pathoml.compute.devices import prepare_device
from pathoml.config import Study
from pathoml.errors import CohortError
from pathoml.explanation.contributions import BagExplanation, explain_features
from pathoml.survival.ridge_cox import event_balanced_folds
from pathoml.training.fit import fit_models
from pathoml.training.heads import is_solved
from pathoml.training.model_stack import ModelSpec, ModelStack
from pathoml.training.run import LoadedRun
from pathoml.training.scoring import FoldScores, fold_scores
from pathoml.types import Bag, Cohort

JUDGES = 2  # of each fold
PARTS = 5  # of the training patients, of which a judge learns from all but one


@dataclass(frozen=True, kw_only=True)
class Judges:
    """Models that had no part in a map, and who of the cohort is new to them."""

    stack: ModelStack
    folds: Sequence[FoldScores]

    def explain(self, position: int, bag: Bag) -> BagExplanation:
        """Explain one patient by the judges of the folds that score the patient."""
        mine = [f for f in self.folds if not f.is_training[position]]
        return explain_features(self.stack, mine, bag.features, centre=bag.centre)


def solve_judges(study: Study, run: LoadedRun) -> Judges | None:
    """Return the judges of a run, or None where it needs none, or too few events are left for one."""
    if not is_solved(study.config.train) or len({fold.repeat for fold in run.folds}) > 1:
        return None
    ids, seed = run.cohort.patient_ids, study.config.splits.seed
    specs = [_without(one, k, run.cohort, seed) for one in run.specs for k in range(JUDGES)]
    try:
        [block] = fit_models(
            run.cohort,
            run.bags,
            specs,
            config=study.config.train,
            device=prepare_device(study.config.compute),
            seed=seed,
        )
    except CohortError:  # no event is left
        return None
    seen = {fold.fold: fold.is_training for fold in run.folds}
    folds = [
        replace(fold, is_training=seen[fold.fold])  # whom a judge did not learn from is not new
        for fold in fold_scores(block.raw, specs, ids)
    ]
    return Judges(stack=block.stack, folds=folds)


def _without(one: ModelSpec, part: int, cohort: Cohort, seed: int) -> ModelSpec:
    """Return a fold's model that leaves out one part of the training patients, events and censored
    alike.
    """
    learns = set(one.train)
    rows = np.array([row for row, who in enumerate(cohort.patient_ids) if who in learns])
    of_row = event_balanced_folds(cohort.event[rows], PARTS, seed)
    kept = tuple(cohort.patient_ids[row] for row, own in zip(rows, of_row) if own != part)
    return replace(one, repeat=f"judge-{part + 1}", train=kept)
