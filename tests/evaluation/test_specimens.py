"""Primary and metastasis of a patient are scored apart, by models that did not see the patient."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from pathoml.evaluation.specimens import has_both_kinds, heterogeneity_section
from pathoml.training.model_stack import ModelSpec
from pathoml.training.scoring import fold_scores
from pathoml.types import Bag, Cohort, Patient, Slide

N = 12


def cohort():
    ids = [f"P{k}" for k in range(N)]
    slides = [
        Slide(slide_id=f"{p}_{kind}", patient_id=p, path=None, specimen=kind)
        for p in ids
        for kind in ("primary", "metastasis")
    ]
    patients = [
        Patient(
            patient_id=p,
            centre="AB"[k % 2],
            time_months=1.0 + k,
            event=1,
            slide_ids=(f"{p}_primary", f"{p}_metastasis"),
            covariates={},
        )
        for k, p in enumerate(ids)
    ]
    return Cohort(
        patients=tuple(patients), slides=tuple(slides), endpoint="", time_zero="", excluded=()
    )


def bag(k: int, patient: Patient) -> Bag:
    features = np.array([[k], [k], [k + 3.0]])  # the metastasis lies 3 above the primary
    return Bag(
        patient_id=patient.patient_id,
        features=features,
        slide_index=np.array([0, 0, 1]),
        slide_ids=patient.slide_ids,
        xy_l0=np.zeros((3, 2), int),
    )


class MeanOfTiles:
    """Two models: the mean of the bag's tiles, and the same plus a constant that centring takes
    away.
    """

    def log_risks(self, bags):
        means = np.array([float(np.mean(b.features)) for b in bags])
        return np.stack([means, means + 100])


def finished_run():
    patients = cohort()
    bags = [bag(k, p) for k, p in enumerate(patients.patients)]
    half = set(patients.patient_ids[::2])
    specs = [
        ModelSpec(repeat="repeat-1", fold="1", seed=1, train=tuple(half)),
        ModelSpec(
            repeat="repeat-1", fold="2", seed=1, train=tuple(set(patients.patient_ids) - half)
        ),
    ]
    stack = MeanOfTiles()
    raw = stack.log_risks(bags)
    return SimpleNamespace(
        cohort=patients,
        bags=bags,
        stack=stack,
        raw=raw,
        folds=fold_scores(raw, specs, patients.patient_ids),
    )


def test_a_shift_of_every_metastasis_is_found_in_units_of_the_score():
    run = finished_run()
    score = np.array(
        [f.centred[k] / f.sd for k in range(N) for f in run.folds if not f.is_training[k]]
    )
    section = heterogeneity_section(run, score / 2)  # a cohort scale of half the folds' own
    assert section["patients"] == N
    assert section["shift"]["estimate"] == pytest.approx(3 / run.folds[0].sd / 2, rel=1e-9)
    assert section["shift_p"] < 0.01


def test_specimens_of_one_patient_are_nearer_than_those_of_strangers():
    run = finished_run()
    assert heterogeneity_section(run, np.arange(N, dtype=float))["agreement"] > 0


def test_a_cohort_of_primaries_only_has_nothing_to_compare():
    only = cohort()
    assert has_both_kinds(only)
    assert not has_both_kinds(
        SimpleNamespace(slides=[s for s in only.slides if s.specimen == "primary"])
    )
