"""CLAIM 2024, item by item: where this page or the run folder answers it, and what only the authors
can write.

Source: Tejani et al., Radiol Artif Intell 6 (2024) e240300. Items are paraphrased; the published
wording counts.
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
from pathoml.study.fitted import SOLVED
from pathoml.study.no_map import no_map_sentence
from pathoml.types import Json


def claim(
    metrics: Json, permutation: Json, config: Any, *, ran: WhatRan | None = None
) -> list[Item]:
    """Return the items of CLAIM with the values of this run."""
    return [
        written("1-4", "Title, abstract, background, aims"),
        written(
            "5-6", "Prospective or retrospective; goal of the study", "say which; research use only"
        ),
        *_data(metrics, config, ran),
        *_model(config, ran),
        *_evaluation(metrics, permutation, ran),
        written("40-41", "Limitations; implications for practice"),
        written("42", "Full protocol", _plan(metrics)),
        answered(
            "43",
            "Availability of software, model and data",
            "pathoml and its version in 'Provenance'; whether model and data are given is the"
            " authors'",
            where="provenance.json",
        ),
        written("44", "Funding"),
    ]


def _data(metrics: Json, config: Any, ran: WhatRan | None) -> list[Item]:
    flow = metrics.get("flow") or {}
    scanners = ((metrics.get("acquisition") or {}).get("all") or {}).get("scanners") or {}
    return [
        written(
            "7-8",
            "Data sources; inclusion and exclusion",
            f"{count(flow.get('slides'))} slides of {count(flow.get('patients'))} patients;"
            " describe where they are from",
        ),
        answered(
            "9-10",
            "Preprocessing; selection of parts of the images",
            MADE_ELSEWHERE
            if ran and ran.vector_of
            else "methods paragraph: tissue, flags, tiles; share of flagged tiles in 'How the"
            " slides were made'",
            where="study.resolved.yaml",
        ),
        written(
            "11", "De-identification", "pathoml check lists identifiers that slides still have"
        ),
        answered(
            "12",
            "Missing data",
            "complete cases, medians and multiple imputation; section 'What is missing'",
        ),
        answered(
            "13",
            "Image acquisition",
            f"{len(scanners)} scanners; section 'How the slides were made'"
            if scanners
            else "not known here",
        ),
        answered(
            "14-15",
            "Reference standard and why",
            f"{metrics.get('endpoint') or config.endpoint.name}, from"
            f" {metrics.get('time_zero') or config.endpoint.time_zero}; why is the authors'",
            where="study.yaml",
        ),
        written("16-18", "Who set the reference standard; agreement of raters"),
    ]


def _model(config: Any, ran: WhatRan | None) -> list[Item]:
    origin = ran.origin if ran else "trained"
    if origin == "imported":
        return [
            written(
                "19-27",
                "Partitions, model, training",
                "made by another program: for its owner to say",
            )
        ]
    train, of = (ran.train if ran else {}) or {}, ran.vector_of if ran else ""
    head = train.get("head") or config.train.head
    seeds = train.get("seeds") or config.train.seeds
    solved = ran.solved if ran and ran.solved is not None else head in SOLVED
    where = "bundle.json, MODEL_CARD.md" if origin == "predicted" else "splits.json, models/"
    parts = (
        f"locked on {ran.whom}"
        if ran and origin == "predicted"
        else f"{_divided(config)}, by patient: all slides of a patient on one side"
    )
    return [
        answered("19-20", "Partitions, and on which level they are apart", parts, where=where),
        answered("21", "Intended sample size", "section 'What so many patients can show'"),
        answered(
            "22",
            "Model",
            f"head {head} on vectors of {f'{of}s' if of else 'tiles'}; methods paragraph",
            where=where,
        ),
        answered("23", "Software and packages", "section 'Provenance'", where="provenance.json"),
        answered(
            "24",
            "Initialisation",
            f"{'none, solved' if solved else 'seeded'}; the encoder's weights are as published",
            where=where,
        ),
        answered("25", "Training", "methods paragraph", where="study.resolved.yaml"),
        answered(
            "26",
            "Choice of the final model",
            "no choice: solved, penalties chosen among training patients"
            if solved
            else "no choice: epochs were fixed beforehand",
            where=where,
        ),
        answered(
            "27",
            "Ensembles",
            "one model a fold, averaged over partitions"
            if solved
            else f"{seeds} initialisations a fold, averaged over partitions",
            where=where,
        ),
    ]


def _divided(config: Any) -> str:
    scheme = config.splits.scheme.replace("_", " ")
    once = config.splits.scheme == "leave_one_centre_out"
    return scheme if once else f"{scheme}, {config.splits.repeats} partitions"


def _evaluation(metrics: Json, permutation: Json, ran: WhatRan | None) -> list[Item]:
    origin = ran.origin if ran else "trained"
    flow = metrics.get("flow") or {}
    external = {
        "predicted": "none: the model learned from these very patients"
        if ran and ran.bundle.get("in_sample")
        else "this page: a locked model on other patients",
        "imported": "for the scores' owner to say",
    }
    return [
        answered("28", "Measures of performance", "C, AUC, Brier score, calibration, net benefit"),
        answered(
            "29",
            "Significance and uncertainty",
            f"95 % intervals; permutation {wording.p_value(permutation.get('p_value'))}",
            where="metrics.json, permutation.json",
        ),
        answered(
            "30",
            "Robustness, sensitivity",
            "within centre, subtype, specimen and organ; missing covariates three ways; between"
            " hospitals",
        ),
        answered("31", "Explainability", no_map_sentence(ran.vector_of))
        if ran and ran.vector_of
        else answered(
            "31", "Explainability", "maps, and whether they may be believed", where="attention/"
        ),
        answered(
            "32",
            "Evaluation on internal data",
            "none here" if origin == "predicted" else "out of fold",
            where="splits.json" if origin == "trained" else "metrics.json",
        ),
        answered("33", "Testing on external data", external.get(origin, "none in this run")),
        written("34", "Registration of the trial"),
        answered(
            "35",
            "Numbers included and excluded",
            f"{count(flow.get('patients'))} to {count(flow.get('analysed'))}; 'Patients and"
            " follow-up'",
        ),
        answered(
            "36", "Characteristics in each partition", "Table 1, by centre and by score group"
        ),
        answered(
            "37-38",
            "Performance with its uncertainty",
            f"{c_to_quote(metrics)}; slope of cross-fitted risks {slope_of_best(metrics)}",
        ),
        written(
            "39",
            "Analysis of failures",
            f"alarms of this run: {len(metrics.get('alarms') or [])}; discuss whom it misjudged",
        ),
    ]


def _plan(metrics: Json) -> str:
    plan = (metrics.get("multiplicity") or {}).get("analysis_plan_sha256")
    return f"analysis plan stamped: {plan}" if plan else "no stamped analysis plan"
