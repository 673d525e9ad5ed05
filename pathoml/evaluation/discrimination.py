"""What the score is worth and against whom: C with intervals, hazard ratios, added value, seeds."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from pathoml.errors import CohortError
from pathoml.evaluation.evidence import Evidence
from pathoml.survival.concordance import (
    harrell_c,
    harrell_c_difference,
    harrell_c_interval,
    uno_c_interval,
)
from pathoml.survival.cox import CoxFit, fit_cox, hazard_ratio, likelihood_ratio_test, wald_test
from pathoml.survival.design import fit_design, without_eventless_levels
from pathoml.survival.estimate import Estimate
from pathoml.survival.kaplan_meier import kaplan_meier, log_rank, median_follow_up
from pathoml.survival.not_estimable import not_estimable, or_not_estimable
from pathoml.types import Array, Cohort, Json, Labels

# tau is this quantile of follow-up, so that a few late patients do not carry the weights
UNO_QUANTILE = 0.9
INTERVAL_NOTE = (
    "95 % interval by bootstrap over patients within centres, conditional on the fitted models: "
    "it leaves out that other training data would give other models."
)


def concordance_sections(evidence: Evidence) -> Json:
    """Return C of the score, of the baselines and within centres, with intervals; Uno's C."""
    cohort, score, draw = evidence.cohort, evidence.score, evidence.draw
    time, event, centre = cohort.time_months, cohort.event, cohort.centre
    tau = float(np.quantile(time, UNO_QUANTILE))

    def interval(values: Array, **options: Any) -> Json:
        return or_not_estimable(lambda: harrell_c_interval(values, time, event, **draw, **options))

    def both(values: Array) -> Json:
        return {
            "harrell_c": interval(values),
            "harrell_c_centre_stratified": interval(values, stratum=centre),
        }

    def within(name: str) -> Estimate:
        rows = centre == name
        alone = {k: v for k, v in draw.items() if k != "resample_within"}
        return harrell_c_interval(score[rows], time[rows], event[rows], **alone)

    baselines = evidence.baselines
    none = not_estimable("the scores were imported, without embeddings")
    no_clinical = (
        "these scores come without a clinical model on the same folds"
        if evidence.config.cohort.covariates
        else "no covariates in study.yaml"
    )
    return {
        "tau_months": tau,
        "median_follow_up_months": median_follow_up(time, event),
        **both(score),
        "harrell_c_fold_mean": fold_mean(evidence),
        "harrell_c_by_centre": {
            str(c): or_not_estimable(partial(within, c)) for c in np.unique(centre)
        },
        "uno_c": or_not_estimable(lambda: uno_c_interval(score, time, event, tau=tau, **draw)),
        "ridge_cox": both(baselines["ridge_cox"])
        if "ridge_cox" in baselines
        else {"harrell_c": none, "harrell_c_centre_stratified": none},
        "clinical": {
            "covariates": list(evidence.clinical),
            "harrell_c": interval(baselines["clinical"])
            if "clinical" in baselines
            else not_estimable(no_clinical),
        },
        "interval_note": INTERVAL_NOTE,
    }


def score_hazard_ratio(score: Array, cohort: Cohort, caveat: str) -> Json:
    """Return the hazard ratio of a (B,) score with its Wald and likelihood-ratio p."""
    fit = fit_cox(score[:, None], cohort.time_months, cohort.event)
    nothing = fit_cox(score[:, None][:, :0], cohort.time_months, cohort.event)
    return {
        **hazard_ratio(fit, 0).to_json(),
        "wald_p": wald_test(fit, 0),
        "likelihood_ratio_p": likelihood_ratio_test(fit, nothing).p,
        "note": caveat,
    }


