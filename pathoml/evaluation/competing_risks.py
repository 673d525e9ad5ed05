"""Sections competing_risks and restricted_mean of metrics.json."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pathoml.errors import CohortError
from pathoml.survival.brier import MIN_AT_RISK
from pathoml.survival.competing_risks import cumulative_incidence, incidence_at, incidence_interval
from pathoml.survival.cox import fit_cox, hazard_ratio
from pathoml.survival.estimate import Estimate, widened_ratio
from pathoml.survival.not_estimable import json_numbers, not_estimable, or_not_estimable
from pathoml.survival.outcome import at_rows
from pathoml.survival.restricted_mean import restricted_mean, restricted_mean_difference
from pathoml.types import Array, Cohort, Json


def competing_section(
    cohort: Cohort, score: Array, horizons_months: Sequence[float], *, widening: float = 1.0
) -> Json:
    """Return cumulative incidences and cause-specific hazard ratios, or a note where no event is a
    competing one.

    Args:
        widening: of the score's error where these patients trained it, for the event that it was
            trained on.
    """
    time, code = cohort.time_months, np.array([p.event for p in cohort.patients])
    entry = cohort.entry_months
    if not (code == 2).any():
        return {"note": "no competing event (code 2) in the event column"}
    section: Json = {
        "cumulative_incidence": {},
        "at": {f"{h:g}": {} for h in horizons_months},
        "cause_specific": {},
    }
    for name, cause in (("event", 1), ("competing", 2)):
        section["cause_specific"][name] = _cause_specific(
            cohort, score, code == cause, widening if cause == 1 else 1.0
        )
        try:
            curve = cumulative_incidence(time, code, cause, entry_months=entry)
        except CohortError as error:
            section["cumulative_incidence"][name] = not_estimable(str(error))
            continue
        low, high = incidence_interval(curve.incidence, curve.standard_error)
        drawn = {"times": curve.times, "incidence": curve.incidence, "low": low, "high": high}
        section["cumulative_incidence"][name] = {
            key: json_numbers(values) for key, values in drawn.items()
        }
        for horizon in horizons_months:
            followed = under_observation(cohort, horizon) >= MIN_AT_RISK
            section["at"][f"{horizon:g}"][name] = (
                incidence_at(curve, horizon).to_json()
                if followed
                else not_estimable(f"fewer than {MIN_AT_RISK} followed beyond {horizon:g} months")
            )
    return section


def _cause_specific(
    cohort: Cohort, score: Array, of_cause: npt.NDArray[np.bool_], widening: float
) -> Json:
    def ratio() -> Estimate:
        fit = fit_cox(
            score[:, None],
            cohort.time_months,
            of_cause,
            entry_months=cohort.entry_months,
            names=["score_sd"],
        )
        return widened_ratio(hazard_ratio(fit, 0), widening)

    return or_not_estimable(ratio)


def under_observation(
    cohort: Cohort, months: float, rows: npt.NDArray[np.bool_] | None = None
) -> int:
    """Return how many are followed beyond these months, and had come under observation by then."""
    followed = cohort.time_months > months
    if cohort.entry_months is not None:
        followed &= cohort.entry_months <= months
    return int((followed if rows is None else followed & rows).sum())


def restricted_mean_section(
    cohort: Cohort, groups: Sequence[str], horizons_months: Sequence[float]
) -> Json:
    """Return event-free months of the high- and the low-risk group up to the last horizon that both
    are followed to.
    """
    time, event, label = cohort.time_months, cohort.event, np.asarray(groups)
    entry = cohort.entry_months
    both = [label == "high", label == "low"]
    reached = [
        h
        for h in horizons_months
        if all(under_observation(cohort, h, rows) >= MIN_AT_RISK for rows in both)
    ]
    if not reached:
        why = f"no horizon beyond which {MIN_AT_RISK} patients of both score groups are followed"
        return {
            "until_months": None,
            "high": None,
            "low": None,
            "difference": not_estimable(why),
            "p_value": None,
        }
    until = max(reached)

    def compare() -> Json:
        high, low = (
            restricted_mean(time[rows], event[rows], until, entry_months=at_rows(entry, rows))
            for rows in both
        )
        difference, p = restricted_mean_difference(high, low)
        return {
            "high": high.estimate().to_json(),
            "low": low.estimate().to_json(),
            "difference": difference.to_json(),
            "p_value": p if p == p else None,
        }

    return {"until_months": until, **or_not_estimable(compare)}
