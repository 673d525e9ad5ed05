"""Step `evaluate` as a whole: metrics.json, permutation.json and what a statistician repeats them
with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from pathoml.config import Study
from pathoml.evaluation.analysis_plan import read_analysis_plan
from pathoml.evaluation.competing_risks import competing_section, restricted_mean_section
from pathoml.evaluation.discrimination import (
    UNO_QUANTILE,
    added_value,
    fold_mean,
    kaplan_meier_section,
    score_hazard_ratio,
    seed_section,
)
from pathoml.evaluation.evidence import parsed
from pathoml.evaluation.included_excluded import included_against_excluded
from pathoml.evaluation.interactions import interaction_sections
from pathoml.evaluation.leaks import leak_section
from pathoml.evaluation.locked_scores import prospective_section
from pathoml.evaluation.model_form import form_sections
from pathoml.evaluation.nomogram import prognostic_score
from pathoml.evaluation.planning import planning_sections
from pathoml.evaluation.predicted_risk import risk_sections
from pathoml.evaluation.start_stop import timing_section
from pathoml.store.tables import read_study_table
from pathoml.study.cohort import share_treated, treated
from pathoml.survival.concordance import draw_counts, harrell_c_interval, uno_c_interval
from pathoml.survival.estimate import Estimate
from pathoml.survival.kaplan_meier import median_follow_up
from pathoml.survival.not_estimable import not_estimable, or_not_estimable
from pathoml.training.baselines import clinical_columns
from pathoml.training.nested import read_nested
from pathoml.types import Array, Cohort, Json

# an internal C above this raises an alarm (from slides alone, out of fold, 0.60-0.65 is to be
# expected)
LEAK_C = 0.75
INTERVAL_NOTE = (
    "95 % interval by bootstrap over patients within centres, conditional on the fitted models: "
    "it leaves out that other training data would give other models."
)
CAVEAT = (
    "Wald and likelihood-ratio p values on out-of-fold scores are anticonservative; the permutation"
    " p is the test."
)
CAVEATS = {  # by score_type; any other is out of fold
    "locked": (
        "The score was frozen before these outcomes were seen: Wald and likelihood-ratio p values"
        " hold."
    ),
    "external": (
        "The score was made elsewhere: Wald and likelihood-ratio p values hold only if it learned"
        " from none of these outcomes."
    ),
    "insample": "The score learned from these very outcomes: no p value of it means anything.",
}


def metrics(
    study: Study, cohort: Cohort, columns: dict[str, Array], *, groups: Sequence[str], counts: Json
) -> Json:
    """Return the content of metrics.json.

    Args:
        cohort: in the order of the columns.
        columns: score_sd, log_risk, n_tiles, ridge_cox and (if there are covariates) clinical, (B,)
            each.
        groups: "high" or "low" a patient, by cut-offs of the training folds.
    """
    config = study.config.significance
    time_months, event, centre, score = (
        cohort.time_months,
        cohort.event,
        cohort.centre,
        columns["score_sd"],
    )
    draw: Json = {"bootstraps": config.bootstraps, "seed": 1, "resample_within": centre}
    tau = float(np.quantile(time_months, UNO_QUANTILE))
    caveat = CAVEATS.get(counts["score_type"], CAVEAT)

    def interval(values: Array, **options: Any) -> Json:
        return or_not_estimable(
            lambda: harrell_c_interval(values, time_months, event, **draw, **options)
        )

    def within(name: str) -> Estimate:
        rows = centre == name
        return harrell_c_interval(
            score[rows], time_months[rows], event[rows], bootstraps=config.bootstraps, seed=1
        )

    content: Json = {
        "endpoint": cohort.endpoint,
        "time_zero": cohort.time_zero,
        "score_type": counts["score_type"],
        "n": len(score),
        "events": int(event.sum()),
        "tau_months": tau,
        "median_follow_up_months": median_follow_up(time_months, event),
        "harrell_c": interval(score),
        "harrell_c_centre_stratified": interval(score, stratum=centre),
        "harrell_c_fold_mean": fold_mean(study, cohort, columns["log_risk"]),
        "harrell_c_by_centre": {
            str(c): or_not_estimable(partial(within, c)) for c in np.unique(centre)
        },
        "uno_c": or_not_estimable(
            lambda: uno_c_interval(score, time_months, event, tau=tau, **draw)
        ),
        "ridge_cox": {
            "harrell_c": interval(columns["ridge_cox"]),
            "harrell_c_centre_stratified": interval(columns["ridge_cox"], stratum=centre),
        }
        if "ridge_cox" in columns
        else {
            k: not_estimable("the scores were imported, without embeddings")
            for k in ("harrell_c", "harrell_c_centre_stratified")
        },
        "clinical": {
            "covariates": list(clinical_columns(cohort)),
            "harrell_c": interval(columns["clinical"])
            if "clinical" in columns
            else not_estimable(
                "these scores come without a clinical model on the same folds"
                if study.config.cohort.covariates
                else "no covariates in study.yaml"
            ),
        },
        "interval_note": INTERVAL_NOTE,
        "seeds": seed_section(study, cohort),
    }
    content["hazard_ratio_per_sd"] = or_not_estimable(
        lambda: score_hazard_ratio(score[:, None], cohort, caveat)
    )
    content["added_value"] = or_not_estimable(
        lambda: added_value(score, cohort, draw, caveat=caveat)
    )
    content["kaplan_meier"] = kaplan_meier_section(cohort, np.array(groups))
    content |= _further_sections(study, cohort, columns, groups, counts)
    content["flow"] = _flow(cohort, counts)
    content["leaks"], shortcuts = leak_section(
        study,
        cohort,
        score,
        tile_count=columns["n_tiles"],
        pooled_c=content["harrell_c"]["estimate"],
    )
    content["alarms"] = _alarms(content) + shortcuts
    return content


def _further_sections(
    study: Study, cohort: Cohort, columns: dict[str, Array], groups: Sequence[str], counts: Json
) -> Json:
    """Return the sections of predicted_risk.py and effects.py."""
    config, score, clinical = study.config, columns["score_sd"], clinical_columns(cohort)
    horizons = config.evaluate.horizons_months
    rows = {row["patient_id"]: row for row in read_study_table(study, "patients").rows}
    table = {
        name: [rows[p][name] for p in cohort.patient_ids] for name in next(iter(rows.values()))
    }
    treatment = config.cohort.treatment
    reasons = {name: values for name, values in clinical.items() if name != treatment}
    draws = draw_counts(
        len(score), config.significance.bootstraps, 1, resample_within=cohort.centre
    )
    share = share_treated(treated(table[treatment], treatment)) if treatment else None
    return {
        **risk_sections(
            cohort,
            columns,
            clinical,
            fold=counts.get("fold", [""] * len(score)),
            horizons_months=horizons,
            counts=draws if len(draws) else None,
            nested=read_nested(study.run_folder, cohort.patient_ids),
            score_type=counts["score_type"],
        ),
        **form_sections(cohort, score, clinical),
        **interaction_sections(
            cohort,
            score,
            reasons,
            treatment=treatment,
            table={name: [parsed(v) for v in values] for name, values in table.items()},
            subgroups=config.evaluate.subgroups,
            plan=read_analysis_plan(study.folder),
            runs_folder=study.folder / "runs",
            run=config.run,
        ),
        "prospective": prospective_section(study, cohort, score, score_type=counts["score_type"]),
        "competing_risks": competing_section(cohort, score, horizons),
        "timing": timing_section(cohort, score),
        "prognostic_score": or_not_estimable(
            lambda: prognostic_score(cohort, score, clinical, horizons_months=horizons)
        ),
        "included_excluded": included_against_excluded(
            rows,
            cohort.patient_ids,
            [p for p, _ in cohort.excluded],
            names=[config.cohort.centre, *clinical, config.endpoint.event],
        )
        if cohort.excluded
        else [],
        "restricted_mean": restricted_mean_section(cohort, groups, horizons),
        **planning_sections(cohort, clinical, share),
    }


def _flow(cohort: Cohort, counts: Json) -> Json:
    slides = Counter(p.centre for p in cohort.patients for _ in p.slide_ids)
    by_centre = {
        str(c): {
            "patients": int((cohort.centre == c).sum()),
            "events": int(cohort.event[cohort.centre == c].sum()),
            "slides": slides[str(c)],
        }
        for c in np.unique(cohort.centre)
    }
    return {
        "patients": len(cohort.patients) + len(cohort.excluded),
        "analysed": len(cohort.patients),
        "slides": counts["slides"],
        "tiles": counts["tiles"],
        "excluded": [{"patient_id": p, "reason": reason} for p, reason in cohort.excluded],
        "by_centre": by_centre,
    }


def _alarms(content: Json) -> list[Json]:
    alarms = []
    c = content["harrell_c"]["estimate"]
    if c is not None and c > LEAK_C:
        message = (
            f"Internal C is {c:.2f}, above {LEAK_C}. Progression is rarely that predictable: look"
            " for a leak before believing it."
        )
        alarms.append({"name": "leak", "message": message})
    ridge = content["ridge_cox"]["harrell_c"]["estimate"]
    if c is not None and ridge is not None and ridge > c:
        message = (
            f"Ridge Cox on mean embeddings (C {ridge:.2f}) does better than attention ({c:.2f})."
        )
        alarms.append({"name": "baseline", "message": message})
    return alarms
