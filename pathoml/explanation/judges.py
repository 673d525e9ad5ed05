"""Models that judge the maps of a run in which one model scores each patient, as when centres are
left out: the head is solved again for each fold, without another fifth of its training patients.

A head that is trained has initialisations that judge each other (train.seeds); one that is solved
has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pathoml.config import Study
from pathoml.errors import CohortError
from pathoml.explanation.contributions import BagExplanation, explain_features
from pathoml.training.fit import fit_models
from pathoml.training.heads import is_solved
from pathoml.training.left_out import leaving_out
from pathoml.training.model_stack import ModelStack
from pathoml.training.run import LoadedRun
from pathoml.training.scoring import FoldScores, fold_scores
from pathoml.types import Bag

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
    """Return the judges of a run; None where it needs none, or where too few events are left."""
    if not is_solved(study.config.train) or len({fold.repeat for fold in run.folds}) > 1:
        return None
    ids, seed = run.cohort.patient_ids, study.config.splits.seed
    specs = [
        replace(judge, repeat=f"judge-{number}")
        for one in run.specs
        for number, judge in enumerate(
            leaving_out(one, run.cohort, parts=PARTS, seed=seed)[:JUDGES], 1
        )
    ]
    try:
        [block] = fit_models(
            run.cohort,
            run.bags,
            specs,
            config=study.config.train,
            device=run.stack.projections[0][0].device,
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
