"""Everything that decides each step of a run, and the files that it leaves: what `run` and `status` know of it, without torch."""

from __future__ import annotations

from pathoml.config import Study
from pathoml.store._hdf5 import recipe_sha256, stored_attr
from pathoml.store.files import sha256_of_json
from pathoml.store.provenance import file_hash
from pathoml.study.layout import embeddings_folder
from pathoml.types import Cohort, Recipe

TRAINING_VERSION = 4  # raise it when the same data and configuration train other models
EVALUATION_VERSION = 8  # and so on: each when the same inputs give other files
EXPLAIN_VERSION = 5
DISCOVER_VERSION = 6
REPORT_VERSION = 6
TRAIN_OUTPUTS = ("models/models.json", "scores.csv", "splits.json", "baselines.csv")
EVALUATE_OUTPUTS = ("metrics.json", "metrics.csv", "permutation.json", "analysis.R", "start_stop.csv")
EXPLAIN_OUTPUTS = ("attention", "faithfulness.json")
DISCOVER_OUTPUTS = ("features/phenotypes.csv",)
REPORT_OUTPUTS = ("report.html",)
REPORT_READS = (
    "scores.csv",
    "metrics.json",
    "permutation.json",
    "splits.json",
    "study.resolved.yaml",
    "faithfulness.json",
    "features/phenotypes.csv",
    "features/labels.json",
)


def train_recipe(study: Study, cohort: Cohort) -> Recipe:
    """Return everything that decides the models and scores of a run."""
    config, folder = study.config, embeddings_folder(study)
    hashes = {s.slide_id: stored_attr(folder / f"{s.slide_id}.h5", "content_sha256") for s in cohort.slides}
    patients = [[p.patient_id, p.centre, p.time_months, p.event, list(p.slide_ids), dict(p.covariates)] for p in cohort.patients]
    sections = config.model_dump(mode="json", include={"endpoint", "cohort", "splits", "train", "encoder"})
    return Recipe(
        step="train", inputs={**sections, "patients": patients, "embeddings": hashes, "version": TRAINING_VERSION, **split_file_hash(study)}
    )


def split_file_hash(study: Study) -> dict[str, str]:
    """Return the hash of splits that were made elsewhere: other splits train other models."""
    if not study.config.splits.file:
        return {}
    path = study.folder / study.config.splits.file
    files = sorted(path.glob("*.csv")) if path.is_dir() else [path]
    return {"split_files": sha256_of_json([file_hash(f) for f in files])}


def evaluate_recipe(study: Study) -> Recipe:
    """Return everything that decides metrics.json and what stands beside it."""
    names = ("scores.csv", "baselines.csv", "nested_scores.csv", "seed_scores.csv", "models/models.json")
    sections = study.config.model_dump(mode="json", include={"significance", "endpoint", "cohort", "dates", "evaluate"})
    return Recipe(step="evaluate", inputs={**_hashes(study, names), **sections, "version": EVALUATION_VERSION})


def explain_recipe(study: Study) -> Recipe:
    """Return everything that decides the maps."""
    return Recipe(step="explain", inputs={**_hashes(study, ("models/models.json", "scores.csv")), "version": EXPLAIN_VERSION})


def discover_recipe(study: Study) -> Recipe:
    """Return everything that decides the features; the covariates of study.yaml are adjusted for."""
    cohort = study.config.cohort.model_dump(mode="json")
    return Recipe(step="discover", inputs={**_hashes(study, ("scores.csv",)), "cohort": cohort, "version": DISCOVER_VERSION})


def report_recipe(study: Study) -> Recipe:
    """Return everything that decides the report."""
    others = {"maps": recipe_sha256(explain_recipe(study)), "report": study.config.report.model_dump()}
    return Recipe(step="report", inputs={**_hashes(study, REPORT_READS), **others, "version": REPORT_VERSION})


def _hashes(study: Study, names: tuple[str, ...]) -> dict[str, str]:
    return {name: file_hash(study.run_folder / name) for name in names}
