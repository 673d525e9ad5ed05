"""Everything that decides what `evaluate` writes, and the files that it leaves."""

from __future__ import annotations

from pathoml.config import Study
from pathoml.store.provenance import file_hashes
from pathoml.types import Recipe

EVALUATION_VERSION = 9  # and so on: each when the same inputs give other files
EVALUATE_OUTPUTS = (
    "metrics.json",
    "metrics.csv",
    "permutation.json",
    "analysis.R",
    "start_stop.csv",
    "imputed.csv",
    "cohort.csv",
)


def evaluate_recipe(study: Study) -> Recipe:
    """Return everything that decides metrics.json and what stands beside it."""
    names = (
        "scores.csv",
        "baselines.csv",
        "nested_scores.csv",
        "seed_scores.csv",
        "models/models.json",
    )
    sections = study.config.model_dump(
        mode="json", include={"significance", "endpoint", "cohort", "dates", "evaluate"}
    )
    return Recipe(
        step="evaluate",
        inputs={**file_hashes(study.run_folder, names), **sections, "version": EVALUATION_VERSION},
    )
