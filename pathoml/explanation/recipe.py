"""Everything that decides the maps of a run, and the files that `explain` leaves."""

from __future__ import annotations

from pathlib import Path

from pathoml.config import Study
from pathoml.store.provenance import file_hashes
from pathoml.store.publishing import Outputs, withdraw_outputs
from pathoml.study.inputs import pictures_there, slides_read, stored_content
from pathoml.study.layout import tiles_folder
from pathoml.types import Cohort, Recipe

EXPLAIN_VERSION = 7
EXPLAIN_OUTPUTS = Outputs(
    always=("attention", "faithfulness.json"),
    globs=(
        "attention/*.h5",
        "attention/*.geojson",
        "attention/*.png",
        "attention/failures.csv",
        "attention/gallery.html",
        "faithfulness.json",
    ),
)


def explain_recipe(study: Study, cohort: Cohort) -> Recipe:
    """Return everything that decides the maps."""
    return Recipe(
        step="explain",
        inputs={
            **file_hashes(study.run_folder, ("models/models.json", "scores.csv")),
            "events": int(cohort.event.sum()),  # faithfulness.json says how many there were
            "slides": slides_read(cohort),
            "pictures": pictures_there(cohort),
            "tiles": stored_content(tiles_folder(study), cohort),  # their flags
            "version": EXPLAIN_VERSION,
        },
    )


def remove_maps(run_folder: Path) -> None:
    """Remove the maps of models that are gone, where the models that there are have none."""
    withdraw_outputs(run_folder, "explain", EXPLAIN_OUTPUTS)
