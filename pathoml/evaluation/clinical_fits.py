"""The Cox models of the clinical covariates without and with the score, fitted to all patients:
what the multivariable table shows, and what the likelihood ratio of the added value compares.

A number enters in SD, with the median where it is empty; of a category, empty is a level. What the
data say nothing of is left out (survival/rare_levels.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pathoml.errors import CohortError
from pathoml.evaluation.evidence import Evidence
from pathoml.survival.cox import CoxFit, fit_cox
from pathoml.survival.design import Design, fit_design
from pathoml.survival.rare_levels import Estimable, estimable_columns
from pathoml.types import Array

SCORE = "the image score"


@dataclass(frozen=True, kw_only=True)
class ClinicalFits:
    """Both models, on the same patients."""

    design: Design
    x: Array  # (B, p) all columns of the design
    found: Estimable  # which of them stayed, and why the others did not
    kept: tuple[str, ...]  # names of the columns that stayed, in both models' order
    reduced: CoxFit
    full: CoxFit  # the score is its last column


def clinical_fits(evidence: Evidence) -> ClinicalFits:
    """Return the models without and with the score.

    Raises:
        CohortError: no covariates, or a model cannot be fitted.
    """
    cohort, score, columns = evidence.cohort, evidence.score, evidence.clinical
    time, event, entry = cohort.time_months, cohort.event, cohort.entry_months
    design = fit_design(columns) if columns else Design(columns=())
    x = design.transform(columns) if columns else np.zeros((len(score), 0))
    if not x.shape[1]:
        raise CohortError("no clinical covariates in study.yaml (cohort.covariates)")
    found = estimable_columns(x, time, event, names=design.names, entry_months=entry)
    clinical = x[:, found.columns]
    kept = tuple(name for name, stays in zip(design.names, found.columns) if stays)
    shared: dict[str, Any] = {"stratum": found.stratum, "entry_months": entry}
    return ClinicalFits(
        design=design,
        x=x,
        found=found,
        kept=kept,
        reduced=fit_cox(clinical, time, event, names=list(kept), **shared),
        full=fit_cox(
            np.column_stack([clinical, score]), time, event, names=[*kept, SCORE], **shared
        ),
    )
