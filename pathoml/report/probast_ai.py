"""PROBAST+AI, domain by domain: what speaks for and against the quality of the model's development
and a low risk of bias in its evaluation, as far as this run knows it.

The judgement stays with whoever assesses; this table puts the facts beside the questions.

Source: Moons et al., BMJ 388 (2025) e082505. Questions are paraphrased and grouped by domain; the
published wording and numbering count.
"""

from __future__ import annotations

from typing import Any

from pathoml.report import wording
from pathoml.report.guideline_items import (
    MADE_ELSEWHERE,
    Item,
    answered,
    c_to_quote,
    count,
    slope_of_best,
    written,
)
from pathoml.report.what_ran import WhatRan
from pathoml.types import Json

DEVELOPMENT, EVALUATION = "Development", "Evaluation"


def probast_ai(
    metrics: Json, permutation: Json, config: Any, *, ran: WhatRan | None = None
) -> list[Item]:
    """Return the questions of both parts with what this run says of them."""
    origin, vectors = ran.origin if ran else "trained", bool(ran and ran.vector_of)
    return [
        *(
            _development(metrics, config, vectors=vectors)
            if origin == "trained"
            else _made_elsewhere(origin, ran)
        ),
        *_evaluation(metrics, permutation, config, ran, vectors=vectors),
    ]


def _development(metrics: Json, config: Any, *, vectors: bool) -> list[Item]:
    power = metrics.get("power") or {}
    over = power.get("over_budget")
    incomplete = (metrics.get("missing_covariates") or {}).get("incomplete")
    return [
        written(
            f"{DEVELOPMENT}: participants",
            "Data sources, eligibility and setting fit the use",
            f"{_flow(metrics)}; describe how patients were found",
        ),
        answered(
            f"{DEVELOPMENT}: participants",
            "Who was left out, and whether they differ",
            f"{len((metrics.get('flow') or {}).get('excluded') or [])} left out; section 'Included"
            " and excluded'",
        ),
        answered(
            f"{DEVELOPMENT}: predictors",
            "Measured alike in everybody, and available when the model is used",
            "slides at time zero; scanner, resolution and stain by centre in 'How the slides were"
            " made'",
        ),
        answered(
            f"{DEVELOPMENT}: predictors",
            "Measured without knowledge of the outcome",
            f"{MADE_ELSEWHERE}; covariates are the authors'"
            if vectors
            else "the encoder and the tiles saw no outcome; covariates are the authors'",
            where="study.resolved.yaml",
        ),
        written(
            f"{DEVELOPMENT}: outcome",
            "Defined beforehand, alike in everybody, without the predictors",
            f"{_endpoint(metrics, config)}; say who determined it, and if they knew the slides",
        ),
        answered(
            f"{DEVELOPMENT}: analysis",
            "Enough participants with the outcome",
            f"{count(metrics.get('events'))} events, {count(power.get('parameters'))} parameters of"
            f" covariates and score{': ' + str(over) if over else ''}",
        ),
        answered(
            f"{DEVELOPMENT}: analysis",
            "Missing data handled appropriately",
            f"{count(incomplete)} patients lack a covariate; complete cases, medians and multiple"
            " imputation side by side",
        ),
        answered(
            f"{DEVELOPMENT}: analysis",
            "Overfitting, tuning and leakage addressed",
            f"{config.splits.scheme.replace('_', ' ')} by patient; no epoch, cut-off or scaling"
            f" used the scored fold; {len(metrics.get('alarms') or [])} alarms",
            where="splits.json, metrics.json",
        ),
        answered(
            f"{DEVELOPMENT}: analysis",
            "Censoring and competing events accounted for",
            "partial likelihood; competing events in 'Do the models' assumptions hold?'",
        ),
        answered(
            f"{DEVELOPMENT}: analysis",
            "Class imbalance not corrected at the price of calibration",
            "no resampling of outcomes",
            where="study.resolved.yaml",
        ),
        written(
            f"{DEVELOPMENT}: analysis",
            "Sources of unfairness considered",
            "groups by sex and age are judged below; say who is not represented",
        ),
    ]


