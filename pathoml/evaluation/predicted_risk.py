"""Sections of metrics.json that rest on absolute risks: AUC at horizons, Brier score, calibration,
decision curve.

Every patient's risk comes from a Cox model and a baseline fitted to the patients of the other folds
(first repeat). Where the run has nested scores (training/nested.py), those patients enter with
scores of models that had not seen this fold either. Otherwise the score enters as it stands in
scores.csv, from models that had, and the coefficient of clinical_and_image is slightly optimistic;
`nested_scores` says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from pathoml.errors import CohortError
from pathoml.evaluation.competing_risks import under_observation
from pathoml.evaluation.evidence import Evidence
from pathoml.survival.absolute_risk import cross_fitted_hazard, patterned_folds
from pathoml.survival.brier import MIN_AT_RISK, brier_score, integrated_brier_score
from pathoml.survival.calibration import (
    calibration_curve,
    calibration_slope,
    observed_risk,
    observed_to_expected,
    risk_groups,
)
from pathoml.survival.cox import fit_cox
from pathoml.survival.decision_curve import (
    THRESHOLDS,
    benefit_interval,
    net_benefit,
    net_benefit_draws,
    net_benefit_of_treating_all,
)
from pathoml.survival.design import fit_design
from pathoml.survival.estimate import Estimate, normal_estimate
from pathoml.survival.fold_concordance import WIDENING
from pathoml.survival.not_estimable import json_numbers, not_estimable, or_not_estimable
from pathoml.survival.outcome import at_rows
from pathoml.survival.time_dependent_auc import time_dependent_auc
from pathoml.types import Array, Cohort, Json

Bools = npt.NDArray[np.bool_]
# on standardised columns: keeps a rare category of a small fold finite, as in the clinical baseline
RIDGE = 1.0
GRID_POINTS = 24  # of the integrated Brier score
CURVE_POINTS = 50
GROUPS_BY_EVENTS = (
    (100, 5),
    (30, 3),
)  # (events, groups of the calibration plot): 10 events a group at least
RESTS_ON = {  # how the image scores of the other folds were made: nested, or by score_type
    "nested": (
        "A fold's risks come from a Cox model of the other folds, with nested image scores: no"
        " model that made them saw the fold."
    ),
    "locked": (
        "The score was frozen before: a Cox model of the other folds turns it into risks of these"
        " patients."
    ),
    "external": (
        "The score was made elsewhere, on patients that are not known here: risks that use it are"
        " optimistic if they were these."
    ),
    "oof": (
        "Image scores of the other folds came from models that had seen this one: risks that use"
        " them are slightly optimistic."
    ),
}
WITH_ENTRY = {  # why not, where patients come under observation late
    "AUC": (
        "not estimable: with delayed entry, who had the event before they could come is not here,"
        " and no weight stands for them"
    ),
    "Brier score": (
        "not estimable: with delayed entry, its weights stand for patients lost to follow-up, not"
        " for those who had the event before they could come"
    ),
    "net benefit": (
        "not estimable: with delayed entry, the share of patients above a threshold is that of"
        " those who lived to come, not of those at time zero"
    ),
    "mean risk": (
        "not estimable: with delayed entry, the mean foretold risk is that of patients who lived to"
        " come, the observed one that of everybody from time zero; compare the curve, and observed"
        " over expected events over all follow-up"
    ),
}
MODELS = ("no_model", "clinical", "image", "clinical_and_image")


def risk_sections(evidence: Evidence) -> Json:
    """Return the sections nested_scores, horizons_months, time_dependent_auc, brier,
    integrated_brier, calibration and decision_curve.

    A fold's image scores are nested ones (that no model made which saw that fold's patients) where
    the run has them for every fold; scores that came without folds are divided by pattern.
    """
    cohort, score, counts = evidence.cohort, evidence.score, evidence.draws
    time, event, score_type = cohort.time_months, cohort.event, evidence.score_type
    horizons_months = evidence.config.evaluate.horizons_months
    label, used, models = _models_of(evidence)
    grid = _grid(cohort, horizons_months)
    months = [*horizons_months, *grid]
    hazards, problem = _cross_fitted(models, cohort, label, months)
    risks = {name: -np.expm1(-at_months) for name, (at_months, _) in hazards.items()}

    def each_model(judge: Callable[[str], Any]) -> Json:
        return {name: or_not_estimable(partial(judge, name)) for name in (*hazards, *problem)}

    def risk_of(name: str) -> Array:
        if name in problem:
            raise CohortError(problem[name])
        return risks[name]

    sections: Json = {
        "nested_scores": {
            "used": used is not None,
            "note": RESTS_ON["nested"] if used else RESTS_ON.get(score_type, RESTS_ON["oof"]),
        },
        "horizons_months": list(horizons_months),
        "time_dependent_auc": {},
        "brier": {},
        "decision_curve": {},
    }
    sections["calibration"] = {
        "slope": or_not_estimable(lambda: _slope(evidence)),
        "in_the_large": or_not_estimable(
            lambda: observed_to_expected(_own(hazards, problem, "image"), event)
        ),
        **{name: {} for name in (*hazards, *problem) if name != "no_model"},
    }
    for m, horizon in enumerate(horizons_months):
        key = f"{horizon:g}"
        sections["time_dependent_auc"][key] = or_not_estimable(
            lambda horizon=horizon: (
                _observed_from_zero(cohort, "AUC") and _auc(score, time, event, horizon, counts)
            )  # type: ignore[misc]
        )
        sections["brier"][key] = each_model(
            lambda name, m=m, horizon=horizon: (
                _observed_from_zero(cohort, "Brier score")
                and brier_score(risk_of(name)[:, m], time, event, months=horizon, counts=counts)
            )  # type: ignore[misc]
        )
        for name in sections["calibration"].keys() - {"slope", "in_the_large"}:
            sections["calibration"][name][key] = or_not_estimable(
                lambda name=name, m=m, horizon=horizon: _calibration(
                    risk_of(name)[:, m], cohort, horizon
                )  # type: ignore[misc]
            )
        sections["decision_curve"][key] = _decision_curve(
            {n: r[:, m] for n, r in risks.items() if n != "no_model"}, cohort, horizon, counts
        )
    last = max(range(len(horizons_months)), key=lambda m: horizons_months[m])
    sections["calibration"]["slope_of_risks"] = _slopes(
        hazards, problem, cohort, label=label, horizon=last
    )
    sections["integrated_brier"] = {
        "until_months": grid[-1] if grid else None,
        **each_model(
            lambda name: (
                _observed_from_zero(cohort, "Brier score")
                and _integrated(risk_of(name)[:, len(horizons_months) :], time, event, grid, counts)
            )
        ),
    }
    return sections


def expected_events(evidence: Evidence) -> Array:
    """Return (B,) the events that the image score foretold each patient until their own time: the
    cumulative hazard by a Cox model of the other folds.

    Raises:
        CohortError: the model cannot be fitted.
    """
    label, _, models = _models_of(evidence)
    wanted = {"image": models["image"]}
    hazards, problem = _cross_fitted(wanted, evidence.cohort, label, ())
    return _own(hazards, problem, "image")


@dataclass(frozen=True, kw_only=True)
class Foretold:
    """What a model of the other folds foretold each patient."""

    model: str  # a name of MODELS
    events: Array  # (B,) cumulative hazard from each patient's entry to the patient's own time


def foretold_events(evidence: Evidence) -> Foretold:
    """Return the events foretold by clinical_and_image, or by image where there are no covariates.

    Raises:
        CohortError: neither can be fitted.
    """
    label, _, models = _models_of(evidence)
    hazards, problem = _cross_fitted(models, evidence.cohort, label, ())
    model = "clinical_and_image" if "clinical_and_image" in hazards else "image"
    return Foretold(model=model, events=_own(hazards, problem, model))


def _slopes(
    hazards: Mapping[str, tuple[Array, Array]],
    problem: Mapping[str, str],
    cohort: Cohort,
    *,
    label: npt.NDArray[np.str_],
    horizon: int,
) -> Json:
    """Return by MODEL the slope of its cross-fitted risks: the Cox coefficient of their
    complementary log-log, folds as strata, so that each fold is judged by its own model.

    Args:
        horizon: the column of the hazards whose log is taken; within a fold all are alike.
    """

    def slope(name: str) -> Estimate:
        if name in problem:
            raise CohortError(problem[name])
        hazard = hazards[name][0][:, horizon]
        if not (hazard > 0).all():
            raise CohortError("not estimable: a fold's model foretold no event by the horizon.")
        return calibration_slope(
            np.log(hazard),
            cohort.time_months,
            cohort.event,
            entry_months=cohort.entry_months,
            stratum=label,
            widening=WIDENING,
        )

    names = [n for n in (*hazards, *problem) if n != "no_model"]
    return {name: or_not_estimable(partial(slope, name)) for name in names}


def _models_of(
    evidence: Evidence,
) -> tuple[npt.NDArray[np.str_], Mapping[str, Array] | None, dict[str, Callable[[Bools], Array]]]:
    """Return the folds, the nested scores where every fold has them, and the models."""
    divided = len(set(evidence.fold)) > 1
    label = np.asarray(evidence.fold) if divided else patterned_folds(evidence.cohort.event)
    nested = evidence.nested
    used = nested if nested is not None and set(label.tolist()) <= set(nested) else None
    models = linear_predictors(
        evidence.cohort,
        (lambda train: used[str(label[~train][0])]) if used else lambda _: evidence.score,
        evidence.clinical,
    )
    return label, used, models


def _slope(evidence: Evidence) -> Estimate:
    if not evidence.is_log_hazard:
        raise CohortError(
            "not estimable: the score is on a scale of its own, not known to be that of a log"
            " hazard. If it is one, call its column log_risk and import it again."
        )
    cohort = evidence.cohort
    outcome = cohort.time_months, cohort.event
    return calibration_slope(evidence.log_risk, *outcome, entry_months=cohort.entry_months)


def _auc(score: Array, time: Array, event: Bools, months: float, counts: Array | None) -> Estimate:
    if np.ptp(score) == 0:
        raise CohortError("not estimable: all scores are equal.")
    return time_dependent_auc(score, time, event, months=months, counts=counts)


def _cross_fitted(
    models: Mapping[str, Callable[[Bools], Array]],
    cohort: Cohort,
    label: npt.NDArray[np.str_],
    months: Sequence[float],
) -> tuple[dict[str, tuple[Array, Array]], dict[str, str]]:
    """Return the hazards of each model, and why there are none where it cannot be fitted."""
    hazards: dict[str, tuple[Array, Array]] = {}
    problem: dict[str, str] = {}
    for name, fit in models.items():
        try:
            hazards[name] = cross_fitted_hazard(
                fit,
                cohort.time_months,
                cohort.event,
                fold=label,
                months=months,
                entry_months=cohort.entry_months,
            )
        except CohortError as error:
            problem[name] = str(error)
    return hazards, problem


def _observed_from_zero(cohort: Cohort, what: str) -> bool:
    """Raise CohortError where patients enter late, and a number cannot do without those who had the
    event before they could.
    """
    if cohort.entry_months is not None:
        raise CohortError(WITH_ENTRY[what])
    return True


def _grid(cohort: Cohort, horizons_months: Sequence[float]) -> list[float]:
    """Return even steps up to the last horizon beyond which ten patients are followed."""
    reached = [h for h in horizons_months if under_observation(cohort, h) >= MIN_AT_RISK]
    return [max(reached) * k / GRID_POINTS for k in range(1, GRID_POINTS + 1)] if reached else []


def _integrated(
    risk: Array, time: Array, event: Bools, grid: Sequence[float], counts: Array | None
) -> Any:
    if not grid:
        raise CohortError(
            "not estimable: fewer than 10 patients are followed beyond the first horizon."
        )
    return integrated_brier_score(risk, time, event, months=grid, counts=counts)


def _own(
    hazards: Mapping[str, tuple[Array, Array]], problem: Mapping[str, str], name: str
) -> Array:
    if name in problem:
        raise CohortError(problem[name])
    return hazards[name][1]


def linear_predictors(
    cohort: Cohort, score_of: Callable[[Bools], Array], clinical: Mapping[str, Sequence[object]]
) -> dict[str, Callable[[Bools], Array]]:
    """Return a function for each model that fits it to training rows and returns everyone's linear
    predictor.
    """
    time, event, entry = cohort.time_months, cohort.event, cohort.entry_months

    def fit_with(with_score: bool, with_clinical: bool) -> Callable[[Bools], Array]:
        def fit(train: Bools) -> Array:
            blocks = [score_of(train)[:, None]] if with_score else []
            names = ["score_sd"] if with_score else []
            if with_clinical:
                design = fit_design(
                    {
                        name: [v for v, t in zip(values, train) if t]
                        for name, values in clinical.items()
                    }
                )
                blocks.append(design.transform(clinical))
                names += design.names
            x = np.concatenate([np.empty((len(time), 0)), *blocks], axis=1)
            if not x.shape[1]:
                return np.zeros(len(time))
            fitted = fit_cox(
                x[train],
                time[train],
                event[train],
                ridge=RIDGE if with_clinical else 0.0,
                entry_months=at_rows(entry, train),
                names=names,
            )
            predictor: Array = x @ fitted.coefficients
            return predictor

        return fit

    models = {"no_model": fit_with(False, False), "image": fit_with(True, False)}
    if clinical:
        models |= {"clinical": fit_with(False, True), "clinical_and_image": fit_with(True, True)}
    return {name: models[name] for name in MODELS if name in models}


def _calibration(risk: Array, cohort: Cohort, months: float) -> Json:
    time, event, entry = cohort.time_months, cohort.event, cohort.entry_months
    observed = observed_risk(time, event, months, entry_months=entry)
    expected = float(risk.mean())
    events = int(event.sum())
    curve = or_not_estimable(lambda: _curve(risk, cohort, months))
    shared = {
        "observed": observed.to_json(),
        "curve": {key: curve.get(key) for key in ("predicted", "observed")},
        "integrated_index": curve.get("integrated_index"),
    }
    if entry is not None:
        ratio = not_estimable(WITH_ENTRY["mean risk"])
        return {"expected": None, "observed_to_expected": ratio, "groups": [], **shared}
    groups = next((k for least, k in GROUPS_BY_EVENTS if events >= least), 0)
    member = risk_groups(risk, groups) if groups else np.full(len(risk), -1)
    return {
        "expected": expected,
        "observed_to_expected": or_not_estimable(
            lambda: _ratio(
                observed.estimate, observed.low, observed.high, expected, observed.n, events
            )
        ),
        "groups": [
            {
                "predicted": float(risk[member == g].mean()),
                **or_not_estimable(partial(_observed, time, event, member == g, months)),
            }
            for g in range(groups)
            if (member == g).any()
        ],
        **shared,
    }


def _ratio(
    observed: float, low: float | None, high: float | None, expected: float, n: int, events: int
) -> Any:
    """Observed over expected; the interval is that of the observed risk, as the expected one is
    given.
    """
    if expected <= 0 or observed <= 0:
        raise CohortError("not estimable: no event expected, or none observed, by this horizon.")
    if (
        low is None or high is None or not (low > 0 and high > 0)
    ):  # NaN where a curve has no interval
        return {
            "estimate": observed / expected,
            "low": None,
            "high": None,
            "n": n,
            "events": events,
        }
    middle = normal_estimate(observed / expected, 0.0, n=n, events=events).to_json()
    return {**middle, "low": low / expected, "high": high / expected}


def _observed(time: Array, event: Bools, rows: Bools, months: float) -> Any:
    if (time[rows] > months).sum() < 1:
        raise CohortError(
            f"not estimable: nobody of this group is followed beyond {months:g} months."
        )
    return observed_risk(time[rows], event[rows], months)


def _curve(risk: Array, cohort: Cohort, months: float) -> Json:
    if under_observation(cohort, months) < MIN_AT_RISK:
        raise CohortError(
            f"not estimable: fewer than {MIN_AT_RISK} patients are followed beyond {months:g}"
            " months."
        )
    curve = calibration_curve(
        risk,
        cohort.time_months,
        cohort.event,
        months=months,
        entry_months=cohort.entry_months,
    )
    shown = np.round(np.linspace(0, len(risk) - 1, min(CURVE_POINTS, len(risk)))).astype(int)
    return {
        "predicted": json_numbers(curve.predicted[shown]),
        "observed": json_numbers(curve.observed[shown]),
        "integrated_index": curve.integrated_index,
    }


def _decision_curve(
    risks: Mapping[str, Array], cohort: Cohort, months: float, counts: Array | None
) -> Json:
    """Return net benefit by threshold, and its percentile intervals over draws of patients."""
    time, event = cohort.time_months, cohort.event
    try:
        _observed_from_zero(cohort, "net benefit")
        curves = {
            name: json_numbers(net_benefit(risk, time, event, months=months))
            for name, risk in risks.items()
        }
        everyone = json_numbers(
            net_benefit_of_treating_all(time, event, months, thresholds=THRESHOLDS)
        )
    except CohortError as error:
        return {"note": str(error)}
    content: Json = {"threshold": list(THRESHOLDS), "treat_all": everyone, **curves}
    if counts is not None:
        content["intervals"] = _benefit_intervals(risks, cohort, months, counts)
    return content


def _benefit_intervals(
    risks: Mapping[str, Array], cohort: Cohort, months: float, counts: Array
) -> Json:
    """Return {"low", "high"} by threshold of each model, of treating everybody, and of what the
    score adds to the clinical model's net benefit.
    """
    everyone = {"treat_all": np.ones(len(cohort.patients)), **risks}
    draws = {
        name: net_benefit_draws(
            risk, cohort.time_months, cohort.event, months=months, counts=counts
        )
        for name, risk in everyone.items()
    }
    found = {name: benefit_interval(drawn) for name, drawn in draws.items()}
    if {"clinical", "clinical_and_image"} <= draws.keys():
        added = draws["clinical_and_image"] - draws["clinical"]
        found["clinical_and_image_minus_clinical"] = benefit_interval(added)
    return {
        name: {"low": json_numbers(low), "high": json_numbers(high)}
        for name, (low, high) in found.items()
    }
