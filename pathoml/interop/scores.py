"""Scores of another program become a run: scores.csv, splits.json and the clinical baseline,
without slides, tiles or models.

Everything that rests on the scores (concordance, calibration, added value, report) then works as on
our own. What rests on the models cannot: no permutation of the whole cross-validation, no maps. How
the scores were made is not known here; `score_type` says what their owner says, or "external".
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from pathoml.config import Study
from pathoml.errors import CohortError
from pathoml.store.files import sha256_of_file
from pathoml.store.tables import Table, as_it_was, parse_number, read_table
from pathoml.study.cohort import read_cohort
from pathoml.study.columns import number_cells
from pathoml.study.patient_ids import near_ids
from pathoml.study.run_folder import RunFolder
from pathoml.training.imported_recipe import INSIDE
from pathoml.training.imported_run import write_imported_run
from pathoml.types import Exchange

USUAL_NAMES = (
    "log_risk",
    "score_sd",
    "score",
    "risk",
)  # in this order, where a table has several columns


def import_into(study: Study, source: Path, *, column: str | None = None) -> Exchange:
    """Write runs/RUN from a table with patient_id and one score per patient; higher must mean
    earlier events.

    Args:
        source: CSV or .xlsx; score_type, fold and score_group are taken over where they are there.
        column: the score's column; None: log_risk, score_sd, score or risk, else the only other
            column of numbers.

    Raises:
        CohortError: no such column, a patient twice, a score that is not a number, nobody of the
            cohort is scored, or the run holds trained models.
    """
    table = read_table(source, study.config.cohort.missing, needs=("patient_id",))
    table.require(("patient_id",))
    name = _score_column(table, column)
    table.require((name,))
    understood = number_cells(table, name)  # refuses what may be 1483 or 1.483
    cohort = read_cohort(study)
    known = {p.patient_id for p in cohort.patients}
    rows = _by_patient(table, known)
    for row in rows.values():
        row[name] = understood.get(row[name], row[name])
    scored = [p for p in cohort.patients if rows.get(p.patient_id, {}).get(name)]
    near = near_ids((p for p in rows if p not in known), known - rows.keys())
    failures = {
        p.patient_id: f"no {name} in {source.name}"
        for p in cohort.patients
        if not rows.get(p.patient_id, {}).get(name)
    }
    failures |= {p: f"not in the cohort.{near.get(p, '')}" for p in rows if p not in known}
    if len(scored) < 2:
        hint = next((f" {p!r}:{sentence}" for p, sentence in near.items()), "")
        raise CohortError(
            f"{source.name} has a {name} of {len(scored)} patients of the cohort. Compare"
            f" patient_id in both tables.{hint}"
        )
    run = RunFolder(study.run_folder)
    if run.models_index.exists():
        raise CohortError(
            f"{run.path} holds models that were trained there. Import into a run of its own: add"
            " --set run=imported."
        )
    scores = write_imported_run(
        study,
        cohort,
        rows,
        column=name,
        file=_file_name(study, source),
        sha256=sha256_of_file(source),
    )
    notes = (
        (
            f"column {name!r}: {len(scored)} patients, score_type {scores[0].score_type}; higher ="
            f" earlier event ({study.config.endpoint.name}) is assumed"
        ),
        *(f"{source.name}: {note}" for note in table.notes),
    )
    return Exchange(
        files=(run.scores, run.baselines, run.splits),
        failures=failures,
        notes=notes,
    )


def _file_name(study: Study, source: Path) -> str:
    """Return a file's name, with its place where that is in the study's folder."""
    path, folder = source.resolve(), study.folder.resolve()
    inside = path.is_relative_to(folder)
    return f"{INSIDE}{path.relative_to(folder).as_posix()}" if inside else source.name


def _score_column(table: Table, wanted: str | None) -> str:
    if wanted:
        table.require((wanted,))
        return wanted
    named = next((c for c in USUAL_NAMES if c in table.columns), None)
    if named:
        return named
    numeric = [
        c
        for c in table.columns
        if c not in ("patient_id", "fold", "centre")
        and any(row[c] for row in table.rows)
        and all(parse_number(row[c]) is not None for row in table.rows if row[c])
    ]
    if len(numeric) != 1:
        found = ", ".join(numeric) or "none"
        raise CohortError(
            f"{table.path.name}: which column is the score? Columns of numbers: {found}. Name it"
            " with --column."
        )
    return numeric[0]


def _by_patient(table: Table, known: Collection[str]) -> dict[str, dict[str, str]]:
    """Return the rows by patient; an id that one of our own tables disarmed is as it was."""
    rows: dict[str, dict[str, str]] = {}
    for row in table.rows:
        written = row["patient_id"]
        patient = written if written in known else as_it_was(written)
        if patient in rows:
            raise CohortError(
                f"{table.path.name} has two rows for patient {patient!r}; it needs exactly one."
            )
        rows[patient] = {**row, "patient_id": patient}
    return rows
