"""Score the primary and the metastases of a patient apart, by models that did not see the patient,
and compare them.

Nothing is trained: the tiles of one kind of specimen are a bag of their own, scored by the models
of a finished run.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pathoml.survival.estimate import Estimate
from pathoml.survival.heterogeneity import paired_heterogeneity
from pathoml.survival.not_estimable import or_not_estimable
from pathoml.training.run import LoadedRun
from pathoml.training.scoring import SMALLEST_SD
from pathoml.types import Array, Bag, Cohort

KINDS = ("primary", "metastasis")


def has_both_kinds(cohort: Cohort) -> bool:
    """Return whether some patient has slides of a primary and of a metastasis."""
    kinds: dict[str, set[str]] = {}
    for slide in cohort.slides:
        kinds.setdefault(slide.patient_id, set()).add(slide.specimen)
    return any(set(KINDS) <= found for found in kinds.values())


def heterogeneity_section(run: LoadedRun, score: Array, permutations: int = 2000) -> dict[str, Any]:
    """Return the section heterogeneity of metrics.json: shift and agreement of both specimens, in
    SDs of the score.

    Args:
        run: a trained run.
        score: (B,) score_sd of the run's patients in the cohort's order, whose scale the specimens
            are given in.
    """
    kind_of = {slide.slide_id: slide.specimen for slide in run.cohort.slides}
    pairs = [
        (row, parts)
        for row, bag in enumerate(run.bags)
        if len(parts := _parts(bag, kind_of)) == len(KINDS)
    ]
    rows = np.array([row for row, _ in pairs], dtype=int)
    if not pairs:
        return {"patients": 0}
    raw = np.asarray(
        run.stack.log_risks([parts[kind] for kind in KINDS for _, parts in pairs])
    )  # (M, 2 P)
    patients = [run.cohort.patients[row] for row in rows]
    scored = _out_of_fold(run, raw, np.tile(rows, len(KINDS)))
    whole = _out_of_fold(run, np.asarray(run.raw)[:, rows], rows)
    scale = (
        float(np.polyfit(whole, score[rows], 1)[0]) if np.ptp(whole) > 0 else 1.0
    )  # SDs of the folds' own scores to those of the cohort
    primary, metastasis = scale * scored[: len(rows)], scale * scored[len(rows) :]

    def compare() -> dict[str, Any]:
        result = paired_heterogeneity(
            primary, metastasis, [p.centre for p in patients], permutations=permutations
        )
        shift: Estimate = result.shift
        return {
            "shift": shift.to_json(),
            "shift_p": result.shift_p,
            "agreement": result.agreement,
            "agreement_p": result.agreement_p,
        }

    return {"patients": len(pairs), **or_not_estimable(compare)}


def _parts(bag: Bag, kind_of: dict[str, str]) -> dict[str, Bag]:
    """Return a bag for each kind of specimen that the patient has."""
    kinds = np.array([kind_of.get(slide_id, "other") for slide_id in bag.slide_ids])[
        bag.slide_index
    ]  # (N,)
    features = np.asarray(bag.features)
    return {
        kind: replace(
            bag,
            features=features[kinds == kind],
            slide_index=bag.slide_index[kinds == kind],
            xy_l0=bag.xy_l0[kinds == kind],
            grids=(),
        )
        for kind in KINDS
        if (kinds == kind).any()
    }


def _out_of_fold(run: LoadedRun, raw: Array, rows: npt.NDArray[np.int_]) -> Array:
    """Return the mean, over the folds that did not train on the row's patient, of (raw - reference)
    / SD, (len(rows),).
    """
    total, count = np.zeros(len(rows)), np.zeros(len(rows))
    for fold in run.folds:
        unseen = ~fold.is_training[rows]
        value = (raw[list(fold.models)].mean(axis=0) - fold.reference) / max(fold.sd, SMALLEST_SD)
        total[unseen] += value[unseen]
        count[unseen] += 1
    result: Array = total / np.maximum(count, 1)
    return result
