"""Points and absolute risks from clinical covariates and the image score: a nomogram as a table,
for research.

The model is fitted to all patients with their out-of-fold image scores: the scores of a
cross-validation within the patients of the fit, so that the score is not overfitted where its
coefficient is estimated. How well the whole procedure does on new patients is judged by the
cross-fitted risks of predicted_risk.py (calibration, Brier score, decision curve), never on the
rows of this fit.

Source: Harrell, Regression Modeling Strategies, 2nd ed. (2015), section 4.10; Breslow's baseline as
in survival/absolute_risk.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_UP, Context
from typing import Any

import numpy as np

from pathoml.evaluation.competing_risks import under_observation
from pathoml.survival.absolute_risk import baseline_hazard
from pathoml.survival.brier import MIN_AT_RISK
from pathoml.survival.cox import fit_cox
from pathoml.survival.design import CategoryColumn, fit_design
from pathoml.types import Array, Cohort

RIDGE = 1.0  # on standardised columns, as in the clinical baseline: keeps a rare level finite
MOST_POINTS = 100.0  # of the variable with the widest effect
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)  # of a number, at which its points are listed
TOTALS = 9  # rows of the table of totals
HALF_UP = Context(prec=2, rounding=ROUND_HALF_UP)  # analysis.R rounds the listed values likewise
IMAGE_SCORE = "image score (SD)"


def prognostic_score(
    cohort: Cohort,
    score: Array,
    clinical: Mapping[str, Sequence[object]],
    *,
    horizons_months: Sequence[float],
) -> dict[str, Any]:
    """Return points of each value, and the risk at each horizon of each total.

    Returns:
        {"points": [{"variable", "value", "points"}], "totals": [{"points", "risk": {H: x}}],
        "baseline_survival": {H: S of 0 points}, "coefficients": [{"name", "coefficient"}],
        "log_hazard_per_point", "n", "events"}; H beyond which fewer than ten are followed is left
        out.

    Raises:
        CohortError: no event, or nothing that varies.
    """
    columns: dict[str, Sequence[object]] = {**clinical, IMAGE_SCORE: [float(s) for s in score]}
    design = fit_design(columns)
    x = design.transform(columns)  # (B, p)
    outcome, entry = (cohort.time_months, cohort.event), cohort.entry_months
    fit = fit_cox(x, *outcome, ridge=RIDGE, names=design.names, entry_months=entry)
    baseline = baseline_hazard(x @ fit.coefficients, *outcome, entry_months=entry)
    effects: dict[str, list[tuple[str, float]]] = {}
    for column in design.columns:
        shown = _values(column, columns[column.name])
        row = {
            name: [None if name != column.name else value for value in shown.values()]
            for name in columns
        }
        own = [
            k
            for k, name in enumerate(design.names)
            if name == column.name or name.startswith(f"{column.name}=")
        ]
        effect = design.transform(row)[:, own] @ fit.coefficients[own]
        effects[column.name] = list(zip(shown, effect.tolist()))
    lowest = {name: min(e for _, e in values) for name, values in effects.items()}
    per_point = (
        max(max(e for _, e in values) - lowest[name] for name, values in effects.items())
        / MOST_POINTS
    )
    per_point = per_point or 1.0
    zero = sum(lowest.values())
    horizons = [h for h in horizons_months if under_observation(cohort, h) >= MIN_AT_RISK]

    def risk(total: float) -> dict[str, float]:
        return {
            f"{h:g}": float(-np.expm1(-baseline.at(h) * np.exp(zero + per_point * total)))
            for h in horizons
        }

    totals = (x @ fit.coefficients - zero) / per_point
    grid = np.unique(
        np.round(np.linspace(np.quantile(totals, 0.02), np.quantile(totals, 0.98), TOTALS))
    )
    return {
        "points": [
            {"variable": name, "value": value, "points": (e - lowest[name]) / per_point}
            for name, values in effects.items()
            for value, e in values
        ],
        "totals": [{"points": float(total), "risk": risk(float(total))} for total in grid],
        "baseline_survival": {h: 1 - r for h, r in risk(0.0).items()},
        "log_hazard_per_point": per_point,
        "coefficients": [
            {"name": name, "coefficient": float(b)}
            for name, b in zip(design.names, fit.coefficients)
        ],
        "n": len(score),
        "events": int(cohort.event.sum()),
        "note": (
            "Fitted to all patients with out-of-fold image scores (ridge 1 on standardised "
            "covariates). Judge it by the cross-fitted calibration and Brier score of clinical + "
            "image, not by this fit."
        ),
    }


def _values(column: Any, cells: Sequence[object]) -> dict[str, object]:
    """Return the values whose points are listed, by the text that stands for them."""
    if isinstance(column, CategoryColumn):
        return {
            level: None if level == "missing" else level
            for level in (column.reference, *column.levels)
        }
    known = np.array([float(c) for c in cells if isinstance(c, int | float)], dtype=np.float64)
    return {f"{q:g}": q for q in sorted({_two_digits(q) for q in np.quantile(known, QUANTILES)})}


def _two_digits(value: float) -> float:
    """Return a number as people round it, to two digits, a half up; what a quantile's last bit says
    does not decide.

    >>> _two_digits(3.55), _two_digits(3.45), _two_digits(-0.0125), _two_digits(0.0)
    (3.6, 3.5, -0.013, 0.0)
    """
    return float(HALF_UP.create_decimal(f"{value:.11e}"))
