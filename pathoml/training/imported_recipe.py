"""What decides a run of imported scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pathoml.config import Study
from pathoml.errors import CohortError
from pathoml.store.files import sha256_of_json
from pathoml.store.provenance import recorded_inputs
from pathoml.store.tables import as_it_was, parse_number, read_table
from pathoml.study.columns import number_cells
from pathoml.study.inputs import patients_read
from pathoml.training.recipe import NOT_TRAINED_ON, TRAIN_OUTPUTS, splits_read
from pathoml.types import Cohort, Recipe

IMPORT_OUTPUTS = replace(TRAIN_OUTPUTS, always=("imported.csv", "scores.csv", "splits.json"))
IMPORT_VERSION = 1  # raise it when the same table and score give another run
SCORE = "score"  # column of imported.csv
KEPT = ("score_type", "fold", "score_group", "model_sha256")  # taken over where they are there
VALUES = "imported scores"
SOURCE = ("file", "column", VALUES)  # inputs that say where the scores came from
INSIDE = "./"  # how a file is named that lies in the study's folder

Rows = Mapping[str, Mapping[str, str]]  # patient_id -> cells


def import_recipe(study: Study, cohort: Cohort) -> Recipe:
    """Return what decides a run of imported scores now: the tables, and the file where it lies in
    the study's folder.
    """
    recorded = recorded_inputs(study.run_folder, "import")
    source = {name: str(recorded.get(name, "")) for name in SOURCE}
    path = study.folder / source["file"]
    if source["file"].startswith(INSIDE) and path.is_file():
        try:
            table = read_table(path, study.config.cohort.missing)
            table.require(("patient_id", source["column"]))
            cells = number_cells(table, source["column"])
            rows = {
                as_it_was(row["patient_id"]): {
                    **row,
                    source["column"]: cells.get(row[source["column"]], row[source["column"]]),
                }
                for row in table.rows
            }
            source[VALUES] = scores_read(rows, source["column"])
        except CohortError:
            source[VALUES] = ""  # other than what was imported
    return Recipe(step="import", inputs=import_inputs(study, cohort, source))


def import_inputs(study: Study, cohort: Cohort, source: Mapping[str, str]) -> dict[str, Any]:
    splits, cut = study.config.splits, study.config.endpoint.data_cut
    return {
        **source,
        "patients": patients_read(cohort, without=NOT_TRAINED_ON),
        "splits": splits_read(splits.model_copy(update={"file": None}), nested=False),
        "data_cut": cut.isoformat() if cut else "",
        "version": IMPORT_VERSION,
    }


def scores_read(rows: Rows, column: str) -> str:
    """Return a hash of what is taken over from a table of scores."""
    cells = {
        p: [parse_number(row[column]), *(row.get(name, "") for name in KEPT)]
        for p, row in rows.items()
        if row[column]
    }
    return sha256_of_json(cells)
