"""Sections of metrics.json that rest on Cox models: is the effect proportional and straight, does
it differ between subgroups, does it change with the treatment, what do competing events do; and how
many hypotheses that was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from pathoml.errors import CohortError
from pathoml.evaluation.analysis_plan import AnalysisPlan
from pathoml.evaluation.evidence import Evidence
from pathoml.evaluation.model_form import test_json
from pathoml.evaluation.start_stop import intervals, of_patients, start_stop_rows
from pathoml.store.hypotheses import INTERACTIONS
from pathoml.survival.cox import fit_cox, hazard_ratio
from pathoml.survival.design import Design, fit_design
from pathoml.survival.estimate import widened_ratio
from pathoml.survival.interaction import (
    CURVE_QUANTILES,
    TreatmentInteraction,
    interaction_on_the_way,
    treatment_interaction,
    verdict,
)
from pathoml.survival.multiplicity import benjamini_hochberg
from pathoml.survival.not_estimable import json_numbers, not_estimable
from pathoml.survival.outcome import at_rows
from pathoml.survival.propensity import decided_by_a_level
from pathoml.survival.rare_levels import estimable_columns, is_level
from pathoml.survival.subgroups import (
    SubgroupEffect,
    membership,
    parse_expression,
    subgroup_effect,
)
from pathoml.types import Array, Cohort, Columns, Json

IMMORTAL = (
    "the treatment began under observation, so that nobody's chance of it is known at time zero"
)
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
        _subgroup(expression, evidence, arms, membership(expression, table))
        for expression in subgroups
    ]
    on_the_way = treatment in cohort.later_covariates
    interaction = (_on_the_way if on_the_way else _treatment_section)(
        cohort, score, reasons, treatment, arms, plan
    )
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
            "family": INTERACTIONS,
            "size": size,
            "tests": listed,
            "analysis_plan_sha256": plan.sha256 or None,
        },
    }


def _subgroup(expression: str, evidence: Evidence, arms: Array | None, member: Array) -> Json:
    cohort, score = evidence.cohort, evidence.score
    event, later = cohort.event, evidence.config.cohort.treatment in cohort.later_covariates
    columns = {condition.column for condition in parse_expression(expression)}
    known_later = sorted(columns & set(cohort.later_covariates))
    none = {"score": None, "complement": None, "chi2": None, "p_value": None}

    def part(compute: Callable[[], SubgroupEffect]) -> Json:
        try:
            if known_later:
                raise CohortError(
                    f"{', '.join(map(repr, known_later))} began under observation: who belongs to"
                    " the subgroup is not known at time zero (immortal time)"
                )
            effect = compute()
        except CohortError as error:
            return {
                **none,
                "score": not_estimable(str(error)),
                "complement": not_estimable(str(error)),
            }
        test = {"chi2": effect.test.chi2, "p_value": effect.test.p}
        return {"score": effect.inside.to_json(), "complement": effect.outside.to_json(), **test}

    def fixed(variable: Array, rows: npt.NDArray[np.bool_]) -> SubgroupEffect:
        return subgroup_effect(
            variable[rows],
            member[rows],
            cohort.time_months[rows],
            event=event[rows],
            entry_months=at_rows(cohort.entry_months, rows),
        )

    row = {
        "expression": expression,
        "n": int((member == 1).sum()),
        "events": int(event[member == 1].sum()),
        "unknown": int(np.isnan(member).sum()),
        "planned": expression in evidence.plan.subgroups,
        **part(lambda: _of_the_score(evidence, member, fixed(score, np.ones(len(score), bool)))),
        "treatment": None,
        "treatment_complement": None,
        "treatment_chi2": None,
        "treatment_p_value": None,
    }
    if arms is not None:
        of_treatment = part(
            (lambda: _started_later(cohort, member))
            if later
            else lambda: fixed(arms, ~np.isnan(arms))
        )
        row |= {
            "treatment": of_treatment["score"],
            "treatment_complement": of_treatment["complement"],
        }
        row |= {
            "treatment_chi2": of_treatment["chi2"],
            "treatment_p_value": of_treatment["p_value"],
        }
    return row


def _of_the_score(evidence: Evidence, member: Array, effect: SubgroupEffect) -> SubgroupEffect:
    """Return the score's effects with the errors of what these patients trained. The test between
    them needs none: simulated without signal, its z has an SD of 1.0 (246 patients) to 1.1 (60).
    """
    image = evidence.folded["image"]
    inside, outside = (
        widened_ratio(estimate, image.widening_of(member == value))
        for estimate, value in ((effect.inside, 1), (effect.outside, 0))
    )
    return replace(effect, inside=inside, outside=outside)


def _started_later(cohort: Cohort, member: Array) -> SubgroupEffect:
    """Return the treatment's effect in a subgroup, untreated until it began; n are patients."""
    rows = start_stop_rows(cohort)
    part = intervals(rows)
    effect = subgroup_effect(
        part.treated,
        member[part.patient],
        part.stop_months,
        event=part.event,
        entry_months=part.start_months,
    )
    inside, outside = (
        of_patients(estimate, [r for r in rows if member[r.patient] == value])
        for estimate, value in ((effect.inside, 1), (effect.outside, 0))
    )
    return replace(effect, inside=inside, outside=outside)


