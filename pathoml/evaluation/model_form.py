"""Sections proportional_hazards and spline of metrics.json: whether the form of the model holds."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pathoml.errors import CohortError
from pathoml.evaluation.cross_fitted import tested, widened
from pathoml.evaluation.evidence import Evidence
from pathoml.survival.cox import fit_cox, hazard_ratio, wald_test
from pathoml.survival.design import CategoryColumn, Design, fit_design
from pathoml.survival.not_estimable import json_numbers, or_not_estimable
from pathoml.survival.proportional_hazards import ProportionalHazards, proportional_hazards_test
from pathoml.survival.rare_levels import estimable_columns
from pathoml.survival.spline import spline_form
from pathoml.types import Array, Cohort, Columns, Json


def form_sections(evidence: Evidence) -> Json:
    """Return proportional_hazards, spline and the centre-stratified hazard ratio: what stands
    beside every Cox model.
    """
    cohort, score, clinical = evidence.cohort, evidence.score, evidence.clinical
    time, event, entry = cohort.time_months, cohort.event, cohort.entry_months

    def stratified() -> Json:
        fit = fit_cox(
            score[:, None],
            time,
            event,
            stratum=cohort.centre,
            entry_months=entry,
            names=["score_sd"],
        )
        wide = widened(fit, evidence)
        p_value = tested(evidence, lambda: wald_test(wide, 0))
        return {**hazard_ratio(wide, 0).to_json(), "wald_p": p_value}

    def spline() -> Json:
        form = spline_form(score, time, event, entry_months=entry)
        curve = {
            "score": form.score,
            "hazard_ratio": form.hazard_ratio,
            "low": form.low,
            "high": form.high,
        }
        return {
            **test_json(form.test),
            "knots": json_numbers(form.knots),
            "curve": {name: json_numbers(values) for name, values in curve.items()},
        }

    return {
        "hazard_ratio_per_sd_centre_stratified": or_not_estimable(stratified),
        "proportional_hazards": {
            "score": or_not_estimable(lambda: _proportional(score[:, None], cohort)),
            "with_clinical": _proportional_by_term(cohort, score, clinical),
        },
        "spline": or_not_estimable(spline),
    }


def test_json(test: Any) -> Json:
    return {"chi2": test.chi2, "df": test.df, "p_value": test.p}


def _proportional(covariates: Array, cohort: Cohort) -> Json:
    time, entry = cohort.time_months, cohort.entry_months
    fit = fit_cox(covariates, time, cohort.event, entry_months=entry, names=["score_sd"])
    return test_json(
        proportional_hazards_test(fit, covariates, time, event=cohort.event, entry_months=entry)[1]
    )


def _proportional_by_term(cohort: Cohort, score: Array, clinical: Columns) -> list[Json]:
    """Return a row for each covariate (the levels of a category together), the score, and all of
    them. A level without a coefficient is left out, as added_value.left_out
    says.
    """
    if not clinical:
        return []
    design = fit_design(clinical)
    x, outcome = design.transform(clinical), (cohort.time_months, cohort.event)
    entry = cohort.entry_months
    try:
        found = estimable_columns(x, *outcome, names=design.names, entry_months=entry)
        covariates = np.column_stack([x[:, found.columns], score])
        names, terms = _terms(design, found.columns)
        shared: dict[str, Any] = {"stratum": found.stratum, "entry_months": entry}
        labels = [name for name, stays in zip(design.names, found.columns) if stays]
        fit = fit_cox(covariates, *outcome, names=[*labels, "score_sd"], **shared)
        each, together = proportional_hazards_test(
            fit,
            covariates,
            outcome[0],
            event=outcome[1],
            terms=[*terms, [covariates.shape[1] - 1]],
            **shared,
        )
    except CohortError as error:
        return [{"covariate": "all", "chi2": None, "df": None, "p_value": None, "note": str(error)}]
    tests: list[tuple[str, ProportionalHazards]] = [
        *zip([*names, "score_sd"], each),
        ("all", together),
    ]
    return [{"covariate": name, **test_json(test)} for name, test in tests]


def _terms(design: Design, kept: npt.NDArray[np.bool_]) -> tuple[list[str], list[list[int]]]:
    """Return the columns of each covariate that stay, counted among those that do."""
    names, terms, start = [], [], 0
    place = np.cumsum(kept) - 1
    for column in design.columns:
        width = len(column.levels) if isinstance(column, CategoryColumn) else 1
        stays = [int(place[k]) for k in range(start, start + width) if kept[k]]
        if stays:
            names.append(column.name)
            terms.append(stays)
        start += width
    return names, terms
