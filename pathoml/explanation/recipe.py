"""Everything that decides the maps of a run, and the files that `explain` leaves."""

from __future__ import annotations

from pathoml.config import Study
from pathoml.store.provenance import file_hashes
from pathoml.types import Recipe

EXPLAIN_VERSION = 5
EXPLAIN_OUTPUTS = ("attention", "faithfulness.json")


def explain_recipe(study: Study) -> Recipe:
    """Return everything that decides the maps."""
    return Recipe(
        step="explain",
        inputs={
            **file_hashes(study.run_folder, ("models/models.json", "scores.csv")),
            "version": EXPLAIN_VERSION,
        },
    )
