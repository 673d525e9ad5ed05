"""Everything that decides what `evaluate` writes, and the files that it leaves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pathoml.config import Study
from pathoml.store.provenance import file_hashes
from pathoml.study.endpoints import endpoint_studies
from pathoml.types import Recipe

EVALUATION_VERSION = 9  # and so on: each when the same inputs give other files
EVALUATE_OUTPUTS = (
    "metrics.json",
    "metrics.csv",
    "permutation.json",
    "analysis.R",
    "start_stop.csv",
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
        inputs={
            **file_hashes(study.run_folder, names),
            **sections,
            **_secondary(study, names),
            "version": EVALUATION_VERSION,
        },
    )


def _secondary(study: Study, names: Sequence[str]) -> dict[str, Any]:
    """Return the secondary endpoints with the hashes of their files; nothing where there is none,
    so that runs of before stay up to date.
    """
    found = {
        one.config.endpoint.name: {
            "endpoint": one.config.endpoint.model_dump(mode="json"),
            "files": file_hashes(one.run_folder, names),
        }
        for one in endpoint_studies(study)
    }
    return {"secondary_endpoints": found} if found else {}
