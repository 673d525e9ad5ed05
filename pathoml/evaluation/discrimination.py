"""Step `evaluate`: what the out-of-fold scores are worth, against whom, and with which caveats: metrics.json.

Sections of metrics.json beside the concordances. An EST is {"estimate", "low", "high", "n", "events"}, with "note" where it is not
estimable; H is a horizon as "12", "24", ... months; MODEL is no_model, clinical, image or clinical_and_image, out-of-fold absolute risks.

    nested_scores           {"used", "note"}   whether the models below were fitted to nested scores (nested.py)
    horizons_months         [12, 24, ...]
    time_dependent_auc      {H: EST}                                        of the score; cumulative cases, dynamic controls
    brier                   {H: {MODEL: EST}}, integrated_brier: {"until_months", MODEL: EST}
    calibration             {"slope": EST, "in_the_large": EST, MODEL: {H: {"expected", "observed": EST, "observed_to_expected": EST,
                             "groups": [{"predicted", "estimate", "low", "high", "n", "events"}], "curve": {"predicted", "observed"}}}}
    decision_curve          {H: {"threshold": [], "treat_all": [], MODEL: []}}     net benefit; treat none is 0
    hazard_ratio_per_sd, hazard_ratio_per_sd_centre_stratified      EST with wald_p, likelihood_ratio_p
    proportional_hazards    {"score": {"chi2", "df", "p_value"}, "with_clinical": [{"covariate", "chi2", "df", "p_value"}, ...]}
    spline                  {"chi2", "df", "p_value", "knots", "curve": {"score", "hazard_ratio", "low", "high"}}
    subgroups               [{"expression", "score": EST, "complement": EST, "treatment": EST, "chi2", "p_value", "q_value"}]
    treatment_interaction   {"treatment", "interaction": EST, "chi2", "p_value", "overlap_weighted": EST,
                             "balance": [{"covariate", "before", "after"}], "exploratory", "verdict",
                             "effect_curve": {"score", "quantile", "hazard_ratio", "low", "high"}}
    competing_risks         {"cumulative_incidence": {"event" | "competing": {"times", "incidence", "low", "high"}}, "at": {H: {same: EST}},
                             "cause_specific": {same: EST}}
    restricted_mean         {"until_months", "high": EST, "low": EST, "difference": EST, "p_value"}
    heterogeneity           {"patients", "shift": EST, "shift_p", "agreement", "agreement_p"}    of primary and metastasis of one patient
    prospective             {"harrell_c", "slope", "in_the_large", "hazard_ratio_per_sd": EST}   of a locked score
    power                   {"detectable_hazard_ratio_per_sd", "detectable_interaction", "c_half_width", "affordable_parameters",
                             "parameters", "over_budget"}
    seeds                   {"harrell_c": [one a seed], "harrell_c_sd", "score_sd", "note"}      how much the score moves with the seed
    multiplicity            {"family", "size", "tests": [{"hypothesis", "p_value", "q_value"}]}
    prognostic_score        {"points": [{"variable", "value", "points"}], "totals": [{"points", "risk": {H: x}}],
                             "baseline_survival": {H: x},
                             "coefficients": [{"name", "coefficient"}], "log_hazard_per_point", "n", "events"}
    included_excluded       [{"variable", "included", "excluded", "difference"}]
    timing                  {"rows", "delayed_entry", "treated_under_observation", "hazard_ratio_per_sd": EST,
                             "treatment_hazard_ratio": EST}
    missing                 [{"covariate", "missing", "share"}]
    leaks                   {"centre_from_embeddings": {"balanced_accuracy", "chance"}, "centre_from_score": {"share", "p_value"},
                             "harrell_c_within": {"centre" | "subtype" | "specimen" | "organ": EST}, "gain_over_subtype",
                             "rank_correlation": {"tile_count" | "mpp": {"rho", "p_value"}}}
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pathoml.config import Study
from pathoml.errors import CohortError, StoreError
from pathoml.evaluation.analysis_plan import read_analysis_plan
from pathoml.evaluation.included_excluded import included_against_excluded
from pathoml.evaluation.interactions import (
    competing_section,
    form_sections,
    interaction_sections,
    planning_sections,
    restricted_mean_section,
)
from pathoml.evaluation.leaks import leak_section
from pathoml.evaluation.locked_scores import prospective_section
from pathoml.evaluation.nomogram import prognostic_score
from pathoml.evaluation.predicted_risk import risk_sections
from pathoml.evaluation.start_stop import timing_section
from pathoml.store.scores import read_columns
from pathoml.store.tables import parse_number, read_study_table, read_table
from pathoml.study.cohort import share_treated, treated
from pathoml.survival.concordance import (
    draw_counts,
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
from pathoml.training.baselines import clinical_columns
from pathoml.training.nested import read_nested
from pathoml.training.scoring import SEEDS
from pathoml.types import Array, Cohort, Json

LEAK_C = 0.75  # an internal C above this raises an alarm (from slides alone, out of fold, 0.60-0.65 is to be expected)
UNO_QUANTILE = 0.9  # tau is this quantile of follow-up, so that a few late patients do not carry the weights
INTERVAL_NOTE = (
    "95 % interval by bootstrap over patients within centres, conditional on the fitted models: it leaves out that other training "
    "data would give other models."
)
CAVEAT = "Wald and likelihood-ratio p values on out-of-fold scores are anticonservative; the permutation p is the test."
CAVEATS = {  # by score_type; any other is out of fold
    "locked": "The score was frozen before these outcomes were seen: Wald and likelihood-ratio p values hold.",
    "external": "The score was made elsewhere: Wald and likelihood-ratio p values hold only if it learned from none of these outcomes.",
    "insample": "The score learned from these very outcomes: no p value of it means anything.",
}


def read_score_table(study: Study, cohort: Cohort) -> tuple[Cohort, dict[str, Array], list[str], Json]:
    """Read scores.csv and baselines.csv beside the cohort.

    Returns:
        The cohort in the order of scores.csv, the columns score_sd, log_risk, ridge_cox and clinical (if there), score_group,
        and the counts of slides and tiles.

    Raises:
        StoreError: the tables are missing or name other patients than the cohort.
    """
    from dataclasses import replace

    tables: dict[str, dict[str, Mapping[str, str]]] = {}
    for name in ("scores.csv", "baselines.csv"):
        if not (study.run_folder / name).exists():
            if name == "baselines.csv" and tables["scores.csv"] and _all_locked(tables["scores.csv"]):
                tables[name] = {p: {} for p in tables["scores.csv"]}  # `predict` trains no baseline beside a locked score
                continue
            raise StoreError(f"{study.run_folder / name} is missing. Run `pathoml train` first.")
        tables[name] = {row["patient_id"]: row for row in read_table(study.run_folder / name).rows}
    known = {p.patient_id: p for p in cohort.patients}
    scores, baselines = tables["scores.csv"], tables["baselines.csv"]
    if set(scores) - set(known) or set(baselines) != set(scores):
        raise StoreError(f"{study.run_folder}/scores.csv names other patients than patients.csv. Run `pathoml train` again.")
    ids = [p for p in known if p in scores]
    left_out = tuple((p, "no slide could be embedded") for p in known if p not in scores)
    cohort = replace(cohort, patients=tuple(known[p] for p in ids), excluded=cohort.excluded + left_out)
    columns = {name: _numbers(scores[p][name] for p in ids) for name in ("score_sd", "log_risk", "n_tiles", "n_slides")}
    for name in ("ridge_cox", "clinical"):
        if all(baselines[p].get(name) for p in ids):
            columns[name] = _numbers(baselines[p][name] for p in ids)
    counts = {"slides": int(columns["n_slides"].sum()), "tiles": int(columns["n_tiles"].sum())}
    described = {"score_type": scores[ids[0]]["score_type"], "fold": [scores[p].get("fold", "").split(";")[0] for p in ids]}
    return cohort, columns, [scores[p]["score_group"] for p in ids], {**counts, **described}


def _all_locked(scores: Mapping[str, Mapping[str, str]]) -> bool:
    return all(row["score_type"] == "locked" for row in scores.values())


def _numbers(cells: Any) -> Array:
    return np.array([parse_number(c) for c in cells], dtype=np.float64)


def metrics(study: Study, cohort: Cohort, columns: dict[str, Array], groups: Sequence[str], counts: Json) -> Json:
    """Return the content of metrics.json.

    Args:
        cohort: in the order of the columns.
        columns: score_sd, log_risk, n_tiles, ridge_cox and (if there are covariates) clinical, (B,) each.
        groups: "high" or "low" a patient, by cut-offs of the training folds.
    """
    config = study.config.significance
    time_months, event, centre, score = cohort.time_months, cohort.event, cohort.centre, columns["score_sd"]
    draw: Json = {"bootstraps": config.bootstraps, "seed": 1, "resample_within": centre}
    tau = float(np.quantile(time_months, UNO_QUANTILE))
    caveat = CAVEATS.get(counts["score_type"], CAVEAT)

    def interval(values: Array, **options: Any) -> Json:
        return or_not_estimable(lambda: harrell_c_interval(values, time_months, event, **draw, **options))

    def within(name: str) -> Estimate:
        rows = centre == name
        return harrell_c_interval(score[rows], time_months[rows], event[rows], bootstraps=config.bootstraps, seed=1)

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
        "harrell_c_fold_mean": _fold_mean(study, cohort, columns["log_risk"]),
        "harrell_c_by_centre": {str(c): or_not_estimable(lambda c=c: within(c)) for c in np.unique(centre)},  # type: ignore[misc]
        "uno_c": or_not_estimable(lambda: uno_c_interval(score, time_months, event, tau=tau, **draw)),
        "ridge_cox": {
            "harrell_c": interval(columns["ridge_cox"]),
            "harrell_c_centre_stratified": interval(columns["ridge_cox"], stratum=centre),
        }
        if "ridge_cox" in columns
        else {k: not_estimable("the scores were imported, without embeddings") for k in ("harrell_c", "harrell_c_centre_stratified")},
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
        "seeds": _seeds(study, cohort),
    }
    content["hazard_ratio_per_sd"] = or_not_estimable(lambda: _hazard_ratio(score[:, None], cohort, caveat))
    content["added_value"] = or_not_estimable(lambda: _added_value(score, cohort, draw, caveat))
    content["kaplan_meier"] = _kaplan_meier(cohort, np.array(groups))
    content |= _further_sections(study, cohort, columns, groups, counts)
    content["flow"] = _flow(cohort, counts)
    content["leaks"], shortcuts = leak_section(study, cohort, score, columns["n_tiles"], content["harrell_c"]["estimate"])
    content["alarms"] = _alarms(content) + shortcuts
    return content


def _further_sections(study: Study, cohort: Cohort, columns: dict[str, Array], groups: Sequence[str], counts: Json) -> Json:
    """Return the sections of predicted_risk.py and effects.py."""
    config, score, clinical = study.config, columns["score_sd"], clinical_columns(cohort)
    horizons = config.evaluate.horizons_months
    rows = {row["patient_id"]: row for row in read_study_table(study, "patients").rows}
    table = {name: [rows[p][name] for p in cohort.patient_ids] for name in next(iter(rows.values()))}
    treatment = config.cohort.treatment
    reasons = {name: values for name, values in clinical.items() if name != treatment}
    draws = draw_counts(len(score), config.significance.bootstraps, 1, cohort.centre)
    share = share_treated(treated(table[treatment], treatment)) if treatment else None
    return {
        **risk_sections(
            cohort,
            columns,
            clinical,
            counts.get("fold", [""] * len(score)),
            horizons,
            draws if len(draws) else None,
            read_nested(study.run_folder, cohort.patient_ids),
            counts["score_type"],
        ),
        **form_sections(cohort, score, clinical),
        **interaction_sections(
            cohort,
            score,
            reasons,
            treatment,
            {name: [parsed(v) for v in values] for name, values in table.items()},
            config.evaluate.subgroups,
            read_analysis_plan(study.folder),
            study.folder / "runs",
            config.run,
        ),
        "prospective": prospective_section(study, cohort, score, counts["score_type"]),
        "competing_risks": competing_section(cohort, score, horizons),
        "timing": timing_section(cohort, score),
        "prognostic_score": or_not_estimable(lambda: prognostic_score(cohort, score, clinical, horizons)),
        "included_excluded": included_against_excluded(
            rows, cohort.patient_ids, [p for p, _ in cohort.excluded], [config.cohort.centre, *clinical, config.endpoint.event]
        )
        if cohort.excluded
        else [],
        "restricted_mean": restricted_mean_section(cohort, groups, horizons),
        **planning_sections(cohort, clinical, share),
    }


def parsed(cell: str) -> float | str | None:
    """Return a cell as a number if it is one, None if it is empty.

    >>> parsed("61,5"), parsed("LMS"), parsed("")
    (61.5, 'LMS', None)
    """
    number = parse_number(cell)
    return number if number is not None else cell or None


def _hazard_ratio(covariates: Array, cohort: Cohort, caveat: str) -> Json:
    fit = fit_cox(covariates, cohort.time_months, cohort.event)
    last = covariates.shape[1] - 1
    likelihood_ratio = likelihood_ratio_test(fit, fit_cox(covariates[:, :0], cohort.time_months, cohort.event)) if last == 0 else None
    tests = {"wald_p": wald_test(fit, last), "likelihood_ratio_p": likelihood_ratio.p if likelihood_ratio else None, "note": caveat}
    return {**hazard_ratio(fit, last).to_json(), **tests}


def _added_value(score: Array, cohort: Cohort, draw: Json, caveat: str) -> Json:
    """Clinical against clinical + score on the same rows; fitted and judged on all of them, which the note says."""
    columns = clinical_columns(cohort)
    design = fit_design(columns) if columns else None
    clinical = design.transform(columns) if design else np.zeros((len(score), 0))
    if not clinical.shape[1]:
        raise CohortError("no clinical covariates in study.yaml (cohort.covariates)")
    rows, kept = without_eventless_levels(clinical, cohort.event)
    time, event = cohort.time_months[rows], cohort.event[rows]
    names = [name for name, k in zip(design.names if design else (), kept) if k]
    reduced = fit_cox(clinical[rows][:, kept], time, event, names=names)
    full = fit_cox(np.column_stack([clinical[:, kept], score])[rows], time, event, names=[*names, "the image score"])
    test = likelihood_ratio_test(full, reduced)

    def predictor(fit: CoxFit, x: Array) -> Array:
        values = np.round(x @ fit.coefficients, 10)  # equal covariates are equal risks, whatever the order of a sum
        return np.where(rows, values, values[rows].min() - 1)  # nobody is lower than a hazard of 0

    delta = harrell_c_difference(
        predictor(full, np.column_stack([clinical[:, kept], score])),
        predictor(reduced, clinical[:, kept]),
        cohort.time_months,
        cohort.event,
        **draw,
    )
    eventless = "" if rows.all() else f" {(~rows).sum()} patients of levels without an event have a hazard of 0 in both models."
    return {
        "likelihood_ratio_chi2": test.chi2,
        "df": test.df,
        "p_value_anticonservative": test.p,
        "delta_harrell_c": delta.to_json(),
        "hazard_ratio_per_sd": hazard_ratio(full, int(kept.sum())).to_json(),
        "note": f"{caveat} The change of C is apparent: both models are fitted and judged on the same patients.{eventless}",
    }


def _fold_mean(study: Study, cohort: Cohort, log_risk: Array) -> float | None:
    """The mean over folds of C within the fold's test patients, first repeat; needs a comparable pair in each fold."""
    from pathoml.study.splits import read_splits

    values = []
    if not (study.run_folder / "splits.json").exists():
        return None
    for fold in read_splits(study.run_folder / "splits.json")[0].folds:
        rows = np.isin(cohort.patient_ids, fold.test)
        try:
            values.append(harrell_c(log_risk[rows], cohort.time_months[rows], cohort.event[rows]))
        except CohortError:
            return None
    return float(np.mean(values))


