"""What `evaluate` rests on, for a score that a test makes up: no run stands behind it."""

from __future__ import annotations

import numpy as np

from pathoml.config import Study
from pathoml.evaluation.evidence import Evidence
from pathoml.study.cohort import cohort_of, read_tables


def evidence_of(study: Study, score: np.ndarray, n_tiles: np.ndarray | None = None) -> Evidence:
    """Return the evidence of a (B,) score of a study's patients, in the order of patients.csv."""
    tables = read_tables(study)
    cohort = cohort_of(study, *tables)
    size = len(cohort.patients)
    return Evidence(
        study=study,
        everyone=cohort,
        cohort=cohort,
        score=np.asarray(score, dtype=np.float64),
        log_risk=np.asarray(score, dtype=np.float64),
        n_slides=np.ones(size),
        n_tiles=np.arange(size, dtype=np.float64) if n_tiles is None else n_tiles,
        groups=np.where(np.asarray(score) > np.median(score), "high", "low"),
        fold=[""] * size,
        score_type="oof",
        made_by=frozenset(),
        baselines={},
        patients=tables[0],
        slides=tables[1],
    )
