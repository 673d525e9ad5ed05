"""Sections of metrics.json that rest on Cox models: is the effect proportional and straight, does
it differ between subgroups, does it change with the treatment, what do competing events do; and how
many hypotheses that was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt

from pathoml.errors import CohortError
from pathoml.evaluation.analysis_plan import AnalysisPlan
from pathoml.evaluation.evidence import Evidence
from pathoml.evaluation.model_form import test_json
from pathoml.survival.cox import fit_cox, hazard_ratio
from pathoml.survival.design import Design, fit_design
from pathoml.survival.interaction import (
    CURVE_QUANTILES,
    TreatmentInteraction,
    treatment_interaction,
    verdict,
)
from pathoml.survival.multiplicity import benjamini_hochberg
from pathoml.survival.not_estimable import json_numbers, not_estimable
from pathoml.survival.subgroups import membership, parse_expression, subgroup_effect
from pathoml.types import Array, Cohort, Columns, Json

FAMILY = "interactions"
FamilySize = Callable[[Iterable[str]], int]


def interaction_sections(evidence: Evidence, family_size: FamilySize) -> Json:
    """Return subgroups, treatment_interaction and multiplicity.

    Args:
        family_size: takes the hypotheses that are tested and returns how many the study ever
            tested, these among them.
    """
    cohort, score, table = evidence.cohort, evidence.score, evidence.table
    subgroups, plan = evidence.config.evaluate.subgroups, evidence.plan
    treatment, arms = evidence.config.cohort.treatment, evidence.arms
    reasons = {name: values for name, values in evidence.clinical.items() if name != treatment}
    for expression in subgroups:  # a mistake in one is the user's to correct, not a missing number
        parse_expression(expression)
        membership(expression, table)
    rows = [
        _subgroup(expression, cohort, score, arms, membership(expression, table), plan)
        for expression in subgroups
    ]
    interaction = _treatment_section(cohort, score, reasons, treatment, arms, plan)
    tests = {f"score x ({row['expression']})": row["p_value"] for row in rows}
    if treatment:
        tests |= {f"{treatment} x ({row['expression']})": row["treatment_p_value"] for row in rows}
        tests[f"score x {treatment}"] = interaction.get("p_value")
    size = family_size(tests) if tests else 0
    found = {name: p for name, p in tests.items() if p is not None}
    adjusted = (
        dict(zip(found, benjamini_hochberg(list(found.values()), size).tolist())) if found else {}
    )
    for row in rows:
        row["q_value"] = adjusted.get(f"score x ({row['expression']})")
        row["treatment_q_value"] = adjusted.get(f"{treatment} x ({row['expression']})")
    listed = [
        {"hypothesis": name, "p_value": p, "q_value": adjusted.get(name)}
        for name, p in tests.items()
    ]
    return {
        "subgroups": rows,
        "treatment_interaction": interaction,
        "multiplicity": {
            "family": FAMILY,
            "size": size,
            "tests": listed,
            "analysis_plan_sha256": plan.sha256 or None,
        },
    }


def _subgroup(
    expression: str,
    cohort: Cohort,
    score: Array,
    arms: Array | None,
    member: Array,
    plan: AnalysisPlan,
) -> Json:
    time, event = cohort.time_months, cohort.event
    none = {"score": None, "complement": None, "chi2": None, "p_value": None}

    def part(variable: Array, rows: npt.NDArray[np.bool_]) -> Json:
        try:
            effect = subgroup_effect(variable[rows], member[rows], time[rows], event=event[rows])
        except CohortError as error:
            return {
                **none,
                "score": not_estimable(str(error)),
                "complement": not_estimable(str(error)),
            }
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
        row |= {
            "treatment": of_treatment["score"],
            "treatment_complement": of_treatment["complement"],
        }
        row |= {
            "treatment_chi2": of_treatment["chi2"],
            "treatment_p_value": of_treatment["p_value"],
        }
    return row


def _treatment_section(
    cohort: Cohort,
    score: Array,
    clinical: Columns,
    treatment: str | None,
    arms: Array | None,
    plan: AnalysisPlan,
) -> Json:
    if arms is None:
        return {
            "treatment": None,
            "interaction": not_estimable("no treatment column in study.yaml (cohort.treatment)"),
            "verdict": None,
        }
    rows = ~np.isnan(arms)
    kept = {
        name: [v for v, known in zip(values, rows) if known] for name, values in clinical.items()
    }
    time, event = cohort.time_months[rows], cohort.event[rows]
    counts = {
        "treatment": treatment,
        "treated": int((arms == 1).sum()),
        "untreated": int((arms == 0).sum()),
    }
    planned = plan.treatment_interaction
    try:
        design = fit_design(kept) if kept else Design(columns=())
        x = design.transform(kept) if kept else np.empty((int(rows.sum()), 0))
        result = treatment_interaction(score[rows], arms[rows], x, time_months=time, event=event)
        effect = hazard_ratio(fit_cox(np.column_stack([x, score[rows]]), time, event), x.shape[1])
    except CohortError as error:
        return {
            **counts,
            "interaction": not_estimable(str(error)),
            "exploratory": not planned,
            "verdict": None,
        }
    return {
        **counts,
        **_interaction_json(result, [*design.names, "score_sd"]),
        "exploratory": not planned,
        "verdict": verdict(result, effect, planned=planned),
    }


def _interaction_json(result: TreatmentInteraction, names: Sequence[str]) -> Json:
    curve = {
        "score": result.score,
        "hazard_ratio": result.hazard_ratio,
        "low": result.low,
        "high": result.high,
    }
    return {
        "interaction": result.interaction.to_json(),
        **test_json(result.test),
        "overlap_weighted": result.overlap_weighted.to_json(),
        "balance": [
            {"covariate": name, "before": float(before), "after": float(after)}
            for name, before, after in zip(names, result.before, result.after)
        ],
        "effect_curve": {
            "quantile": list(CURVE_QUANTILES),
            **{name: json_numbers(values) for name, values in curve.items()},
        },
    }
