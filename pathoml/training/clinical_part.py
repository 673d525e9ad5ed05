"""What the covariates of study.yaml say of everyone, learned on training rows: the clinical model's
log-risk, and what is left of another log-risk without them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pathoml.errors import CohortError
from pathoml.survival.cox import fit_cox
from pathoml.survival.design import fit_design
from pathoml.survival.outcome import at_rows
from pathoml.types import Array, Bools, Cohort

CLINICAL_RIDGE = 1.0  # on standardised columns: keeps a rare category of a small fold finite
NO_COVARIATES = (
    "train.offset is clinical, but there is no clinical model: name its columns in"
    " cohort.covariates (a treatment that began under observation is none), or set train.offset:"
    " null."
)
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ClinicalPart:
    """The clinical model of some training rows, on the covariates of B patients.

    Its log-risk of the training rows is that of the model which they trained. Scores of other folds
    of these rows would be noisier and leave in the image score what the covariates know: with 96
    training patients it then kept as much of age and subtype and added less.
    """

    covariates: Array  # (B, p) p = 0 where no covariate varies in training
    log_risk: Array  # (B,) by a Cox model of them
    rows: Rows  # (n,) training rows, with their copies

    def beyond(self, log_risk: Array) -> Array:
        """Return (..., B) log-risks less what a ridge regression on the covariates, over the
        training rows, says of them.
        """
        own = self.covariates - self.covariates[self.rows].mean(axis=0)  # (B, p)
        inside = own[self.rows]  # (n, p)
        learned = log_risk[..., self.rows]
        learned = learned - learned.mean(axis=-1, keepdims=True)  # (..., n)
        size = inside.T @ inside + CLINICAL_RIDGE * np.eye(own.shape[1])
        slopes = np.linalg.solve(size, inside.T @ learned[..., None])[..., 0]  # (..., p)
        rest: Array = log_risk - slopes @ own.T
        return rest


def clinical_columns(cohort: Cohort) -> dict[str, list[object]]:
    """Return the covariates of study.yaml as columns, in the cohort's order, without a treatment
    that began under observation: from time zero it is not known yet.
    """
    names = [n for n in cohort.patients[0].covariates if n not in cohort.later_covariates]
    return {name: [p.covariates[name] for p in cohort.patients] for name in names}


def clinical_part(
    columns: Mapping[str, Sequence[object]],
    time_months: Array,
    event: Bools,
    *,
    rows: npt.ArrayLike,
    entry_months: Array | None = None,
) -> ClinicalPart:
    """Fit a ridge Cox model of the covariates to training rows.

    Args:
        columns: name to one value a patient, (B,).
        time_months: (B,) months to the event or the last visit.
        event: (B,) bool.
        rows: (n,) the training patients; twice who was drawn twice.
        entry_months: (B,) when observation began; None: at time zero for all.

    Raises:
        CohortError: no covariates, or no event among the training rows.
    """
    if not columns:
        raise CohortError(NO_COVARIATES)
    mine = np.asarray(rows, dtype=np.int64)
    design = fit_design({name: [values[r] for r in mine] for name, values in columns.items()})
    covariates = design.transform(columns)  # (B, p)
    log_risk = np.zeros(len(covariates))
    if covariates.shape[1]:
        model = fit_cox(
            covariates[mine],
            time_months[mine],
            event[mine],
            ridge=CLINICAL_RIDGE,
            entry_months=at_rows(entry_months, mine),
            names=design.names,
        )
        log_risk = covariates @ model.coefficients
    return ClinicalPart(covariates=covariates, log_risk=log_risk, rows=mine)
