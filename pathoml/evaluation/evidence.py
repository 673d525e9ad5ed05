"""Everything that `evaluate` reads, read once: cohort, scores, baselines, clinical columns, slide
means, the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pathoml.config import Study
from pathoml.errors import StoreError
from pathoml.store.embeddings import read_embeddings
from pathoml.store.packs import is_stored
from pathoml.store.tables import parse_number, read_study_table, read_table
from pathoml.study.layout import embeddings_folder
from pathoml.types import Array, Cohort, Json, Labels

SUBTYPE_COLUMNS = ("subtype", "histology", "diagnosis")


def strata_of(study: Study, cohort: Cohort) -> dict[str, Labels]:
    """Return subtype, specimen and organ of each patient, where they are known and vary."""
    slides: dict[str, dict[str, set[str]]] = {name: {} for name in ("specimen", "organ")}
    for slide in cohort.slides:
        slides["specimen"].setdefault(slide.patient_id, set()).add(slide.specimen)
        slides["organ"].setdefault(slide.patient_id, set()).add(slide.extras.get("organ", ""))
    found = {
        name: np.array(["+".join(sorted(of.get(p, {""}))) for p in cohort.patient_ids], dtype=str)
        for name, of in slides.items()
    }
    rows = {row["patient_id"]: row for row in read_study_table(study, "patients").rows}
    for column in SUBTYPE_COLUMNS:
        if column in next(iter(rows.values())):
            found["subtype"] = np.array([rows[p][column] for p in cohort.patient_ids], dtype=str)
            break
    return {name: labels for name, labels in found.items() if len(np.unique(labels)) > 1}


def slide_means(study: Study, cohort: Cohort) -> tuple[Array | None, Array | None]:
    """Return (B, D) mean embeddings and (B,) the resolution of the slides' pixels, or None if an
    embedding is missing.
    """
    sums: dict[str, list[tuple[Array, int, float]]] = {}
    for slide in cohort.slides:
        path = embeddings_folder(study) / f"{slide.slide_id}.h5"
        if is_stored(path):
            embedded = read_embeddings(path)
            total = embedded.features.sum(axis=0, dtype=np.float64)
            sums.setdefault(slide.patient_id, []).append(
                (total, len(embedded.features), embedded.grid.level0_mpp)
            )
    if any(p not in sums for p in cohort.patient_ids):
        return None, None
    means = np.stack(
        [sum(t for t, _, _ in sums[p]) / sum(n for _, n, _ in sums[p]) for p in cohort.patient_ids]
    )
    return means, np.array([np.mean([m for _, _, m in sums[p]]) for p in cohort.patient_ids])


def read_score_table(
    study: Study, cohort: Cohort
) -> tuple[Cohort, dict[str, Array], list[str], Json]:
    """Read scores.csv and baselines.csv beside the cohort.

    Returns:
        The cohort in the order of scores.csv, the columns score_sd, log_risk, ridge_cox and
        clinical (if there), score_group, and the counts of slides and tiles.

    Raises:
        StoreError: the tables are missing or name other patients than the cohort.
    """
    from dataclasses import replace

    tables: dict[str, dict[str, Mapping[str, str]]] = {}
    for name in ("scores.csv", "baselines.csv"):
        if not (study.run_folder / name).exists():
            if (
                name == "baselines.csv"
                and tables["scores.csv"]
                and _all_locked(tables["scores.csv"])
            ):
                tables[name] = {
                    p: {} for p in tables["scores.csv"]
                }  # `predict` trains no baseline beside a locked score
                continue
            raise StoreError(f"{study.run_folder / name} is missing. Run `pathoml train` first.")
        tables[name] = {row["patient_id"]: row for row in read_table(study.run_folder / name).rows}
    known = {p.patient_id: p for p in cohort.patients}
    scores, baselines = tables["scores.csv"], tables["baselines.csv"]
    if set(scores) - set(known) or set(baselines) != set(scores):
        raise StoreError(
            f"{study.run_folder}/scores.csv names other patients than patients.csv. Run `pathoml"
            " train` again."
        )
    ids = [p for p in known if p in scores]
    left_out = tuple((p, "no slide could be embedded") for p in known if p not in scores)
    cohort = replace(
        cohort, patients=tuple(known[p] for p in ids), excluded=cohort.excluded + left_out
    )
    columns = {
        name: _numbers(scores[p][name] for p in ids)
        for name in ("score_sd", "log_risk", "n_tiles", "n_slides")
    }
    for name in ("ridge_cox", "clinical"):
        if all(baselines[p].get(name) for p in ids):
            columns[name] = _numbers(baselines[p][name] for p in ids)
    counts = {"slides": int(columns["n_slides"].sum()), "tiles": int(columns["n_tiles"].sum())}
    described = {
        "score_type": scores[ids[0]]["score_type"],
        "fold": [scores[p].get("fold", "").split(";")[0] for p in ids],
    }
    return cohort, columns, [scores[p]["score_group"] for p in ids], {**counts, **described}


def _all_locked(scores: Mapping[str, Mapping[str, str]]) -> bool:
    return all(row["score_type"] == "locked" for row in scores.values())


def _numbers(cells: Any) -> Array:
    return np.array([parse_number(c) for c in cells], dtype=np.float64)


def parsed(cell: str) -> float | str | None:
    """Return a cell as a number if it is one, None if it is empty.

    >>> parsed("61,5"), parsed("LMS"), parsed("")
    (61.5, 'LMS', None)
    """
    number = parse_number(cell)
    return number if number is not None else cell or None
