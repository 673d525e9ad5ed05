"""What the score is worth and against whom: C with intervals, hazard ratios, added value, seeds."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from pathoml.errors import CohortError
from pathoml.evaluation.clinical_fits import clinical_fits
from pathoml.evaluation.cross_fitted import (
    cross_fitted_change,
    differences,
    halved,
    p_note,
    tested,
    widened,
)
from pathoml.evaluation.evidence import OF_VECTORS, Evidence
from pathoml.survival.concordance import harrell_c, uno_weights
from pathoml.survival.cox import fit_cox, hazard_ratio, likelihood_ratio_test, wald_test
from pathoml.survival.estimate import Estimate
from pathoml.survival.fold_concordance import (
    FoldedScores,
    fold_c_interval,
    fold_concordance,
)
from pathoml.survival.kaplan_meier import (
    KaplanMeierCurve,
    emptied_at,
    kaplan_meier,
    log_rank,
    median_follow_up,
)
from pathoml.survival.not_estimable import not_estimable, or_not_estimable
from pathoml.survival.outcome import at_rows
from pathoml.survival.rare_levels import Estimable
from pathoml.types import Cohort, Json, Labels

# tau is this quantile of follow-up, so that a few late patients do not carry the weights
UNO_QUANTILE = 0.9
INTERVAL_NOTE = {  # by whether other patients of the cohort trained the models
    True: (
        "If the study were done again, with other patients and models trained on them, its C would"
        " lie in such an interval 95 times in 100. Pairs of patients of one fold, scored by one"
        " model, over all partitions; +- 1.96 sqrt(2) standard errors given the models"
        " (infinitesimal jackknife), because each patient is scored by models that learned from the"
        " others, which doubles the variance of a cross-validated concordance; or 1.96 standard"
        " errors of the pairs within folds alone, where that is wider."
    ),
    False: (
        "If other patients of this kind were scored by the same model, its C would lie in such an"
        " interval 95 times in 100: +- 1.96 standard errors (infinitesimal jackknife). The model"
        " learned from none of these patients, so nothing has to be added for its training."
    ),
}
CHANGE_NOTE = "The change of C is cross-fitted: no model knew the patients it is judged on."


def concordance_sections(evidence: Evidence) -> Json:
    """Return C of the score, of the baselines and within centres, with intervals; Uno's C; and
    differences on the same pairs.

    `headline` names the one to quote: within folds and centres where there are several centres.
    """
    cohort, folded = evidence.cohort, evidence.folded
    time, event, centre = cohort.time_months, cohort.event, cohort.centre
    tau = float(np.quantile(time, UNO_QUANTILE))
    entry = cohort.entry_months
    none = not_estimable("the scores were imported, without embeddings")
    no_clinical = not_estimable(
        "these scores come without a clinical model on the same folds"
        if evidence.config.cohort.covariates
        else "no covariates in study.yaml"
    )

    def interval(scores: FoldedScores, stratum: Labels | None = None) -> Json:
        return or_not_estimable(
            lambda: fold_c_interval(scores, time, event, stratum=stratum, entry_months=entry)
        )

    def both(name: str, without: Json) -> Json:
        if name not in folded:
            return {"harrell_c": without, "harrell_c_centre_stratified": without}
        return {
            "harrell_c": interval(folded[name]),
            "harrell_c_centre_stratified": interval(folded[name], centre),
        }

    def of_centre(name: str) -> Estimate:
        rows = centre == name
        return fold_c_interval(
            folded["image"].rows(rows),
            time[rows],
            event[rows],
            entry_months=at_rows(entry, rows),
        )

    def uno() -> Estimate:
        if entry is not None:
            raise CohortError(
                "not estimable with delayed entry: the weights would need the chance of being"
                " censored of patients who were never seen."
            )
        weight = uno_weights(time, event, tau=tau)
        return fold_c_interval(folded["image"], time, event, weight=weight)

    return {
        "tau_months": tau,
        "median_follow_up_months": median_follow_up(time, event, entry_months=entry),
        "headline": "harrell_c"
        if evidence.compared_within is None
        else "harrell_c_centre_stratified",
        **both("image", none),
        "harrell_c_fold_mean": fold_mean(evidence),
        "harrell_c_by_centre": {
            str(c): or_not_estimable(partial(of_centre, c)) for c in np.unique(centre)
        },
        "uno_c": or_not_estimable(uno),
        "ridge_cox": both("ridge_cox", none),
        "clinical": {"covariates": list(evidence.clinical), **both("clinical", no_clinical)},
        **{
            name: {"encoding": evidence.config.train.vectors, **both(name, none)}
            for name in OF_VECTORS
            if name in folded
        },
        "differences": differences(evidence),
        "interval_note": INTERVAL_NOTE[evidence.was_cross_validated],
    }


def judged_concordance(evidence: Evidence) -> Json:
    """Return C of the score, over pairs within folds, and within folds and centres."""
    return concordances(evidence.cohort, lambda: evidence.folded["image"])


def concordances(cohort: Cohort, scores: Callable[[], FoldedScores]) -> Json:
    """Return C of scores, over pairs within folds, and within folds and centres.

    Args:
        scores: raises CohortError where there are none, which is why C is not estimable then.
    """

    def interval(stratum: Labels | None) -> Estimate:
        return fold_c_interval(
            scores(),
            cohort.time_months,
            cohort.event,
            stratum=stratum,
            entry_months=cohort.entry_months,
        )

    return {
        "harrell_c": or_not_estimable(lambda: interval(None)),
        "harrell_c_centre_stratified": or_not_estimable(lambda: interval(cohort.centre)),
    }


def score_hazard_ratio(evidence: Evidence, caveat: str) -> Json:
    """Return the hazard ratio of the score with its Wald and likelihood-ratio p."""
    score, cohort = evidence.score, evidence.cohort
    outcome, entry = (cohort.time_months, cohort.event), cohort.entry_months
    fit = fit_cox(score[:, None], *outcome, entry_months=entry, names=["score_sd"])
    nothing = fit_cox(score[:, None][:, :0], *outcome, entry_months=entry)
    test = likelihood_ratio_test(fit, nothing)
    return {
        **hazard_ratio(widened(fit, evidence), 0).to_json(),
        "wald_p": tested(evidence, lambda: wald_test(widened(fit, evidence), 0)),
        "likelihood_ratio_p": tested(evidence, lambda: halved(evidence, test.chi2, test.df)),
        "note": caveat + p_note(evidence),
    }


def added_value(evidence: Evidence, caveat: str) -> Json:
    """Clinical against clinical + score: likelihood ratio on the same rows, and the change of C of
    models that did not see the patients they are judged on.
    """
    fits = clinical_fits(evidence)
    test = likelihood_ratio_test(fits.full, fits.reduced)
    change = or_not_estimable(lambda: cross_fitted_change(evidence))
    of_change = CHANGE_NOTE if change["estimate"] is not None else ""
    return {
        "likelihood_ratio_chi2": test.chi2,
        "df": test.df,
        "p_value_anticonservative": tested(evidence, lambda: halved(evidence, test.chi2, test.df)),
        "delta_harrell_c": change,
        "hazard_ratio_per_sd": hazard_ratio(widened(fits.full, evidence), len(fits.kept)).to_json(),
        "left_out": [{"name": name, "reason": why} for name, why in fits.found.left_out],
        "note": " ".join(
            filter(None, [caveat + p_note(evidence), of_change, _of_extreme(fits.found)])
        ),
    }


def _of_extreme(found: Estimable) -> str:
    """Return what both models say of patients whose level has no finite coefficient, and what was
    left out.
    """
    said = [found.said]
    lowest, highest = int((found.extreme < 0).sum()), int((found.extreme > 0).sum())
    if lowest:
        said.append(
            f"{lowest} patients of levels without an event have a hazard of 0 in both models."
        )
    if highest:
        said.append(f"{highest} patients of levels before all others have the highest in both.")
    return " ".join(filter(None, said))


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
            late = at_rows(cohort.entry_months, rows)
            values.append(harrell_c(evidence.log_risk[rows], *outcome, entry_months=late))
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
    spread = float(np.std(list(scores.values()), axis=0, ddof=1).mean())  # of (S, B), over S
    try:
        c = [
            fold_concordance(
                evidence.folded[f"seed {name}"],
                cohort.time_months,
                cohort.event,
                stratum=evidence.compared_within,
                entry_months=cohort.entry_months,
            ).estimate
            for name in scores
        ]
    except CohortError as error:
        note = not_estimable(str(error))["note"]
        return {"harrell_c": [], "harrell_c_sd": None, "score_sd": spread, "note": note}
    return {"harrell_c": c, "harrell_c_sd": float(np.std(c, ddof=1)), "score_sd": spread}


def kaplan_meier_section(cohort: Cohort, groups: Labels) -> Json:
    """Return the curves of the score groups and their log-rank test; with delayed entry, of those
    under observation.
    """
    entry = cohort.entry_months
    content: Json = {
        "note": "cut-off: median of each model's own training patients",
        "groups": {},
        "log_rank_p": None,
    }
    for name in ("high", "low"):
        rows = groups == name
        if rows.any():
            late = at_rows(entry, rows)
            curve = kaplan_meier(cohort.time_months[rows], cohort.event[rows], entry_months=late)
            emptied = emptied_at(curve)
            if emptied is not None:
                content["note"] += "; " + emptied_sentence(
                    f"the curve of the group {name}", emptied, curve
                )
            content["groups"][name] = {
                key: [None if v != v else v for v in getattr(curve, key).tolist()]
                for key in ("times", "survival", "low", "high", "at_risk", "events")
            }
    if len(content["groups"]) == 2:
        test = or_not_estimable(
            lambda: {
                "log_rank_p": log_rank(
                    cohort.time_months, cohort.event, groups, entry_months=entry
                ).p
            }
        )
        content["log_rank_p"] = test.get("log_rank_p")
        if test.get("note"):
            content["note"] += f"; log-rank test: {test['note']}"
    return content


def emptied_sentence(what: str, months: float, curve: KaplanMeierCurve) -> str:
    """Return why a curve that is 0 in the middle of follow-up is not to be believed.

    >>> curve = kaplan_meier([1, 5, 6], [1, 1, 0], entry_months=[0, 2, 2])
    >>> emptied_sentence("the curve", 1.0, curve)[:66]
    'the curve is 0 from 1.0 months on, when the one patient under obse'
    """
    at_risk = curve.at_risk[int(np.searchsorted(curve.times, months))]
    who = "the one patient" if at_risk == 1 else f"all {at_risk} patients"
    return (
        f"{what} is 0 from {months:.1f} months on, when {who} under observation had the event:"
        " nobody who is followed later can raise it"
    )