def added_value(evidence: Evidence, caveat: str) -> Json:
    """Clinical against clinical + score on the same rows; fitted and judged on all of them, which
    the note says.
    """
    cohort, score, columns = evidence.cohort, evidence.score, evidence.clinical
    design = fit_design(columns) if columns else None
    clinical = design.transform(columns) if design else np.zeros((len(score), 0))
    if not clinical.shape[1]:
        raise CohortError("no clinical covariates in study.yaml (cohort.covariates)")
    rows, kept = without_eventless_levels(clinical, cohort.event)
    time, event = cohort.time_months[rows], cohort.event[rows]
    names = [name for name, k in zip(design.names if design else (), kept) if k]
    reduced = fit_cox(clinical[rows][:, kept], time, event, names=names)
    full = fit_cox(
        np.column_stack([clinical[:, kept], score])[rows],
        time,
        event,
        names=[*names, "the image score"],
    )
    test = likelihood_ratio_test(full, reduced)

    def predictor(fit: CoxFit, x: Array) -> Array:
        values = np.round(
            x @ fit.coefficients, 10
        )  # equal covariates are equal risks, whatever the order of a sum
        return np.where(rows, values, values[rows].min() - 1)  # nobody is lower than a hazard of 0

    delta = harrell_c_difference(
        predictor(full, np.column_stack([clinical[:, kept], score])),
        predictor(reduced, clinical[:, kept]),
        cohort.time_months,
        event=cohort.event,
        **evidence.draw,
    )
    if delta.low == delta.high:  # nobody changes place: no draw could show another change
        delta = replace(delta, low=None, high=None)
    eventless = (
        ""
        if rows.all()
        else (
            f" {(~rows).sum()} patients of levels without an event have a hazard of 0 in both"
            " models."
        )
    )
    return {
        "likelihood_ratio_chi2": test.chi2,
        "df": test.df,
        "p_value_anticonservative": test.p,
        "delta_harrell_c": delta.to_json(),
        "hazard_ratio_per_sd": hazard_ratio(full, int(kept.sum())).to_json(),
        "note": (
            f"{caveat} The change of C is apparent: both models are fitted and judged on the same"
            f" patients.{eventless}"
        ),
    }


def fold_mean(evidence: Evidence) -> float | None:
    """The mean over folds of C within the fold's test patients, first repeat; needs a comparable
    pair in each fold.
    """
    cohort, values = evidence.cohort, []
    if evidence.split is None:
        return None
    for fold in evidence.split.folds:
        rows = np.isin(cohort.patient_ids, fold.test)
        outcome = cohort.time_months[rows], cohort.event[rows]
        if not rows.any() or np.ptp(evidence.log_risk[rows]) == 0:
            return None  # of equal scores, one half says nothing
        try:
            values.append(harrell_c(evidence.log_risk[rows], *outcome))
        except CohortError:
            return None
    return float(np.mean(values))


def seed_section(evidence: Evidence) -> Json:
    """How much C and the score move when only one seed is trained, as many publications do; SD with
    n - 1.
    """
    cohort, scores = evidence.cohort, evidence.seeds
    if not scores or len(scores) < 2:
        return {
            "harrell_c": [],
            "harrell_c_sd": None,
            "score_sd": None,
            "note": "fewer than two seeds were trained (train.seeds)",
        }
    c = [harrell_c(values, cohort.time_months, cohort.event) for values in scores.values()]
    spread = np.std(list(scores.values()), axis=0, ddof=1)  # (B,)
    return {
        "harrell_c": c,
        "harrell_c_sd": float(np.std(c, ddof=1)),
        "score_sd": float(spread.mean()),
    }


def kaplan_meier_section(cohort: Cohort, groups: Labels) -> Json:
    content: Json = {
        "note": "cut-off: median of each model's own training patients",
        "groups": {},
        "log_rank_p": None,
    }
    for name in ("high", "low"):
        rows = groups == name
        if rows.any():
            curve = kaplan_meier(cohort.time_months[rows], cohort.event[rows])
            content["groups"][name] = {
                key: [None if v != v else v for v in getattr(curve, key).tolist()]
                for key in ("times", "survival", "low", "high", "at_risk", "events")
            }
    if len(content["groups"]) == 2:
        content["log_rank_p"] = log_rank(cohort.time_months, cohort.event, groups).p
    return content
