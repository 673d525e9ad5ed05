"""Read back what `train` wrote: the models, how they score everyone, and the splits, for the steps
that come after.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pathoml.bags.reading import read_bags
from pathoml.compute.devices import prepare_device
from pathoml.config import Study
from pathoml.errors import StoreError
from pathoml.store.publishing import is_fresh
from pathoml.study.cohort import read_cohort
from pathoml.study.inputs import why_stale
from pathoml.study.layout import embeddings_folder
from pathoml.study.run_folder import RunFolder
from pathoml.study.splits import check_splits, read_splits
from pathoml.training.model_stack import ModelSpec, ModelStack
from pathoml.training.models import load_models, read_raw_scores
from pathoml.training.recipe import TRAIN_OUTPUTS, train_recipe
from pathoml.training.scoring import FoldScores, fold_scores
from pathoml.types import Bag, Cohort, Split


@dataclass(frozen=True, kw_only=True)
class LoadedRun:
    """A trained run with the bags it was trained on."""

    cohort: Cohort
    bags: Sequence[Bag]
    splits: Sequence[Split]
    stack: ModelStack
    folds: Sequence[FoldScores]
    specs: Sequence[ModelSpec]
    raw: npt.NDArray[np.float64]  # (M, B) raw log-risks of whole bags

    def some_folds(self, repeats: int, seeds: int) -> list[FoldScores]:
        """Return the fold scores of the first repeats by the first seeds."""
        names = [s.name for s in self.splits[:repeats]]
        mine = [
            m for m, spec in enumerate(self.specs) if spec.repeat in names and spec.seed <= seeds
        ]
        return fold_scores(self.raw[mine], [self.specs[m] for m in mine], self.cohort.patient_ids)


def load_run(study: Study, cohort: Cohort | None = None) -> LoadedRun:
    """Read a run with its models and how they score each bag.

    Args:
        cohort: of the study, where it was read already.

    Raises:
        StoreError: not trained yet, or the cohort, embeddings or configuration changed since.
    """
    cohort = cohort or read_cohort(study)
    recipe = train_recipe(study, cohort)
    if not is_fresh(study.run_folder, recipe, TRAIN_OUTPUTS):
        changed = why_stale(study.run_folder, recipe, TRAIN_OUTPUTS)
        raise StoreError(
            f"{study.run_folder} is not trained, or its data or configuration changed since"
            f"{f' ({changed})' if changed else ''}. Run `pathoml train`, or pathoml.train(study),"
            " first."
        )
    cohort, bags, _ = read_bags(cohort, embeddings_folder(study))
    folder = RunFolder(study.run_folder)
    splits = read_splits(folder.splits)
    check_splits(splits, cohort)
    stack, specs, _ = load_models(
        folder.models,
        prepare_device(study.config.compute),
        train=study.config.train,
    )
    raw = read_raw_scores(folder.models)
    folds = fold_scores(raw, specs, cohort.patient_ids)
    return LoadedRun(
        cohort=cohort, bags=bags, splits=splits, stack=stack, folds=folds, specs=specs, raw=raw
    )
