"""Everything that decides the models and scores of a run, and the files that training leaves; known
without torch.
"""

from __future__ import annotations

from typing import Any

from pathoml.config import Study
from pathoml.store.files import read_json, sha256_of_json
from pathoml.store.hdf5 import stored_attr
from pathoml.store.provenance import file_hash
from pathoml.study.endpoints import secondary_endpoints
from pathoml.study.layout import embeddings_folder
from pathoml.study.run_folder import RunFolder
from pathoml.training.heads import source_sha256
from pathoml.types import Cohort, Recipe

TRAINING_VERSION = 4  # raise it when the same data and configuration train other models
ENDPOINT_SCORES = "endpoint_scores"  # in provenance.json: the scores of secondary endpoints
TRAIN_OUTPUTS = ("models/models.json", "scores.csv", "splits.json", "baselines.csv")


def train_recipe(study: Study, cohort: Cohort) -> Recipe:
    """Return everything that decides the models and scores of a run."""
    config, folder = study.config, embeddings_folder(study)
    hashes = {
        s.slide_id: stored_attr(folder / f"{s.slide_id}.h5", "content_sha256")
        for s in cohort.slides
    }
    patients = [
        [p.patient_id, p.centre, p.time_months, p.event, list(p.slide_ids), dict(p.covariates)]
        for p in cohort.patients
    ]
    sections = config.model_dump(
        mode="json", include={"endpoint", "cohort", "splits", "train", "encoder"}
    )
    return Recipe(
        step="train",
        inputs={
            **sections,
            "patients": patients,
            "embeddings": hashes,
            "version": TRAINING_VERSION,
            **split_file_hash(study),
            **head_source_hash(study),
            **secondary_inputs(study, cohort),
        },
    )


def secondary_inputs(study: Study, cohort: Cohort) -> dict[str, Any]:
    """Return what the models of secondary endpoints learn from; nothing where there is none, so
    that runs of before stay up to date.

    Raises:
        ConfigError: two endpoints of one name.
        CohortError: a row of a secondary endpoint is refused.
    """
    found = {
        endpoint.name: {
            "endpoint": endpoint.study.config.endpoint.model_dump(mode="json"),
            "dates": endpoint.study.config.dates.model_dump(mode="json"),
            "patients": [
                [p.patient_id, p.time_months, p.event, p.entry_months]
                for p in endpoint.cohort.patients
            ],
        }
        for endpoint in secondary_endpoints(study, cohort)
    }
    return {"secondary_endpoints": found} if found else {}


def train_outputs(study: Study) -> tuple[str, ...]:
    """Return the files of a run that training left, those of secondary endpoints among them."""
    path = RunFolder(study.run_folder).provenance
    done = read_json(path).get("steps", {}).get("train", {}) if path.exists() else {}
    return (*TRAIN_OUTPUTS, *done.get(ENDPOINT_SCORES, ()))


def head_source_hash(study: Study) -> dict[str, str]:
    """Return the hash of a head's source where its name does not say which code it is.

    Raises:
        ConfigError: the head is not to be found.
    """
    source = source_sha256(study.config.train.head, study.folder)
    return {"head_source_sha256": source} if source else {}


def split_file_hash(study: Study) -> dict[str, str]:
    """Return the hash of splits that were made elsewhere: other splits train other models."""
    if not study.config.splits.file:
        return {}
    path = study.folder / study.config.splits.file
    files = sorted(path.glob("*.csv")) if path.is_dir() else [path]
    return {"split_files": sha256_of_json([file_hash(f) for f in files])}
