"""Scores of another program become a run: scores.csv, splits.json and the clinical baseline,
without slides, tiles or models.

Everything that rests on the scores (concordance, calibration, added value, report) then works as on
our own. What rests on the models cannot: no permutation of the whole cross-validation, no maps. How
the scores were made is not known here; `score_type` says what their owner says, or "external".
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pathoml.config import Study, resolved_yaml
from pathoml.errors import CohortError
from pathoml.store.files import sha256_of_file, write_text
from pathoml.store.provenance import record_step
from pathoml.store.scores import write_baselines, write_repeats, write_scores
from pathoml.store.tables import Table, parse_number, read_table
from pathoml.study.cohort import read_cohort
from pathoml.study.run_folder import RunFolder
from pathoml.study.splits import check_splits, make_splits, write_splits
from pathoml.training.baselines import clinical_folds
from pathoml.training.scoring import averaged, repeat_table, standardise
from pathoml.types import Cohort, Exchange, Floats, RiskScore, Split

USUAL_NAMES = (
    "log_risk",
    "score_sd",
    "score",
    "risk",
)  # in this order, where a table has several columns
SCORE_TYPES = ("oof", "loco", "locked", "insample", "external")


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
    table = read_table(source, study.config.cohort.missing)
    table.require(("patient_id",))
    name = _score_column(table, column)
    rows = _by_patient(table)
    cohort = read_cohort(study)
    scored = [p for p in cohort.patients if rows.get(p.patient_id, {}).get(name)]
    failures = {
        p.patient_id: f"no {name} in {source.name}"
        for p in cohort.patients
        if not rows.get(p.patient_id, {}).get(name)
    }
    failures |= {
        p: "not in the cohort" for p in rows if p not in {q.patient_id for q in cohort.patients}
    }
    if len(scored) < 2:
        raise CohortError(
            f"{source.name} has a {name} of {len(scored)} patients of the cohort. Compare"
            " patient_id in both tables."
        )
    cohort = _scored_cohort(cohort, [p.patient_id for p in scored])
    values = np.array([_value(rows[p.patient_id], name, source) for p in scored])
    splits = make_splits(cohort, study.config.splits)
    check_splits(splits, cohort)
    folder = study.run_folder
    run = RunFolder(folder)
    if run.models_index.exists():
        raise CohortError(
            f"{folder} holds models that were trained there. Import into a run of its own: add"
            " --set run=imported."
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_text(run.resolved, resolved_yaml(study.config))
    write_splits(run.splits, splits, study.config.splits.scheme)
    scores = _risk_scores(study, cohort, splits, values, [rows[p.patient_id] for p in scored])
    write_scores(folder, scores, endpoint=study.config.endpoint.name)
    for stale in (run.nested_scores, run.seed_scores):  # of a training that was interrupted here
        stale.unlink(missing_ok=True)
    clinical = clinical_folds(cohort, splits)
    write_baselines(
        run.baselines, cohort, ridge=None, clinical=averaged(clinical) if clinical else None
    )
    run.repeat_scores.unlink(missing_ok=True)
    if clinical:
        write_repeats(run.repeat_scores, cohort.patient_ids, repeat_table({"clinical": clinical}))
    record_imported(study, source, name)
    notes = (
        (
            f"column {name!r}: {len(scored)} patients, score_type {scores[0].score_type}; higher ="
            f" earlier event ({study.config.endpoint.name}) is assumed"
        ),
    )
    return Exchange(
        files=(run.scores, run.baselines, run.splits),
        failures=failures,
        notes=notes,
    )


def record_imported(study: Study, source: Path, column: str) -> None:
    """Write into provenance.json which file the scores came from."""
    from pathoml.types import Recipe

    record_step(
        study.run_folder,
        Recipe(
            step="import",
            inputs={"file": source.name, "sha256": sha256_of_file(source), "column": column},
        ),
    )


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


def _by_patient(table: Table) -> dict[str, dict[str, str]]:
    rows: dict[str, dict[str, str]] = {}
    for row in table.rows:
        if row["patient_id"] in rows:
            raise CohortError(
                f"{table.path.name} has two rows for patient {row['patient_id']!r}; it needs"
                " exactly one."
            )
        rows[row["patient_id"]] = dict(row)
    return rows


def _value(row: dict[str, str], name: str, source: Path) -> float:
    value = parse_number(row[name])
    if value is None:
        raise CohortError(
            f"{source.name}, patient {row['patient_id']}: {name} = {row[name]!r} is not a number."
        )
    return value


def _scored_cohort(cohort: Cohort, ids: Sequence[str]) -> Cohort:
    from dataclasses import replace

    chosen = set(ids)
    left_out = tuple(
        (p.patient_id, "no score") for p in cohort.patients if p.patient_id not in chosen
    )
    return replace(
        cohort,
        patients=tuple(p for p in cohort.patients if p.patient_id in chosen),
        slides=tuple(s for s in cohort.slides if s.patient_id in chosen),
        excluded=cohort.excluded + left_out,
    )


def _risk_scores(
    study: Study,
    cohort: Cohort,
    splits: Sequence[Split],
    values: Floats,
    rows: Sequence[dict[str, str]],
) -> list[RiskScore]:
    middle = values.mean()
    standard = standardise((values - middle)[None, :])
    median = float(np.median(values))
    fold = {
        p: ";".join(f.name for split in splits for f in split.folds if p in f.test)
        for p in cohort.patient_ids
    }
    cut = study.config.endpoint.data_cut
    scores = []
    for b, (patient, row) in enumerate(zip(cohort.patients, rows)):
        kind = row.get("score_type", "").lower() or "external"
        if kind not in SCORE_TYPES:
            raise CohortError(
                f"Patient {patient.patient_id} has score_type {kind!r}; it must be one of"
                f" {', '.join(SCORE_TYPES)}."
            )
        scores.append(
            RiskScore(
                patient_id=patient.patient_id,
                centre=patient.centre,
                log_risk=float(values[b] - middle),
                score_sd=float(standard[b]),
                score_type=kind,
                fold=row.get("fold")
                or {"oof": "", "loco": patient.centre}.get(kind, fold[patient.patient_id]),
                n_repeats=1,
                repeat_sd=float("nan"),
                n_slides=len(patient.slide_ids),
                n_tiles=0,
                model_sha256=row.get("model_sha256", ""),
                splits_sha256=sha256_of_file(RunFolder(study.run_folder).splits),
                data_cut=cut.isoformat() if cut else "",
                score_group=row.get("score_group", "").lower()
                or ("high" if values[b] > median else "low"),
            )
        )
    return scores
