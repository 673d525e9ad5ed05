"""Models that differ by whom they leave out, as those of a trained head do by initialisation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pathoml.survival.ridge_cox import event_balanced_folds
from pathoml.training.model_stack import ModelSpec
from pathoml.types import Cohort


def leaving_out(one: ModelSpec, cohort: Cohort, *, parts: int, seed: int) -> list[ModelSpec]:
    """Return a model for each part of the training patients, which learns from all but that part.

    Args:
        one: the model of all of them.
        parts: how many, events and censored patients dealt out alike.
        seed: of the parts.
    """
    learns = set(one.train)
    rows = np.array([row for row, who in enumerate(cohort.patient_ids) if who in learns])
    part_of = event_balanced_folds(cohort.event[rows], parts, seed)
    return [
        replace(one, train=tuple(cohort.patient_ids[row] for row in rows[part_of != part]))
        for part in range(parts)
    ]
