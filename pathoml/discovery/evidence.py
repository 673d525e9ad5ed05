"""Does a patient's share of a phenotype go with an earlier event? Log-ratios, Cox per SD,
permutation within centres, one family.

A share is part of a whole: its log-ratio to the rest is tested, with half a tile added to both,
adjusted for the clinical covariates and stratified by centre. The p value permutes log-ratios among
patients of a centre; Benjamini-Hochberg runs over everything that was ever tested in this family
(runs/ledger.csv).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pathoml.errors import CohortError
from pathoml.study.cohort import treated
from pathoml.survival.cox import fit_cox, hazard_ratio, likelihood_ratio_test, wald_test
from pathoml.survival.design import fit_design
from pathoml.survival.estimate import Estimate
from pathoml.survival.martingale import martingale_residuals, permutation_p
from pathoml.survival.outcome import at_rows
from pathoml.survival.rare_levels import estimable_columns
from pathoml.types import Array, Cohort

PERMUTATIONS = 1999
HALF_A_TILE = 0.5  # added to both parts, so that an absent phenotype has a log-ratio


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What speaks for one value a patient; None where it could not be estimated."""

    hazard_ratio_sd: Estimate | None  # adjusted and stratified
    p_value: float  # by permutation
    wald_p: float | None
    interaction_p: float | None  # with the treatment; exploratory
    interaction_ratio: float | None  # hazard ratio per SD with the treatment over that without it


def log_ratios(counts: Array) -> Array:
    """Return (B, C) log of each phenotype's tiles over all others.

    Args:
        counts: (B, C) tiles of each patient.

    >>> log_ratios(np.array([[1.0, 1.0]])).tolist()
    [[0.0, 0.0]]
    """
    total = counts.sum(axis=1, keepdims=True)
    ratio: Array = np.log((counts + HALF_A_TILE) / (total - counts + HALF_A_TILE))
    return ratio


def clinical_columns_of(cohort: Cohort, names: Sequence[str]) -> dict[str, list[object]]:
    """Return the named covariates as columns, without a treatment that began under observation."""
    return {
        name: [p.covariates[name] for p in cohort.patients]
        for name in names
        if name not in cohort.later_covariates
    }


def estimable_design(cohort: Cohort, names: Sequence[str]) -> tuple[Array, str]:
    """Return the clinical covariates without levels that have no coefficient, or none where their
    own Cox model, stratified by centre, cannot be fitted; with a sentence.
    """
    columns = clinical_columns_of(cohort, names)
    design = fit_design(columns) if columns else None
    clinical = design.transform(columns) if design else np.empty((len(cohort.patients), 0))
    outcome, within = (cohort.time_months, cohort.event), cohort.centre
    try:
        found = estimable_columns(
            clinical,
            *outcome,
            names=design.names if design else (),
            stratum=within,
            entry_months=cohort.entry_months,
        )
        kept = clinical[:, found.columns]
        fit_cox(kept, *outcome, stratum=within, entry_months=cohort.entry_months)
    except CohortError as error:
        return clinical[
            :, :0
        ], f"Not adjusted for {', '.join(columns)}: their own model is not estimable ({error})"
    return (
        kept,
        f"Adjusted for {', '.join(columns)}, stratified by centre. {found.said}".rstrip()
        if columns
        else "Stratified by centre; study.yaml names no covariates.",
    )


def treatment_arms(cohort: Cohort, column: str | None) -> tuple[Array | None, str]:
    """Return (B,) 1 treated, 0 not, NaN unknown, or None where no interaction can be asked for,
    with a sentence on what was left out.
    """
    if column is None:
        return None, ""
    if column in cohort.later_covariates:
        return (
            None,
            f"Interactions with the treatment are left out: {column!r} began under observation, and"
            " who was treated is who lived to be (immortal time).",
        )
    try:
        arms = treated([p.covariates[column] for p in cohort.patients], column)
    except CohortError as error:
        return None, f"Interactions with the treatment are left out. {error}"
    unknown = np.isnan(arms)
    if len(np.unique(arms[~unknown])) < 2:
        return None, f"Interactions with the treatment are left out: {column!r} does not vary."
    return (
        arms,
        f"Interactions with the treatment are of the patients whose {column!r} is known."
        if unknown.any()
        else "",
    )


def weigh(
    values: Array, cohort: Cohort, clinical: Array, *, arms: Array | None = None, seed: int = 1
) -> list[Evidence]:
    """Test each column of values (B, C) against the outcome.

    Args:
        clinical: (B, p) covariates of the model that each is added to.
        arms: (B,) 1 treated, 0 not, NaN unknown, for the exploratory interaction.
    """
    time, event, centre = cohort.time_months, cohort.event, cohort.centre
    shared: dict[str, Any] = {"stratum": centre, "entry_months": cohort.entry_months}
    base = fit_cox(clinical, time, event, **shared)
    residual = martingale_residuals(clinical @ base.coefficients, time, event, **shared)
    sd = values.std(axis=0, ddof=1)
    scaled = (values - values.mean(axis=0)) / np.where(sd > 0, sd, 1.0)  # (B, C)
    p_values = permutation_p(residual, scaled, centre, permutations=PERMUTATIONS, seed=seed)
    found = []
    for column, p in zip(scaled.T, p_values):
        try:
            fit = fit_cox(np.column_stack([column, clinical]), time, event, **shared)
            ratio, wald = hazard_ratio(fit, 0), wald_test(fit, 0)
        except CohortError:  # constant, or it separates the events
            ratio, wald = None, None
        interaction_p, interaction_ratio = _interaction(column, cohort, clinical, arms)
        found.append(
            Evidence(
                hazard_ratio_sd=ratio,
                p_value=float(p),
                wald_p=wald,
                interaction_p=interaction_p,
                interaction_ratio=interaction_ratio,
            )
        )
    return found


def _interaction(
    value: Array, cohort: Cohort, clinical: Array, arms: Array | None
) -> tuple[float | None, float | None]:
    if arms is None:
        return None, None
    known = ~np.isnan(arms)
    main = np.column_stack([value, arms, clinical])[known]
    time, event = cohort.time_months[known], cohort.event[known]
    shared: dict[str, Any] = {
        "stratum": cohort.centre[known],
        "entry_months": at_rows(cohort.entry_months, known),
    }
    try:
        full = fit_cox(np.column_stack([main, (value * arms)[known]]), time, event, **shared)
        test = likelihood_ratio_test(full, fit_cox(main, time, event, **shared))
        return test.p, float(np.exp(full.coefficients[-1]))
    except CohortError:
        return None, None
