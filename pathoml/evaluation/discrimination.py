"""Step `evaluate`: what the out-of-fold scores are worth, against whom, and with which caveats:
metrics.json.

Sections of metrics.json beside the concordances. An EST is {"estimate", "low", "high", "n",
"events"}, with "note" where it is not estimable; H is a horizon as "12", "24", ... months; MODEL is
no_model, clinical, image or clinical_and_image, out-of-fold absolute risks.

    nested_scores           {"used", "note"}   whether the models below use nested scores
    horizons_months         [12, 24, ...]
    time_dependent_auc      {H: EST}   of the score; cumulative cases, dynamic controls
    brier                   {H: {MODEL: EST}}, integrated_brier: {"until_months", MODEL: EST}
    calibration             {"slope": EST, "in_the_large": EST, MODEL: {H: {"expected",
                             "observed": EST, "observed_to_expected": EST,
                             "groups": [{"predicted", "estimate", "low", "high", "n", "events"}],
                             "curve": {"predicted", "observed"}}}}
    decision_curve          {H: {"threshold": [], "treat_all": [], MODEL: []}}   net benefit; treat
                             none is 0
    hazard_ratio_per_sd, hazard_ratio_per_sd_centre_stratified   EST with wald_p, likelihood_ratio_p
    proportional_hazards    {"score": {"chi2", "df", "p_value"},
                             "with_clinical": [{"covariate", "chi2", "df", "p_value"}, ...]}
    spline                  {"chi2", "df", "p_value", "knots",
                             "curve": {"score", "hazard_ratio", "low", "high"}}
    subgroups               [{"expression", "score": EST, "complement": EST, "treatment": EST,
                             "chi2", "p_value", "q_value"}]
    treatment_interaction   {"treatment", "interaction": EST, "chi2", "p_value",
                             "overlap_weighted": EST, "balance": [{"covariate", "before", "after"}],
                             "exploratory", "verdict",
                             "effect_curve": {"score", "quantile", "hazard_ratio", "low", "high"}}
    competing_risks         {"cumulative_incidence": {"event" | "competing":
                             {"times", "incidence", "low", "high"}}, "at": {H: {same: EST}},
                             "cause_specific": {same: EST}}
    restricted_mean         {"until_months", "high": EST, "low": EST, "difference": EST, "p_value"}
    heterogeneity           {"patients", "shift": EST, "shift_p", "agreement", "agreement_p"}   of
                             primary and metastasis of one patient
    prospective             {"harrell_c", "slope", "in_the_large", "hazard_ratio_per_sd": EST}   of
                             a locked score
    power                   {"detectable_hazard_ratio_per_sd", "detectable_interaction",
                             "c_half_width", "affordable_parameters", "parameters", "over_budget"}
    seeds                   {"harrell_c": [one a seed], "harrell_c_sd", "score_sd", "note"}   how
                             much the score moves with the seed
    multiplicity            {"family", "size", "tests": [{"hypothesis", "p_value", "q_value"}]}
    prognostic_score        {"points": [{"variable", "value", "points"}],
                             "totals": [{"points", "risk": {H: x}}],
                             "baseline_survival": {H: x}, "coefficients": [{"name", "coefficient"}],
                             "log_hazard_per_point", "n", "events"}
    included_excluded       [{"variable", "included", "excluded", "difference"}]
    timing                  {"rows", "delayed_entry", "treated_under_observation",
                             "hazard_ratio_per_sd": EST, "treatment_hazard_ratio": EST}
    missing                 [{"covariate", "missing", "share"}]
    leaks                   {"centre_from_embeddings": {"balanced_accuracy", "chance"},
                             "centre_from_score": {"share", "p_value"},
                             "harrell_c_within": {"centre" | "subtype" | "specimen" | "organ": EST},
                             "gain_over_subtype",
                             "rank_correlation": {"tile_count" | "mpp": {"rho", "p_value"}}}
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pathoml.config import Study
from pathoml.errors import CohortError
from pathoml.store.scores import SEEDS, read_columns
from pathoml.survival.concordance import harrell_c, harrell_c_difference
from pathoml.survival.cox import CoxFit, fit_cox, hazard_ratio, likelihood_ratio_test, wald_test
from pathoml.survival.design import fit_design, without_eventless_levels
from pathoml.survival.kaplan_meier import kaplan_meier, log_rank
from pathoml.training.baselines import clinical_columns
from pathoml.types import Array, Cohort, Json

UNO_QUANTILE = (
    0.9  # tau is this quantile of follow-up, so that a few late patients do not carry the weights
)


def score_hazard_ratio(covariates: Array, cohort: Cohort, caveat: str) -> Json:
    fit = fit_cox(covariates, cohort.time_months, cohort.event)
    last = covariates.shape[1] - 1
    likelihood_ratio = (
        likelihood_ratio_test(fit, fit_cox(covariates[:, :0], cohort.time_months, cohort.event))
        if last == 0
        else None
    )
    tests = {
        "wald_p": wald_test(fit, last),
        "likelihood_ratio_p": likelihood_ratio.p if likelihood_ratio else None,
        "note": caveat,
    }
    return {**hazard_ratio(fit, last).to_json(), **tests}


def added_value(score: Array, cohort: Cohort, draw: Json, *, caveat: str) -> Json:
    """Clinical against clinical + score on the same rows; fitted and judged on all of them, which
    the note says.
    """
    columns = clinical_columns(cohort)
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
        **draw,
    )
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


def fold_mean(study: Study, cohort: Cohort, log_risk: Array) -> float | None:
    """The mean over folds of C within the fold's test patients, first repeat; needs a comparable
    pair in each fold.
    """
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


def seed_section(study: Study, cohort: Cohort) -> Json:
    """How much C and the score move when only one seed is trained, as many publications do; SD with
    n - 1.
    """
    scores = read_columns(study.run_folder / SEEDS, cohort.patient_ids, "seed ")
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


def kaplan_meier_section(cohort: Cohort, groups: npt.NDArray[np.str_]) -> Json:
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
