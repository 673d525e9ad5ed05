"""REMARK and TRIPOD+AI, item by item: where this page or the run folder answers it, and what only
the authors can write; PROBAST+AI and CLAIM have a module each.

Source: McShane et al., J Natl Cancer Inst 97 (2005) 1180-1184 (REMARK); Collins et al., BMJ 385
(2024) e078378 (TRIPOD+AI). Items are paraphrased; the published wording counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pathoml.report import wording
from pathoml.report.claim import claim
from pathoml.report.guideline_items import (
    AUTHORS,
    MADE_ELSEWHERE,
    Item,
    answered,
    c_to_quote,
    slope_of_best,
)
from pathoml.report.guideline_items import count as _n
from pathoml.report.guideline_items import written as _written
from pathoml.report.probast_ai import probast_ai
from pathoml.report.what_ran import WhatRan
from pathoml.types import Json


def remark(
    metrics: Json, permutation: Json, config: Any, *, ran: WhatRan | None = None
) -> list[Item]:
    """Return the items of REMARK with the values of this run."""
    flow = metrics.get("flow") or {}
    n, events, power = metrics.get("n"), metrics.get("events"), metrics.get("power") or {}
    added = metrics.get("added_value") or {}
    plan = (metrics.get("multiplicity") or {}).get("analysis_plan_sha256")
    return [
        _written(
            "1",
            "Marker, objectives, hypotheses",
            "State what the image score is for; the plan's hash: " + (plan or "no stamped plan"),
        ),
        _written(
            "2",
            "Patients: source, inclusion, exclusion",
            f"{_n(flow.get('patients'))} in patients.csv; describe how they were found",
        ),
        _item(
            "3",
            "Treatments received",
            f"column {config.cohort.treatment}" if config.cohort.treatment else "no column named",
            "study.yaml",
        ),
        _item(
            "4",
            "Biological material",
            f"{_n(flow.get('slides'))} slides; fixation and staining are the authors'",
            "slides.csv",
        ),
        _item(
            "5",
            "Assay method",
            f"methods paragraph of this page: encoder, {_seen(ran)}, head, score",
            "study.resolved.yaml",
        ),
        _item(
            "6",
            "Follow-up, time zero, cut",
            f"{_time_zero(metrics, config)}; median {_months(metrics)}",
            "metrics.json",
        ),
        _item(
            "7",
            "Endpoint defined",
            str(metrics.get("endpoint") or config.endpoint.name),
            "study.yaml",
        ),
        _item(
            "8", "Candidate variables", ", ".join(config.cohort.covariates) or "none", "study.yaml"
        ),
        _item(
            "9",
            "Sample size rationale",
            f"detectable HR per SD {_x(power.get('detectable_hazard_ratio_per_sd'))} at 80 % power",
            "metrics.json",
        ),
        _item(
            "10",
            "Statistical methods, missing data",
            "methods paragraph; section 'What is missing'",
            "study.resolved.yaml",
        ),
        _item(
            "11",
            "Handling of marker values",
            f"continuous, per SD; groups by {_cut_off(ran)}",
            "scores.csv",
        ),
        _item(
            "12",
            "Flow of patients",
            f"{_n(flow.get('patients'))} to {_n(flow.get('analysed'))} analysed,"
            f" {_n(events)} events",
            "metrics.json",
        ),
        _item(
            "13",
            "Distribution of characteristics",
            "Table 1, by centre and score group, with who lacks what; section 'Included and"
            " excluded'",
            "metrics.json",
        ),
        _item(
            "14",
            "Relation of marker to standard variables",
            _goes_with(metrics),
            "metrics.json",
        ),
        _item(
            "15",
            "Univariable effect",
            f"HR per SD {wording.estimate(metrics.get('hazard_ratio_per_sd'))}, n {_n(n)}",
            "metrics.json",
        ),
        _item(
            "16",
            "Multivariable effect",
            f"HR per SD {wording.estimate(added.get('hazard_ratio_per_sd') or added)}",
            "metrics.json",
        ),
        _item(
            "17",
            "Intervals with and without the marker",
            f"change of C {wording.estimate(added.get('delta_harrell_c'), 3, signed=True)}; every"
            " hazard ratio with and without the score in the multivariable table",
            "metrics.json",
        ),
        _item(
            "18",
            "Assumptions, sensitivity, validation",
            f"{_checks(metrics)}; permutation {wording.p_value(permutation.get('p_value'))}",
            "metrics.json, permutation.json",
        ),
        _written(
            "19",
            "Interpretation, limitations",
            "to be written; the alarms of this page belong there",
        ),
        _written("20", "Implications for research and care", "to be written; research use only"),
    ]


def tripod_ai(
    metrics: Json, permutation: Json, config: Any, *, ran: WhatRan | None = None
) -> list[Item]:
    """Return the items of TRIPOD+AI with the values of this run."""
    flow = metrics.get("flow") or {}
    return [
        _written(
            "1-2",
            "Title, abstract",
            "to be written; the first paragraph of this page gives the numbers",
        ),
        _written("3-4", "Background, objectives, fairness", "to be written"),
        _written(
            "5-6",
            "Sources, eligibility, treatment",
            "describe patients.csv: setting, dates, eligibility",
        ),
        _item(
            "7",
            "Data preparation",
            *(
                (MADE_ELSEWHERE, AUTHORS)
                if ran and ran.vector_of
                else (
                    "methods paragraph: tissue, tiles, encoder; no outcome used",
                    "study.resolved.yaml",
                )
            ),
        ),
        _item(
            "8",
            "Outcome",
            f"{metrics.get('endpoint') or config.endpoint.name}, from"
            f" {_time_zero(metrics, config)}",
            "study.yaml",
        ),
        _item(
            "9",
            "Predictors",
            f"slides; {', '.join(config.cohort.covariates) or 'no covariates'}",
            "study.yaml",
        ),
        _item(
            "10",
            "Sample size",
            f"{_n(metrics.get('n'))} patients, {_n(metrics.get('events'))} events; section 'What so"
            " many patients can show'",
            "metrics.json",
        ),
        _item(
            "11",
            "Missing data",
            "training medians and a level 'missing', beside complete cases and multiple"
            " imputation; section 'What is missing'",
            "metrics.json",
        ),
        _item(
            "12a-d",
            "Model, training, internal validation",
            *_trained_how(ran, config),
        ),
        _item(
            "12e",
            "Performance measures",
            "C, time-dependent AUC, Brier score, calibration, net benefit",
            "metrics.json",
        ),
        _item("13", "Class imbalance", _imbalance(ran, config), "study.resolved.yaml"),
        _item(
            "14",
            "Fairness",
            f"C by centre for {len(metrics.get('harrell_c_by_centre') or {})} centres;"
            f" {len(metrics.get('subgroups') or [])} subgroups; C and calibration of"
            f" {len((metrics.get('fairness') or {}).get('rows') or [])} groups by sex and age",
            "metrics.json",
        ),
        _item(
            "15",
            "Output of the model",
            "centred log-risk, higher = earlier; score_sd per SD; points with absolute risks",
            "scores.csv",
        ),
        _item(
            "16",
            "Training against evaluation data",
            *_apart(ran),
        ),
        _written("17-18", "Ethics, funding, registration, data", "to be written"),
        _item("18f", "Code and versions", "section 'Provenance'", "provenance.json"),
        _written("19", "Patient and public involvement", "to be written"),
        _item(
            "20",
            "Participants",
            f"{_n(flow.get('patients'))} to {_n(flow.get('analysed'))}; section 'Patients and"
            " follow-up'",
            "metrics.json",
        ),
        _item(
            "21-22",
            "Model development, specification",
            "full model: coefficients and baseline survival in 'Points and absolute risk'"
            + {"imported": "", "predicted": "; weights in the bundle"}.get(
                _origin(ran), "; weights in models/"
            ),
            "metrics.json, models/" if _origin(ran) == "trained" else "metrics.json",
        ),
        _item(
            "23",
            "Performance with intervals",
            f"{c_to_quote(metrics)}; slope of cross-fitted risks {slope_of_best(metrics)}; "
            f"permutation {wording.p_value(permutation.get('p_value'))}",
            "metrics.json",
        ),
        _item("24", "Updating", "none", "provenance.json"),
        _written(
            "25-27",
            "Interpretation, limitations, usability",
            "to be written; research use only, not a medical device",
        ),
    ]


def guideline_tables(
    metrics: Json, permutation: Json, config: Any, *, ran: WhatRan | None = None
) -> Sequence[tuple[str, list[Item]]]:
    """Return all tables by name."""
    return (
        ("REMARK", remark(metrics, permutation, config, ran=ran)),
        ("TRIPOD+AI", tripod_ai(metrics, permutation, config, ran=ran)),
        ("PROBAST+AI", probast_ai(metrics, permutation, config, ran=ran)),
        ("CLAIM 2024", claim(metrics, permutation, config, ran=ran)),
    )


def _seen(ran: WhatRan | None) -> str:
    """Return what the models saw of a slide."""
    return f"vectors of {ran.vector_of}s" if ran and ran.vector_of else "tiles"


def _origin(ran: WhatRan | None) -> str:
    return ran.origin if ran else "trained"


def _cut_off(ran: WhatRan | None) -> str:
    return {
        "imported": "their owner, else by the median of these patients",
        "predicted": "the median that was locked with the model",
    }.get(_origin(ran), "the median of training folds")


def _trained_how(ran: WhatRan | None, config: Any) -> tuple[str, str]:
    if _origin(ran) == "imported":
        return "made by another program: for its owner to say", AUTHORS
    head = (ran.train if ran else {}).get("head") or config.train.head
    if ran and ran.origin == "predicted":
        return f"{head}; locked before, on {ran.whom}", "bundle.json, MODEL_CARD.md"
    splits = ran.splits if ran else {}
    scheme = str(splits.get("scheme") or config.splits.scheme)
    said = f"as in {splits.get('file')}" if scheme == "file" else scheme.replace("_", " ")
    return f"{head}; {said}, by patient", "splits.json, models/"


def _imbalance(ran: WhatRan | None, config: Any) -> str:
    if _origin(ran) == "imported":
        return "not known here"
    loss = (ran.train if ran else {}).get("loss") or config.train.loss
    return "none applied: " + {"cox": "partial likelihood"}.get(
        str(loss), "likelihood of the interval of time"
    )


def _apart(ran: WhatRan | None) -> tuple[str, str]:
    if ran and ran.origin == "predicted":
        return f"{ran.whom}: the model was locked before", "bundle.json"
    if _origin(ran) == "imported":
        return "for the scores' owner to say", AUTHORS
    loco = ran is not None and ran.score_type == "loco"
    return (
        "same patients, each scored by a model of the other centres"
        if loco
        else "same patients, out of fold"
    ), "splits.json"


def _item(number: str, asks: str, answer: str, where: str) -> Item:
    return answered(number, asks, answer, where=where)


def _x(value: Any) -> str:
    return wording.number(value)


def _months(metrics: Json) -> str:
    value = metrics.get("median_follow_up_months")
    return (
        f"{value:.1f} months (reverse Kaplan-Meier)" if wording.is_number(value) else "not reached"
    )


def _time_zero(metrics: Json, config: Any) -> str:
    cut = config.endpoint.data_cut
    return (
        f"{metrics.get('time_zero') or config.endpoint.time_zero}, data cut"
        f" {cut.isoformat() if cut else 'not given'}"
    )


def _goes_with(metrics: Json) -> str:
    rows = (metrics.get("score_associations") or {}).get("rows") or []
    known = [(row["p_value"], row["variable"]) for row in rows if row.get("p_value") is not None]
    if not known:
        return "not available"
    p, name = min(known)
    return (
        f"section 'What does the score go with?': {len(known)} columns, the strongest {name}"
        f" ({wording.p_value(p)})"
    )


def _checks(metrics: Json) -> str:
    test = (metrics.get("proportional_hazards") or {}).get("score") or {}
    return f"proportional hazards {wording.p_value(test.get('p_value'))}"
