"""Does the score say who gains from a treatment (predictive), or only who does badly (prognostic)?

A Cox model with treatment, score and their product; the product's likelihood ratio is the test.
Because treatment was given for reasons, the same model is fitted with overlap weights and a robust
variance, and both must agree before the word predictive is used.

Source: Royston & Sauerbrei, Stat Med 23 (2004) 2509-2525; Li, Morgan & Zaslavsky, JASA 113 (2018)
390-400. Checked against R coxph(weights =, robust = TRUE) in
tests/survival/test_agreement_with_r.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from pathoml.errors import CohortError
from pathoml.survival.cox import (
    CoxFit,
    LikelihoodRatio,
    fit_cox,
    hazard_ratio,
    likelihood_ratio_test,
    robust_covariance,
)
from pathoml.survival.estimate import Estimate, normal_estimate
from pathoml.survival.outcome import at_rows, checked_entry, checked_outcome, checked_score
from pathoml.survival.propensity import overlap_weights, propensity, standardised_differences
from pathoml.survival.rare_levels import estimable_columns
from pathoml.types import Array

CURVE_QUANTILES = tuple(k / 20 for k in range(1, 20))
# events with and without the treatment; below this a product has no stable coefficient
MIN_PER_ARM = 10
LEVEL = 0.05
PRODUCT_NAMES = ("treatment", "score_sd", "treatment x score_sd")  # of the last three columns


@dataclass(frozen=True, kw_only=True)
class TreatmentInteraction:
    """The ratio of hazard ratios per unit of the score, with and without weights, and the
    treatment's effect along the score.
    """

    interaction: Estimate  # adjusted for the covariates, unweighted
    test: LikelihoodRatio
    overlap_weighted: Estimate  # robust interval
    before: Array  # (p,) standardised differences of the covariates
    after: Array  # (p,) the same, weighted
    score: Array  # (19,) at the 5th to 95th percentile
    hazard_ratio: Array  # of the treatment there, weighted model
    low: Array
    high: Array

    @property
    def shown(self) -> bool:
        """Whether the test and the weighted interval both speak for an interaction."""
        low, high = self.overlap_weighted.low, self.overlap_weighted.high
        return (
            self.test.p < LEVEL and low is not None and high is not None and (low > 1 or high < 1)
        )


def treatment_interaction(
    score: npt.ArrayLike,
    treated: npt.ArrayLike,
    covariates: npt.ArrayLike,
    *,
    time_months: npt.ArrayLike,
    event: npt.ArrayLike,
    entry_months: npt.ArrayLike | None = None,
) -> TreatmentInteraction:
    """Test treatment x score, and draw the treatment's hazard ratio along the score.

    Args:
        score: (B,) higher means earlier event.
        treated: (B,) 0 or 1.
        covariates: (B, p) reasons for the treatment, without missing values; the score is added to
            them.
        time_months: (B,) months to the event or the last visit.
        event: (B,) bool or 0/1.
        entry_months: (B,) when observation began; None: at time zero for all.

    Raises:
        CohortError: fewer than 10 events with or without the treatment, or patients who do not
            overlap.
    """
    time, seen = checked_outcome(time_months, event)
    s, given = checked_score(score, len(time)), checked_score(treated, len(time), "treatment")
    x = np.asarray(covariates, dtype=np.float64)
    reasons = np.column_stack([x, s])
    weight = overlap_weights(propensity(reasons, given), given)
    full, test = _adjusted(s, given, x, time, seen, entry_months)
    product = np.column_stack([given, s, given * s])
    compared = weight > 0  # whoever has a weight of 0 was certain to be treated as they were
    late = at_rows(checked_entry(entry_months, time), compared)
    rows, outcome = product[compared], (time[compared], seen[compared])
    weighted = fit_cox(
        rows, *outcome, weight=weight[compared], entry_months=late, names=PRODUCT_NAMES
    )
    covariance = robust_covariance(
        weighted, rows, outcome[0], event=outcome[1], weight=weight[compared], entry_months=late
    )
    ratio = normal_estimate(
        float(weighted.coefficients[2]),
        float(np.sqrt(covariance[2, 2])),
        n=len(time),
        events=int(seen.sum()),
        exponential=True,
    )
    at = np.quantile(s, CURVE_QUANTILES)
    effect = weighted.coefficients[0] + weighted.coefficients[2] * at
    error = np.sqrt(covariance[0, 0] + 2 * at * covariance[0, 2] + at**2 * covariance[2, 2])
    reach = stats.norm.ppf(0.975) * error
    return TreatmentInteraction(
        interaction=hazard_ratio(full, full.coefficients.size - 1),
        test=test,
        overlap_weighted=ratio,
        before=standardised_differences(reasons, given),
        after=standardised_differences(reasons, given, weight),
        score=at,
        hazard_ratio=np.exp(effect),
        low=np.exp(effect - reach),
        high=np.exp(effect + reach),
    )


def interaction_on_the_way(
    score: npt.ArrayLike,
    treated: npt.ArrayLike,
    covariates: npt.ArrayLike,
    *,
    start_months: npt.ArrayLike,
    stop_months: npt.ArrayLike,
    event: npt.ArrayLike,
) -> tuple[Estimate, LikelihoodRatio]:
    """Return the interaction with a treatment that begins under observation, and its test.

    Args:
        score: (R,) of the patient of each start-stop row.
        treated: (R,) 0 or 1 during the row.
        covariates: (R, p) of the patient.
        start_months: (R,) when the row begins.
        stop_months: (R,) when it ends.
        event: (R,) bool or 0/1, at its end.

    Raises:
        CohortError: fewer than 10 events with or without the treatment.
    """
    stop, seen = checked_outcome(stop_months, event)
    s, given = checked_score(score, len(stop)), checked_score(treated, len(stop), "treatment")
    x = np.asarray(covariates, dtype=np.float64)
    full, test = _adjusted(s, given, x, stop, seen, start_months)
    return hazard_ratio(full, full.coefficients.size - 1), test


def _adjusted(
    score: Array,
    given: Array,
    x: Array,
    time: Array,
    seen: npt.NDArray[np.bool_],
    entry_months: npt.ArrayLike | None,
) -> tuple[CoxFit, LikelihoodRatio]:
    """Return the fit of covariates, treatment, score and their product, the product last, and the
    test of the product. A level that has no coefficient leaves the covariates (rare_levels.py).
    """
    events = int(seen[given == 1].sum()), int(seen[given == 0].sum())
    if min(events) < MIN_PER_ARM:
        raise CohortError(
            f"not estimable: {events[0]} events with the treatment and {events[1]} without; it"
            f" needs {MIN_PER_ARM} in each."
        )
    names = [f"column {k}" for k in range(x.shape[1])]
    found = estimable_columns(x, time, seen, names=names, entry_months=entry_months)
    main = np.column_stack([x[:, found.columns], given, score])
    shared: dict[str, Any] = {"stratum": found.stratum, "entry_months": entry_months}
    kept = [name for name, stays in zip(names, found.columns) if stays]
    labels = [*kept, *PRODUCT_NAMES]
    product = np.column_stack([main, given * score])
    full = fit_cox(product, time, seen, names=labels, **shared)
    reduced = fit_cox(main, time, seen, names=labels[:-1], **shared)
    return full, likelihood_ratio_test(full, reduced)


def verdict(result: TreatmentInteraction, score_effect: Estimate, *, planned: bool) -> str:
    """Return the sentence for the report: prognostic or not, predictive or not shown, and how sure
    one may be.
    """
    prognostic = (
        score_effect.low is not None
        and score_effect.high is not None
        and (score_effect.low > 1 or score_effect.high < 1)
    )
    known = "The score is prognostic" if prognostic else "The score is not shown to be prognostic"
    if not result.shown:
        return f"{known}; it is not shown to be predictive of the treatment's effect."
    if not planned:
        return (
            f"{known}; an interaction with the treatment was seen, which is exploratory: no stamped"
            " analysis plan named it."
        )
    return (
        f"{known}, and predictive by the planned test; treatment was not randomised, so unmeasured"
        " reasons remain."
    )