def _seeds(study: Study, cohort: Cohort) -> Json:
    """How much C and the score move when only one seed is trained, as many publications do; SD with n - 1."""
    scores = read_columns(study.run_folder / SEEDS, cohort.patient_ids, "seed ")
    if not scores or len(scores) < 2:
        return {"harrell_c": [], "harrell_c_sd": None, "score_sd": None, "note": "fewer than two seeds were trained (train.seeds)"}
    c = [harrell_c(values, cohort.time_months, cohort.event) for values in scores.values()]
    spread = np.std(list(scores.values()), axis=0, ddof=1)  # (B,)
    return {"harrell_c": c, "harrell_c_sd": float(np.std(c, ddof=1)), "score_sd": float(spread.mean())}


def _kaplan_meier(cohort: Cohort, groups: npt.NDArray[np.str_]) -> Json:
    content: Json = {"note": "cut-off: median of each model's own training patients", "groups": {}, "log_rank_p": None}
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
        message = f"Internal C is {c:.2f}, above {LEAK_C}. Progression is rarely that predictable: look for a leak before believing it."
        alarms.append({"name": "leak", "message": message})
    ridge = content["ridge_cox"]["harrell_c"]["estimate"]
    if c is not None and ridge is not None and ridge > c:
        message = f"Ridge Cox on mean embeddings (C {ridge:.2f}) does better than attention ({c:.2f})."
        alarms.append({"name": "baseline", "message": message})
    return alarms
