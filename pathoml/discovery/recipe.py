"""Everything that decides the phenotypes of a run and what is made of their readings, and the
files that `discover` leaves.
"""

from __future__ import annotations

import glob
from pathlib import Path

from pathoml.config import Study
from pathoml.store.hypotheses import HUMAN_SCORES, PHENOTYPES, hypotheses_of_others
from pathoml.store.provenance import file_hash, file_hashes
from pathoml.store.publishing import Outputs
from pathoml.study.current_run import maps_in_force
from pathoml.study.inputs import patients_read, pictures_there, slides_read, stored_content
from pathoml.study.layout import tiles_folder
from pathoml.types import Cohort, Recipe

DISCOVER_VERSION = 7
LABELS_VERSION = 1
SPOTS_VERSION = 1
DISCOVER_OUTPUTS = Outputs(
    always=("features/phenotypes.csv",),
    globs=(
        "features/phenotypes.csv",
        "features/ledger.csv",
        "features/spatial.csv",
        "features/codebook.json",
        "features/assignments/*.h5",
        "features/maps/*.png",
        "features/sheets/*.png",
        "features/naming_sheet*/*.png",
        "features/naming_sheet*/index.html",
        "features/naming_sheet*/key.csv",
        "features/naming_sheet*/sheet.json",
        "features/naming_sheet*/ratings_*.csv",
    ),
    by_people=("features/naming_sheet*/ratings_*.csv",),
)
LABELS_OUTPUTS = Outputs(always=("features/labels.json",), globs=("features/labels.json",))
NOT_TESTED_BY = ("treatment_months",)  # fields of Patient
SLIDE_COLUMNS = ("specimen", "stain")


def labels_recipe(study: Study, cohort: Cohort) -> Recipe:
    """Return what the scores of raters are weighed against, beside what they wrote."""
    return Recipe(
        step="labels",
        inputs={
            **file_hashes(study.run_folder, ("features/codebook.json",)),
            "patients": patients_read(cohort, without=NOT_TESTED_BY),
            "slides": slides_read(cohort),
            "covariates": list(study.config.cohort.covariates),
            "version": LABELS_VERSION,
            **hypotheses_of_others(study.runs_folder, (HUMAN_SCORES,), run=study.config.run),
        },
    )


def spots_recipe(study: Study, slide_id: str, spots: Path) -> Recipe:
    """Return what decides how genes go with a slide's tiles: what models made of these, and the
    spots that were measured.
    """
    files = (f"attention/{slide_id}.h5", f"features/assignments/{slide_id}.h5")
    return Recipe(
        step=f"spots {slide_id}",
        inputs={
            **file_hashes(study.run_folder, files),
            "spots": file_hash(spots),
            "version": SPOTS_VERSION,
        },
    )


def spots_outputs(slide_id: str) -> Outputs:
    """Return the file that the spots of a slide leave."""
    name = f"features/spots/{slide_id}.csv"
    return Outputs(always=(name,), globs=(glob.escape(name),))


def discover_recipe(study: Study, cohort: Cohort) -> Recipe:
    """Return what decides the features; the covariates of study.yaml are adjusted for."""
    config = study.config.cohort
    return Recipe(
        step="discover",
        inputs={
            **file_hashes(study.run_folder, ("models/models.json", "scores.csv")),
            "patients": patients_read(cohort, without=NOT_TESTED_BY),
            "slides": slides_read(cohort, SLIDE_COLUMNS),
            "pictures": pictures_there(cohort),
            "tiles": stored_content(tiles_folder(study), cohort),  # the tissue's border
            "maps": maps_in_force(study.run_folder),
            "covariates": list(config.covariates),
            "begun later": list(cohort.later_covariates),
            "treatment": config.treatment,
            "version": DISCOVER_VERSION,
            **hypotheses_of_others(study.runs_folder, (PHENOTYPES,), run=study.config.run),
        },
    )
