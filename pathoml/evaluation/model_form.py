"""Sections proportional_hazards and spline of metrics.json: whether the form of the model holds."""

from __future__ import annotations

from typing import Any

import numpy as np

from pathoml.errors import CohortError
from pathoml.evaluation.cross_fitted import tested, widened
from pathoml.evaluation.evidence import Evidence
from pathoml.survival.cox import fit_cox, hazard_ratio, wald_test
from pathoml.survival.design import CategoryColumn, Design, fit_design
from pathoml.survival.not_estimable import json_numbers, or_not_estimable
from pathoml.survival.proportional_hazards import ProportionalHazards, proportional_hazards_test
from pathoml.survival.spline import spline_form
from pathoml.types import Array, Cohort, Columns, Json


def form_sections(evidence: Evidence) -> Json:
    """Return proportional_hazards, spline and the centre-stratified hazard ratio: what stands
    beside every Cox model.
    """
    cohort, score, clinical = evidence.cohort, evidence.score, evidence.clinical
    time, event = cohort.time_months, cohort.event

    def stratified() -> Json:
        fit = fit_cox(score[:, None], time, event, stratum=cohort.centre, names=["score_sd"])
        wide = widened(fit, evidence)
        p_value = tested(evidence, lambda: wald_test(wide, 0))
        return {**hazard_ratio(wide, 0).to_json(), "wald_p": p_value}

    def spline() -> Json:
        form = spline_form(score, time, event)
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
    fit = fit_cox(covariates, cohort.time_months, cohort.event)
    return test_json(
        proportional_hazards_test(fit, covariates, cohort.time_months, event=cohort.event)[1]
    )


def _proportional_by_term(cohort: Cohort, score: Array, clinical: Columns) -> list[Json]:
    """Return a row for each covariate (the levels of a category together), the score, and all of
    them.
    """
    if not clinical:
        return []
    design = fit_design(clinical)
    covariates = np.column_stack([design.transform(clinical), score])
    names, terms = _terms(design)
    try:
        fit = fit_cox(
            covariates, cohort.time_months, cohort.event, names=[*design.names, "score_sd"]
        )
        each, together = proportional_hazards_test(
            fit,
            covariates,
            cohort.time_months,
            event=cohort.event,
            terms=[*terms, [covariates.shape[1] - 1]],
        )
    except CohortError as error:
        return [{"covariate": "all", "chi2": None, "df": None, "p_value": None, "note": str(error)}]
    tests: list[tuple[str, ProportionalHazards]] = [
        *zip([*names, "score_sd"], each),
        ("all", together),
    ]
    return [{"covariate": name, **test_json(test)} for name, test in tests]


def _terms(design: Design) -> tuple[list[str], list[list[int]]]:
    names, terms, start = [], [], 0
    for column in design.columns:
        width = len(column.levels) if isinstance(column, CategoryColumn) else 1
        names.append(column.name)
        terms.append(list(range(start, start + width)))
        start += width
    return names, terms
