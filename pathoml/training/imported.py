"""What decides a run of imported scores, and the run anew where a table changed since."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pathoml.config import Study
from pathoml.errors import CohortError, StoreError
from pathoml.store.files import sha256_of_json
from pathoml.store.provenance import record_step, recorded_inputs
from pathoml.store.tables import as_it_was, parse_number, read_own_table, read_table
from pathoml.study.columns import number_cells
from pathoml.study.inputs import patients_read, what_changed
from pathoml.study.run_folder import RunFolder
from pathoml.training.recipe import NOT_TRAINED_ON, splits_read
from pathoml.types import Cohort, Recipe

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


def renew_imported_run(study: Study, cohort: Cohort) -> list[str]:
    """Write a run of imported scores anew where the tables changed since, and return what changed;
    [] where nothing did, or the run's scores were not imported.

    Raises:
        StoreError: the imported scores were not kept, or the cohort has under two of them.
        CohortError: the cohort cannot be divided into folds.
    """
    run, recorded = RunFolder(study.run_folder), recorded_inputs(study.run_folder, "import")
    if not recorded or run.models_index.exists():
        return []
    now = import_recipe(study, cohort).inputs
    source = {name: str(recorded.get(name, "")) for name in SOURCE}
    changed = what_changed(recorded, {**now, **source})
    if not changed:
        return []
    again = "Run `pathoml import` with the scores again."
    if not run.imported.is_file():
        raise StoreError(f"{run.path} was imported before the tables changed. {again}")
    rows = {row["patient_id"]: row for row in read_own_table(run.imported).rows}
    if sum(bool(rows.get(p, {}).get(SCORE)) for p in cohort.patient_ids) < 2:
        raise StoreError(f"{run.imported} scores fewer than two patients of the cohort. {again}")
    # here, because loading torch takes seconds
    from pathoml.training.imported_run import write_imported_run

    write_imported_run(study, cohort, rows, column=SCORE, file=source["file"])
    record_step(run.path, Recipe(step="import", inputs={**now, **source}))
    return changed


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
