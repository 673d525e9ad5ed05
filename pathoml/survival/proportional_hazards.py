"""The proportional-hazards test: does a coefficient change with time? The score test of R's cox.zph
(survival >= 3.0).

The model gets a second copy of each covariate, multiplied by g(t), with coefficient zero; the test
asks whether the likelihood would rise if it moved. g is one minus the Kaplan-Meier estimate just
before t, R's default. lifelines tests an approximation of it that assumes a constant variance, and
differs by up to 0.24.

Source: Grambsch & Therneau, Biometrika 81 (1994) 515-526; Therneau, R survival 3.5, cox.zph and its
C code zph1, zph2. Checked against R in tests/survival/test_agreement_with_r.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from pathoml.errors import CohortError
from pathoml.survival.cox import CoxFit, RiskSets
from pathoml.survival.kaplan_meier import kaplan_meier
from pathoml.survival.outcome import checked_entry, checked_groups, checked_outcome
from pathoml.types import Array


class ProportionalHazards(NamedTuple):
    """The chi2, its degrees of freedom and the p value of one covariate or of all together."""

    chi2: float
    df: int
    p: float


def proportional_hazards_test(
    fit: CoxFit,
    covariates: npt.ArrayLike,
    time_months: npt.ArrayLike,
    *,
    event: npt.ArrayLike,
    stratum: npt.ArrayLike | None = None,
    entry_months: npt.ArrayLike | None = None,
    terms: Sequence[Sequence[int]] | None = None,
) -> tuple[list[ProportionalHazards], ProportionalHazards]:
    """Test each covariate, and all of them together.

    Args:
        fit: Cox model of the same rows, fitted without a penalty.
        covariates: (B, p).
        time_months: (B,) months to the event or the last visit.
        event: (B,) bool or 0/1.
        stratum: (B,) labels, as the model was fitted.
        entry_months: (B,), as the model was fitted.
        terms: columns that belong together, such as the levels of a category; None tests each
            column.

    Raises:
        CohortError: events at a single time, at which nothing can change.
    """
    time, seen = checked_outcome(time_months, event)
    x, p = np.asarray(covariates, dtype=np.float64), len(fit.coefficients)
    strata = (
        np.zeros(len(time), dtype=np.int64)
        if stratum is None
        else checked_groups(stratum, len(time), "stratum")
    )
    entry = checked_entry(entry_months, time)
    if len(np.unique(time[seen])) < 2:
        raise CohortError("A proportional-hazards test needs events at two times or more.")
    moment = 1 - _survival_before(time, seen, entry)
    moment = moment - moment[seen].mean()
    scale = np.where(x.std(axis=0) > 0, x.std(axis=0), 1.0)
    standard = (
        x - x.mean(axis=0)
    ) / scale  # (B, p) the test does not depend on units; its matrices' rounding does
    gradient, information = np.zeros(p), np.zeros((2 * p, 2 * p))
    for part in RiskSets(time, seen, strata, entry=entry).strata:
        _, weight = part.weights(x @ fit.coefficients)
        rows, g = standard[part.rows], moment[part.rows][part.event_rows]  # (B, p), (E,)
        inverse = 1 / part.at_risk(weight)
        means = part.at_risk(weight[:, None] * rows) * inverse[:, None]  # (E, p)
        gradient += g @ (rows[part.event_rows] - means)
        for power, (top, left) in enumerate([(0, 0), (0, p), (p, p)]):
            jump = part.event_weight * g**power  # (E,)
            block = (rows * (weight * part.run_up(jump * inverse))[:, None]).T @ rows - (
                jump[:, None] * means
            ).T @ means
            information[top : top + p, left : left + p] += block
    information[p:, :p] = information[:p, p:].T
    groups = [[k] for k in range(p)] if terms is None else [list(term) for term in terms]
    return [_score_test(gradient, information, columns) for columns in groups], _score_test(
        gradient, information, list(range(p))
    )


def _score_test(gradient: Array, information: Array, columns: list[int]) -> ProportionalHazards:
    p = len(gradient)
    kept = [*range(p), *(p + k for k in columns)]
    score = np.concatenate([np.zeros(p), gradient[columns]])
    chi2 = float(score @ np.linalg.solve(information[np.ix_(kept, kept)], score))
    return ProportionalHazards(
        chi2=chi2, df=len(columns), p=float(stats.chi2.sf(chi2, len(columns)))
    )


def _survival_before(time: Array, event: npt.NDArray[np.bool_], entry: Array | None) -> Array:
    """Return the Kaplan-Meier estimate just before each row's time, over all strata, (B,)."""
    curve = kaplan_meier(time, event, entry_months=entry)
    at: Array = np.append(1.0, curve.survival)[np.searchsorted(curve.times, time, side="left")]
    return at