def _made_elsewhere(origin: str, ran: WhatRan | None) -> list[Item]:
    said = (
        f"the model was locked on {ran.whom}: its own run answers this part"
        if ran and origin == "predicted"
        else "the score was made by another program: for its owner to say"
    )
    return [written(f"{DEVELOPMENT}: all domains", "Quality of the development", said)]


def _evaluation(
    metrics: Json, permutation: Json, config: Any, ran: WhatRan | None, *, vectors: bool
) -> list[Item]:
    origin = ran.origin if ran else "trained"
    calibration = metrics.get("calibration") or {}
    fairness = (metrics.get("fairness") or {}).get("rows") or []
    other = ran.whom if ran and origin == "predicted" else "the same patients, out of fold"
    if origin == "imported":
        other = "for the scores' owner to say"
    return [
        answered(
            f"{EVALUATION}: participants",
            "Patients like those of the intended use; data apart from development",
            f"{_flow(metrics)}; {other}",
        ),
        answered(
            f"{EVALUATION}: predictors",
            "Measured as in development, without knowledge of the outcome",
            "vectors of one encoder for every slide"
            if vectors
            else "the same tiles and encoder for every slide",
            where="provenance.json",
        ),
        answered(
            f"{EVALUATION}: outcome",
            "The same definition and time zero in everybody",
            _endpoint(metrics, config),
            where="study.yaml",
        ),
        written(
            f"{EVALUATION}: outcome",
            "Determined without knowledge of the predictors, after a suitable time",
            f"median follow-up {wording.number(metrics.get('median_follow_up_months'), 1)} months;"
            " say who determined it",
        ),
        answered(
            f"{EVALUATION}: analysis",
            "Enough participants with the outcome (100 events are often asked for)",
            f"{count(metrics.get('events'))} events",
        ),
        answered(
            f"{EVALUATION}: analysis",
            "All participants analysed; missing data handled",
            f"{_flow(metrics)}; section 'What is missing'",
        ),
        answered(
            f"{EVALUATION}: analysis",
            "Discrimination with its uncertainty",
            f"{c_to_quote(metrics)}; permutation {wording.p_value(permutation.get('p_value'))}",
            where="metrics.json, permutation.json",
        ),
        answered(
            f"{EVALUATION}: analysis",
            "Calibration with its uncertainty",
            f"slope of cross-fitted risks {slope_of_best(metrics)}; seen over foretold"
            f" {wording.estimate(calibration.get('in_the_large'))}",
        ),
        answered(
            f"{EVALUATION}: analysis",
            "Clinical utility",
            "net benefit with intervals; section 'Would decisions be better with it?'",
        ),
        answered(
            f"{EVALUATION}: analysis",
            "Optimism removed where data are the same",
            "cross-fitted: C, its changes, risks and net benefit",
        ),
        answered(
            f"{EVALUATION}: analysis",
            "Performance by groups, fairness",
            f"{len(fairness)} groups by sex and age; {len(metrics.get('subgroups') or [])}"
            f" subgroups; {len(metrics.get('harrell_c_by_centre') or {})} centres",
        ),
        written(
            f"{EVALUATION}: applicability",
            "Participants, predictors and outcome match the question of the review",
            "to be judged",
        ),
    ]


def _flow(metrics: Json) -> str:
    flow = metrics.get("flow") or {}
    return (
        f"{count(flow.get('patients'))} to {count(flow.get('analysed'))} patients,"
        f" {len(flow.get('by_centre') or {})} centres"
    )


def _endpoint(metrics: Json, config: Any) -> str:
    return (
        f"{metrics.get('endpoint') or config.endpoint.name}, from"
        f" {metrics.get('time_zero') or config.endpoint.time_zero}"
    )
