"""Scores that another program made, as those of a run: scores.csv, splits.json and the clinical
baseline, which is fitted here to the tables as they are now.

imported.csv keeps what was imported, so that the rest can be made anew when a table is corrected.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pathoml.config import Study, resolved_yaml
from pathoml.errors import CohortError
from pathoml.store.files import atomic_path, sha256_of_file, write_text
from pathoml.store.publishing import publishing
from pathoml.store.scores import write_baselines, write_repeats, write_scores
from pathoml.store.tables import (
    parse_number,
    write_table,
)
from pathoml.study.run_folder import RunFolder
from pathoml.study.splits import about_splits, check_splits, make_splits, write_splits
from pathoml.training.baselines import clinical_folds
from pathoml.training.imported_recipe import (
    IMPORT_OUTPUTS,
    KEPT,
    SCORE,
    VALUES,
    Rows,
    import_inputs,
    scores_read,
)
from pathoml.training.scoring import averaged, repeat_table, standardise
from pathoml.types import Cohort, Floats, Recipe, RiskScore, Split

SMALLEST_SHARE = 1e-12  # of the largest score: a smaller range is that of a constant
SCORE_TYPES = ("oof", "loco", "locked", "insample", "external")


def write_imported_run(
    study: Study,
    cohort: Cohort,
    rows: Rows,
    *,
    column: str,
    file: str,
    source: Mapping[str, str] | None = None,
    **notes: str,
) -> Sequence[RiskScore]:
    """Write the run of imported scores and return its rows.

    Args:
        rows: of the table of scores; patients of the cohort without one are left out.
        column: of the score.
        file: the table's, as it is to be recorded; with INSIDE before it where it lies in the
            study's folder.
        source: what is recorded of where the scores came from; None = of these rows.
        notes: what else to record.

    Raises:
        CohortError: a score is not a number, a score_type is not known, or the cohort cannot be
            divided into folds.
    """
    source = source or {"file": file, "column": column, VALUES: scores_read(rows, column)}
    recipe = Recipe(step="import", inputs=import_inputs(study, cohort, source))
    scored = [p.patient_id for p in cohort.patients if rows.get(p.patient_id, {}).get(column)]
    cohort = _scored_cohort(cohort, scored)
    values = np.array([_value(rows[p], column, file) for p in scored])
    splits = make_splits(cohort, study.config.splits)
    check_splits(splits, cohort)
    with publishing(study.run_folder, recipe, IMPORT_OUTPUTS) as out:
        run = RunFolder(out.folder)
        _keep(run.imported, rows, column)
        write_text(run.resolved, resolved_yaml(study.config))
        own = study.config.splits.model_copy(update={"file": None})
        write_splits(run.splits, splits, **about_splits(own))
        sha256 = sha256_of_file(run.splits)
        of_scored = [rows[p] for p in scored]
        scores = _risk_scores(study, cohort, splits, values, of_scored, splits_sha256=sha256)
        write_scores(run.path, scores, endpoint=study.config.endpoint.name)
        clinical = clinical_folds(cohort, splits)
        mine = averaged(clinical) if clinical else None
        write_baselines(run.baselines, cohort, ridge=None, clinical=mine)
        if clinical:
            table = repeat_table({"clinical": clinical})
            write_repeats(run.repeat_scores, cohort.patient_ids, table)
        out.note(**notes)
    return scores


def _keep(path: Path, rows: Rows, column: str) -> None:
    kept = [name for name in KEPT if any(name in row for row in rows.values())]
    with atomic_path(path) as temporary:
        write_table(
            temporary,
            ("patient_id", SCORE, *kept),
            [[p, row[column], *(row.get(name, "") for name in kept)] for p, row in rows.items()],
        )


def _value(row: Mapping[str, str], name: str, source: str) -> float:
    value = parse_number(row[name])
    if value is None or not math.isfinite(value):
        raise CohortError(
            f"{Path(source).name}, patient {row['patient_id']}: {name} = {row[name]!r} is not a"
            " finite number. Correct it, or leave the cell empty to leave the patient out."
        )
    return value


def _scored_cohort(cohort: Cohort, ids: Sequence[str]) -> Cohort:
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
    rows: Sequence[Mapping[str, str]],
    *,
    splits_sha256: str,
) -> list[RiskScore]:
    middle = values.mean()
    scale = float(np.abs(values).max()) * SMALLEST_SHARE  # below it, differences are rounding
    centred = values - middle if np.ptp(values) > scale else np.zeros_like(values)
    standard = standardise(centred[None, :] / (centred.std() or 1.0))  # whatever the unit
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
                log_risk=float(centred[b]),
                score_sd=float(standard[b]),
                score_type=kind,
                fold=row.get("fold")
                or {"oof": "", "loco": patient.centre}.get(kind, fold[patient.patient_id]),
                n_repeats=1,
                repeat_sd=float("nan"),
                n_slides=len(patient.slide_ids),
                n_tiles=0,
                model_sha256=row.get("model_sha256", ""),
                splits_sha256=splits_sha256,
                data_cut=cut.isoformat() if cut else "",
                score_group=row.get("score_group", "").lower()
                or ("high" if values[b] > median else "low"),
            )
        )
    return scores
