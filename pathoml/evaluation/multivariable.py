"""The multivariable table: the hazard ratio of every clinical variable, without and with the score
beside it, and that of the score.

The errors of the score are widened, because the cohort's other patients trained it; those of the
covariates are as they are.

Source: McShane et al., J Natl Cancer Inst 97 (2005) 1180-1184 (REMARK, items 16 and 17).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from pathoml.evaluation.clinical_fits import ClinicalFits, clinical_fits
from pathoml.evaluation.cross_fitted import tested, widened
from pathoml.evaluation.evidence import Evidence
from pathoml.survival.cox import CoxFit, hazard_ratio, wald_test
from pathoml.survival.design import CategoryColumn, NumericColumn
from pathoml.survival.not_estimable import not_estimable, or_not_estimable
from pathoml.types import Json

NOTE = (
    "Cox models of the same patients, each variable adjusted for the others. An empty number became"
    " the median, an empty category the level 'missing'; missing_covariates holds complete cases"
    " and multiple imputation."
)


def multivariable_section(evidence: Evidence) -> Json:
    """Return a row for each number and level of the clinical model, and the score's.

    Raises:
        CohortError: no covariates, or a model cannot be fitted.
    """
    fits = clinical_fits(evidence)
    reason = dict(fits.found.left_out)
    rows = [
        {**row, **_ratios(fits, name, reason.get(name), scale=_scale(evidence, fits, name))}
        for name, row in _described(evidence, fits)
    ]
    wide = widened(fits.full, evidence)
    return {
        "n": fits.full.n,
        "events": fits.full.events,
        "rows": rows,
        "references": {
            column.name: column.reference
            for column in fits.design.columns
            if isinstance(column, CategoryColumn)
        }
        | {
            column.name: f"{pair[0]:g}"
            for column in fits.design.columns
            if isinstance(column, NumericColumn)
            and (pair := _two_values(evidence, column.name)) is not None
        },
        "score": or_not_estimable(
            lambda: {
                **hazard_ratio(wide, len(fits.kept)).to_json(),
                "wald_p": tested(evidence, lambda: wald_test(wide, len(fits.kept))),
            }
        ),
        "note": NOTE,
    }


def _described(evidence: Evidence, fits: ClinicalFits) -> list[tuple[str, Json]]:
    """Return (name of the column of the matrix, what it is) for each of them."""
    event, rows = evidence.cohort.event, list[tuple[str, Json]]()
    everyone = {"n": len(event), "events": int(event.sum())}
    for column in fits.design.columns:
        if isinstance(column, NumericColumn):
            number = {"variable": column.name, "level": None, "per": column.sd}
            pair = _two_values(evidence, column.name)
            if pair is None:
                rows.append((column.name, {**number, **everyone}))
                continue
            mine = np.array([cell == pair[1] for cell in evidence.clinical[column.name]])
            size = {"n": int(mine.sum()), "events": int((mine & event).sum())}
            rows.append((column.name, {**number, "level": f"{pair[1]:g}", "per": None, **size}))
            continue
        for level in column.levels:
            name = f"{column.name}={level}"
            mine = fits.x[:, fits.design.names.index(name)] == 1
            about = {"variable": column.name, "level": level, "per": None}
            size = {"n": int(mine.sum()), "events": int((mine & event).sum())}
            rows.append((name, {**about, **size}))
    return rows


def _two_values(evidence: Evidence, name: str) -> tuple[float, float] | None:
    """Return both values of a number that has no more: one is held against the other, not an SD."""
    found = {float(v) for v in evidence.clinical[name] if isinstance(v, int | float) and v == v}
    return (min(found), max(found)) if len(found) == 2 else None


def _scale(evidence: Evidence, fits: ClinicalFits, name: str) -> float:
    """Return in how many units of the matrix the ratio of a column is given."""
    column = next((c for c in fits.design.columns if c.name == name), None)
    if not isinstance(column, NumericColumn):
        return 1.0
    pair = _two_values(evidence, name)
    return (pair[1] - pair[0]) / column.sd if pair else 1.0


def _ratios(fits: ClinicalFits, name: str, reason: str | None, *, scale: float) -> Json:
    if reason is not None:
        return {model: not_estimable(reason) for model in ("without_score", "with_score")}
    column = fits.kept.index(name)

    def ratio(fit: CoxFit) -> Json:
        scaled = replace(
            fit, coefficients=fit.coefficients * scale, covariance=fit.covariance * scale**2
        )
        return {**hazard_ratio(scaled, column).to_json(), "wald_p": wald_test(fit, column)}

    return {
        "without_score": or_not_estimable(partial(ratio, fits.reduced)),
        "with_score": or_not_estimable(partial(ratio, fits.full)),
    }
