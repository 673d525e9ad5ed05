"""Everything that decides the phenotypes of a run, and the files that `discover` leaves."""

from __future__ import annotations

from pathoml.config import Study
from pathoml.store.provenance import file_hashes
from pathoml.types import Recipe

DISCOVER_VERSION = 6
DISCOVER_OUTPUTS = ("features/phenotypes.csv",)


def discover_recipe(study: Study) -> Recipe:
    """Return what decides the features; the covariates of study.yaml are adjusted for."""
    cohort = study.config.cohort.model_dump(mode="json")
    return Recipe(
        step="discover",
        inputs={
            **file_hashes(study.run_folder, ("scores.csv",)),
            "cohort": cohort,
            "version": DISCOVER_VERSION,
        },
    )
