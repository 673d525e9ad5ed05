"""A run of imported scores, anew where a table changed since."""

from __future__ import annotations

from pathoml.config import Study
from pathoml.errors import StoreError
from pathoml.store.provenance import recorded_inputs
from pathoml.store.publishing import unproved
from pathoml.store.tables import read_own_table
from pathoml.study.inputs import what_changed
from pathoml.study.run_folder import RunFolder
from pathoml.training.imported_recipe import IMPORT_OUTPUTS, SCORE, SOURCE, import_recipe
from pathoml.types import Cohort


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
    damaged = unproved(run.path, "import", IMPORT_OUTPUTS)
    changed = [*what_changed(recorded, {**now, **source}), *damaged]
    if not changed:
        return []
    again = "Run `pathoml import` with the scores again."
    if not run.imported.is_file():
        raise StoreError(f"{run.path} was imported before the tables changed. {again}")
    if any(said.startswith(run.imported.name) for said in damaged):
        raise StoreError(f"{run.imported} was changed since the scores were imported. {again}")
    rows = {row["patient_id"]: row for row in read_own_table(run.imported).rows}
    if sum(bool(rows.get(p, {}).get(SCORE)) for p in cohort.patient_ids) < 2:
        raise StoreError(f"{run.imported} scores fewer than two patients of the cohort. {again}")
    # here, because loading torch takes seconds
    from pathoml.training.imported_run import write_imported_run

    write_imported_run(study, cohort, rows, column=SCORE, file=source["file"], source=source)
    return changed
