"""Sections of metrics.json that rest on Cox models: is the effect proportional and straight, does it differ between subgroups, does it
change with the treatment, what do competing events do; and how many hypotheses that was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pathoml.errors import CohortError
from pathoml.evaluation.analysis_plan import AnalysisPlan
from pathoml.store.hypotheses import record_hypotheses
from pathoml.study.cohort import treated
from pathoml.survival.brier import MIN_AT_RISK
from pathoml.survival.competing_risks import cumulative_incidence, incidence_at, incidence_interval
from pathoml.survival.cox import fit_cox, hazard_ratio, wald_test
from pathoml.survival.design import CategoryColumn, Design, fit_design, parameters_with_score
from pathoml.survival.interaction import CURVE_QUANTILES, TreatmentInteraction, treatment_interaction, verdict
from pathoml.survival.multiplicity import benjamini_hochberg
from pathoml.survival.not_estimable import json_numbers, not_estimable, or_not_estimable
from pathoml.survival.power import affordable_parameters, c_standard_error, detectable_hazard_ratio, detectable_interaction, over_budget
from pathoml.survival.proportional_hazards import ProportionalHazards, proportional_hazards_test
from pathoml.survival.restricted_mean import restricted_mean, restricted_mean_difference
from pathoml.survival.spline import spline_form
from pathoml.survival.subgroups import membership, parse_expression, subgroup_effect
from pathoml.types import Array, Cohort, Columns, Json

FAMILY = "interactions"
NORMAL_QUANTILE = 1.959963984540054  # half-width of a 95 % interval in standard errors


def form_sections(cohort: Cohort, score: Array, clinical: Columns) -> Json:
    """Return proportional_hazards, spline and the centre-stratified hazard ratio: what stands beside every Cox model."""
    time, event = cohort.time_months, cohort.event

    def stratified() -> Json:
        fit = fit_cox(score[:, None], time, event, stratum=cohort.centre, names=["score_sd"])
        return {**hazard_ratio(fit, 0).to_json(), "wald_p": wald_test(fit, 0)}

    def spline() -> Json:
        form = spline_form(score, time, event)
        curve = {"score": form.score, "hazard_ratio": form.hazard_ratio, "low": form.low, "high": form.high}
        return {
            **_test(form.test),
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


def _test(test: Any) -> Json:
    return {"chi2": test.chi2, "df": test.df, "p_value": test.p}


def _proportional(covariates: Array, cohort: Cohort) -> Json:
    fit = fit_cox(covariates, cohort.time_months, cohort.event)
    return _test(proportional_hazards_test(fit, covariates, cohort.time_months, cohort.event)[1])


def _proportional_by_term(cohort: Cohort, score: Array, clinical: Columns) -> list[Json]:
    """Return a row for each covariate (the levels of a category together), the score, and all of them."""
    if not clinical:
        return []
    design = fit_design(clinical)
    covariates = np.column_stack([design.transform(clinical), score])
    names, terms = _terms(design)
    try:
        fit = fit_cox(covariates, cohort.time_months, cohort.event, names=[*design.names, "score_sd"])
        each, together = proportional_hazards_test(
            fit, covariates, cohort.time_months, cohort.event, terms=[*terms, [covariates.shape[1] - 1]]
        )
    except CohortError as error:
        return [{"covariate": "all", "chi2": None, "df": None, "p_value": None, "note": str(error)}]
    tests: list[tuple[str, ProportionalHazards]] = [*zip([*names, "score_sd"], each), ("all", together)]
    return [{"covariate": name, **_test(test)} for name, test in tests]


def _terms(design: Design) -> tuple[list[str], list[list[int]]]:
    names, terms, start = [], [], 0
    for column in design.columns:
        width = len(column.levels) if isinstance(column, CategoryColumn) else 1
        names.append(column.name)
        terms.append(list(range(start, start + width)))
        start += width
    return names, terms


def interaction_sections(
    cohort: Cohort,
    score: Array,
    clinical: Columns,
    treatment: str | None,
    table: Columns,
    subgroups: Sequence[str],
    plan: AnalysisPlan,
    runs_folder: Path,
    run: str,
) -> Json:
    """Return subgroups, treatment_interaction and multiplicity; every hypothesis goes into the ledger.

    Args:
        score: (B,) score_sd.
        clinical: the covariates without the treatment.
        treatment: column of the table, as cohort.treated reads it; None: there is none.
        table: all columns of patients.csv in the cohort's order.
        subgroups: expressions.
        plan: what was planned beforehand.
        runs_folder: where the ledger is.
        run: name of the run.
    """
    for expression in subgroups:  # a mistake in one is the user's to correct, not a missing number
        parse_expression(expression)
        membership(expression, table)
    arms = treated(table[treatment], treatment) if treatment else None
    rows = [_subgroup(expression, cohort, score, arms, membership(expression, table), plan) for expression in subgroups]
    interaction = _treatment_section(cohort, score, clinical, treatment, arms, plan)
    tests = {f"score x ({row['expression']})": row["p_value"] for row in rows}
    if treatment:
        tests |= {f"{treatment} x ({row['expression']})": row["treatment_p_value"] for row in rows}
        tests[f"score x {treatment}"] = interaction.get("p_value")
    size = record_hypotheses(runs_folder, FAMILY, tests, run) if tests else 0
    found = {name: p for name, p in tests.items() if p is not None}
    adjusted = dict(zip(found, benjamini_hochberg(list(found.values()), size).tolist())) if found else {}
    for row in rows:
        row["q_value"] = adjusted.get(f"score x ({row['expression']})")
        row["treatment_q_value"] = adjusted.get(f"{treatment} x ({row['expression']})")
    listed = [{"hypothesis": name, "p_value": p, "q_value": adjusted.get(name)} for name, p in tests.items()]
    return {
        "subgroups": rows,
        "treatment_interaction": interaction,
        "multiplicity": {"family": FAMILY, "size": size, "tests": listed, "analysis_plan_sha256": plan.sha256 or None},
    }


def _subgroup(expression: str, cohort: Cohort, score: Array, arms: Array | None, member: Array, plan: AnalysisPlan) -> Json:
    time, event = cohort.time_months, cohort.event
    none = {"score": None, "complement": None, "chi2": None, "p_value": None}

    def part(variable: Array, rows: npt.NDArray[np.bool_]) -> Json:
        try:
            effect = subgroup_effect(variable[rows], member[rows], time[rows], event[rows])
        except CohortError as error:
            return {**none, "score": not_estimable(str(error)), "complement": not_estimable(str(error))}
        test = {"chi2": effect.test.chi2, "p_value": effect.test.p}
        return {"score": effect.inside.to_json(), "complement": effect.outside.to_json(), **test}

    row = {
        "expression": expression,
        "n": int((member == 1).sum()),
        "events": int(event[member == 1].sum()),
        "unknown": int(np.isnan(member).sum()),
        "planned": expression in plan.subgroups,
        **part(score, np.ones(len(score), dtype=bool)),
        "treatment": None,
        "treatment_complement": None,
        "treatment_chi2": None,
        "treatment_p_value": None,
    }
    if arms is not None:
        of_treatment = part(arms, ~np.isnan(arms))
        row |= {"treatment": of_treatment["score"], "treatment_complement": of_treatment["complement"]}
        row |= {"treatment_chi2": of_treatment["chi2"], "treatment_p_value": of_treatment["p_value"]}
    return row


def _treatment_section(
    cohort: Cohort, score: Array, clinical: Columns, treatment: str | None, arms: Array | None, plan: AnalysisPlan
) -> Json:
    if arms is None:
        return {"treatment": None, "interaction": not_estimable("no treatment column in study.yaml (cohort.treatment)"), "verdict": None}
    rows = ~np.isnan(arms)
    kept = {name: [v for v, known in zip(values, rows) if known] for name, values in clinical.items()}
    time, event = cohort.time_months[rows], cohort.event[rows]
    counts = {"treatment": treatment, "treated": int((arms == 1).sum()), "untreated": int((arms == 0).sum())}
    planned = plan.treatment_interaction
    try:
        design = fit_design(kept) if kept else Design(columns=())
        x = design.transform(kept) if kept else np.empty((int(rows.sum()), 0))
        result = treatment_interaction(score[rows], arms[rows], x, time, event)
        effect = hazard_ratio(fit_cox(np.column_stack([x, score[rows]]), time, event), x.shape[1])
    except CohortError as error:
        return {**counts, "interaction": not_estimable(str(error)), "exploratory": not planned, "verdict": None}
    return {
        **counts,
        **_interaction_json(result, [*design.names, "score_sd"]),
        "exploratory": not planned,
        "verdict": verdict(result, effect, planned=planned),
    }


def _interaction_json(result: TreatmentInteraction, names: Sequence[str]) -> Json:
    curve = {"score": result.score, "hazard_ratio": result.hazard_ratio, "low": result.low, "high": result.high}
    return {
        "interaction": result.interaction.to_json(),
        **_test(result.test),
        "overlap_weighted": result.overlap_weighted.to_json(),
        "balance": [
            {"covariate": name, "before": float(before), "after": float(after)}
            for name, before, after in zip(names, result.before, result.after)
        ],
        "effect_curve": {"quantile": list(CURVE_QUANTILES), **{name: json_numbers(values) for name, values in curve.items()}},
    }


def competing_section(cohort: Cohort, score: Array, horizons_months: Sequence[float]) -> Json:
    """Return cumulative incidences and cause-specific hazard ratios, or a note where no event is a competing one."""
    time, code = cohort.time_months, np.array([p.event for p in cohort.patients])
    if not (code == 2).any():
        return {"note": "no competing event (code 2) in the event column"}
    section: Json = {"cumulative_incidence": {}, "at": {f"{h:g}": {} for h in horizons_months}, "cause_specific": {}}
    for name, cause in (("event", 1), ("competing", 2)):
        section["cause_specific"][name] = _cause_specific(cohort, score, code == cause)
        try:
            curve = cumulative_incidence(time, code, cause)
        except CohortError as error:
            section["cumulative_incidence"][name] = not_estimable(str(error))
            continue
        low, high = incidence_interval(curve.incidence, curve.standard_error)
        drawn = {"times": curve.times, "incidence": curve.incidence, "low": low, "high": high}
        section["cumulative_incidence"][name] = {key: json_numbers(values) for key, values in drawn.items()}
        for horizon in horizons_months:
            followed = (time > horizon).sum() >= MIN_AT_RISK
            section["at"][f"{horizon:g}"][name] = (
                incidence_at(curve, horizon).to_json()
                if followed
                else not_estimable(f"fewer than {MIN_AT_RISK} followed beyond {horizon:g} months")
            )
    return section


def _cause_specific(cohort: Cohort, score: Array, of_cause: npt.NDArray[np.bool_]) -> Json:
    return or_not_estimable(lambda: hazard_ratio(fit_cox(score[:, None], cohort.time_months, of_cause), 0))


def restricted_mean_section(cohort: Cohort, groups: Sequence[str], horizons_months: Sequence[float]) -> Json:
    """Return event-free months of the high- and the low-risk group up to the last horizon that both are followed to."""
    time, event, label = cohort.time_months, cohort.event, np.asarray(groups)
    both = [label == "high", label == "low"]
    reached = [h for h in horizons_months if all((time[rows] > h).sum() >= MIN_AT_RISK for rows in both)]
    if not reached:
        why = f"no horizon beyond which {MIN_AT_RISK} patients of both score groups are followed"
        return {"until_months": None, "high": None, "low": None, "difference": not_estimable(why), "p_value": None}
    until = max(reached)

    def compare() -> Json:
        high, low = (restricted_mean(time[rows], event[rows], until) for rows in both)
        difference, p = restricted_mean_difference(high, low)
        return {
            "high": high.estimate().to_json(),
            "low": low.estimate().to_json(),
            "difference": difference.to_json(),
            "p_value": p if p == p else None,
        }

    return {"until_months": until, **or_not_estimable(compare)}


def planning_sections(cohort: Cohort, clinical: Columns, treated_share: float | None) -> Json:
    """Return what n and events can show (power), and the table of missing values."""
    n, events = len(cohort.patients), int(cohort.event.sum())
    share = 0.5 if treated_share is None else treated_share
    parameters = parameters_with_score(clinical)
    power: Json = {"events": events, "treated_share": share, "affordable_parameters": affordable_parameters(n, events)}
    power |= {"parameters": parameters, "over_budget": over_budget(n, events, parameters)}
    numbers: dict[str, Callable[[], float]] = {
        "detectable_hazard_ratio_per_sd": lambda: detectable_hazard_ratio(events),
        "detectable_interaction": lambda: detectable_interaction(events, treated_share=share),
        "c_half_width": lambda: NORMAL_QUANTILE * c_standard_error(cohort.time_months, cohort.event),
    }
    for name, compute in numbers.items():
        try:
            power[name] = compute()
        except CohortError as error:
            power[name], power["note"] = None, str(error)
    missing = {name: sum(value is None or value == "" or value != value for value in values) for name, values in clinical.items()}
    return {"power": power, "missing": [{"covariate": name, "missing": count, "share": count / n} for name, count in missing.items()]}
