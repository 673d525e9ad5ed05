"""Step `predict`: score another study's patients with a locked bundle; writes runs/NAME/scores.csv
and drift.csv.

patients.csv is not opened at all: nobody can say that the outcome was seen. A patient is who
slides.csv says.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pathoml.bags.reading import read_bags
from pathoml.bundles.drift import COLUMNS, drift_rows
from pathoml.bundles.lock import (
    bundle_models,
    ensemble_scores,
    input_of,
    open_bundle,
    refuse_other_input,
)
from pathoml.compute.devices import prepare_device
from pathoml.config import Study
from pathoml.errors import CohortError
from pathoml.store.embeddings import read_embeddings
from pathoml.store.files import atomic_path, sha256_of_file
from pathoml.store.packs import is_stored
from pathoml.store.provenance import record_step
from pathoml.store.scores import write_scores
from pathoml.store.tables import write_table
from pathoml.study.cohort import read_slides
from pathoml.study.layout import embeddings_folder
from pathoml.study.run_folder import RunFolder
from pathoml.training.models import load_models, models_sha256
from pathoml.types import Cohort, Patient, Recipe, RiskScore

NEVER_SEEN = float("nan")  # the outcome of a patient who is scored by a locked model


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """What a prediction did."""

    folder: Path
    patients: int
    slides: int
    lights: dict[str, int]  # slides by their worst light


def predict_study(study: Study, bundle_folder: Path) -> Predicted:
    """Score every patient of slides.csv whose slides are embedded.

    Raises:
        ConfigError: the study's encoder, tile size, resolution or preprocessing is not the
            bundle's.
        StoreError: the bundle or an embedding was changed.
    """
    bundle = open_bundle(bundle_folder)
    cohort, bags, first = read_bags(cohort_without_outcomes(study), embeddings_folder(study))
    refuse_other_input(bundle, input_of(study, first))
    stack, _, _ = load_models(bundle_folder / "models", prepare_device(study.config.compute))
    log_risk, between_models = ensemble_scores(np.asarray(stack.log_risks(bags)), bundle)
    scale, hashes = bundle["out_of_fold"], bundle_models(bundle)
    folder = study.runs_folder / bundle["name"]
    folder.mkdir(parents=True, exist_ok=True)
    scores = [
        RiskScore(
            patient_id=patient.patient_id,
            centre=patient.centre,
            log_risk=float(risk),
            score_sd=float(risk / scale["sd"]),
            score_type="locked",
            fold="",
            n_repeats=1,
            repeat_sd=float(spread),
            n_slides=len(bag.slide_ids),
            n_tiles=len(bag.features),
            model_sha256=models_sha256(hashes),
            splits_sha256=sha256_of_file(bundle_folder / "bundle.json"),
            data_cut="",
            score_group="high" if risk > scale["quantiles"]["0.5"] else "low",
        )
        for patient, bag, risk, spread in zip(cohort.patients, bags, log_risk, between_models)
    ]
    write_scores(folder, scores)
    of_patient = {s.patient_id: s.log_risk for s in scores}
    rows = []
    for slide in cohort.slides:
        path = embeddings_folder(study) / f"{slide.slide_id}.h5"
        if is_stored(path):
            rows += drift_rows(
                bundle["drift"], slide, read_embeddings(path), score=of_patient[slide.patient_id]
            )
    with atomic_path(RunFolder(folder).drift) as temporary:
        write_table(temporary, COLUMNS, rows)
    inputs = {
        "bundle": sha256_of_file(bundle_folder / "bundle.json"),
        "slides": [s.slide_id for s in cohort.slides],
    }
    record_step(folder, Recipe(step="predict", inputs=inputs), bundle=bundle["name"])
    worst: dict[str, str] = defaultdict(lambda: "green")
    for row in rows:
        worst[str(row[0])] = max(
            worst[str(row[0])], str(row[4]), key=("green", "amber", "red").index
        )
    return Predicted(
        folder=folder, patients=len(scores), slides=len(worst), lights=dict(Counter(worst.values()))
    )


def cohort_without_outcomes(study: Study) -> Cohort:
    """Return a cohort from slides.csv alone, without times or events."""
    slides = read_slides(study)
    if not slides:
        raise CohortError("slides.csv has no rows: there is nobody to score.")
    of_patient: dict[str, list[str]] = defaultdict(list)
    centre = {}
    for slide in slides:
        of_patient[slide.patient_id].append(slide.slide_id)
        centre[slide.patient_id] = slide.extras.get("centre", "")
    patients = tuple(
        Patient(
            patient_id=p,
            centre=centre[p],
            time_months=NEVER_SEEN,
            event=0,
            slide_ids=tuple(ids),
            covariates={},
        )
        for p, ids in of_patient.items()
    )
    return Cohort(patients=patients, slides=tuple(slides), endpoint="", time_zero="", excluded=())