def _on_the_way(
    cohort: Cohort,
    score: Array,
    clinical: Columns,
    treatment: str | None,
    arms: Array | None,
    plan: AnalysisPlan,
) -> Json:
    """The interaction with a treatment that began under observation, by start-stop rows. Overlap
    weights need a treatment that is decided at time zero, so that it is not called predictive.
    """
    rows = start_stop_rows(cohort)
    part = intervals(rows)
    known = np.zeros(len(score)) if arms is None else arms
    section: Json = {
        "treatment": treatment,
        "treated": int((known == 1).sum()),
        "untreated": int((known == 0).sum()),
        "began_under_observation": len(rows) - len(score),
        "exploratory": not plan.treatment_interaction,
        "overlap_weighted": not_estimable(IMMORTAL),
    }
    try:
        design = fit_design(clinical) if clinical else Design(columns=())
        x = design.transform(clinical) if clinical else np.empty((len(score), 0))
        estimate, test = interaction_on_the_way(
            score[part.patient],
            part.treated,
            x[part.patient],
            start_months=part.start_months,
            stop_months=part.stop_months,
            event=part.event,
        )
    except CohortError as error:
        return {**section, "interaction": not_estimable(str(error)), "verdict": None}
    return {
        **section,
        "interaction": of_patients(estimate, rows).to_json(),
        **test_json(test),
        "verdict": (
            "The treatment began under observation: its interaction with the score is that of"
            " start-stop rows, and without overlap weights it cannot be called predictive."
        ),
    }


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
    late = at_rows(cohort.entry_months, rows)
    counts = {
        "treatment": treatment,
        "treated": int((arms == 1).sum()),
        "untreated": int((arms == 0).sum()),
    }
    planned = plan.treatment_interaction
    try:
        design = fit_design(kept) if kept else Design(columns=())
        x = design.transform(kept) if kept else np.empty((int(rows.sum()), 0))
        result = treatment_interaction(
            score[rows], arms[rows], x, time_months=time, event=event, entry_months=late
        )
        found = estimable_columns(x, time, event, names=design.names, entry_months=late)
        adjusted = np.column_stack([x[:, found.columns], score[rows]])
        labels = [name for name, stays in zip(design.names, found.columns) if stays]
        fit = fit_cox(
            adjusted,
            time,
            event,
            stratum=found.stratum,
            entry_months=late,
            names=[*labels, "score_sd"],
        )
        effect = hazard_ratio(fit, adjusted.shape[1] - 1)
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
        "left_out": [
            {"name": name, "reason": why}
            for name, why in [*found.left_out, *_certain(x, arms[rows], design.names)]
        ],
        "exploratory": not planned,
        "verdict": verdict(result, effect, planned=planned),
    }


def _certain(x: Array, given: Array, names: Sequence[str]) -> list[tuple[str, str]]:
    """Return the levels that decide the treatment: their patients have an overlap weight of 0."""
    _, undecided = decided_by_a_level(x, given)
    return [
        (name, "decides the treatment: overlap weights of 0")
        for name, level, values in zip(names, is_level(x), x.T)
        if level and (values == 1).any() and not undecided[values == 1].any()
    ]


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
