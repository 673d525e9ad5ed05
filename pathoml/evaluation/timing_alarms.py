"""What a reader must know of timing before the headline: who came under observation late, and whose
treatment began on the way.

Source: Suissa, Am J Epidemiol 167 (2008) 492-499 (immortal time); Tsai, Jewell & Wang, Biometrika
74 (1987) 883-886 (Kaplan-Meier with delayed entry).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pathoml.evaluation.discrimination import emptied_sentence
from pathoml.survival.estimate import interval_text
from pathoml.survival.kaplan_meier import emptied_at, kaplan_meier
from pathoml.types import Cohort, Json, TreatmentStart

LEAST_AT_RISK = 10  # under observation at an event: with fewer, one event moves a curve by a tenth


def timing_alarms(cohort: Cohort, timing: Mapping[str, Any]) -> list[Json]:
    """Return the alarms, the gravest first.

    Args:
        timing: the section of metrics.json.
    """
    alarms = [
        {"name": name, "message": message}
        for start in cohort.treatment_starts
        for name, message in _of_treatment(start, cohort, timing)
    ]
    return alarms + _of_entry(cohort, timing)


def _of_treatment(
    start: TreatmentStart, cohort: Cohort, timing: Mapping[str, Any]
) -> list[tuple[str, str]]:
    found, column = [], repr(start.column)
    if not start.dated and start.treated:
        found.append(
            (
                "treatment_without_dates",
                f"{start.treated} of {len(cohort.patients)} patients are treated ({column}), and"
                " study.yaml names no column with the day it began (dates.treatment), or one that"
                " is of something else. If it began after time zero for some, they had to live to"
                f" receive it: every number with {column} as a covariate is then biased by immortal"
                " time.",
            )
        )
    if start.later:
        found.append(("immortal_time", _immortal(start, timing)))
    if start.undated or start.contradicted:
        found.append(
            (
                "treatment_dates",
                f"{column} and its date contradict each other: {start.undated} treated without a"
                f" date, who count as untreated where time matters, and {start.contradicted}"
                " untreated with a date within follow-up, who count as treated from then on."
                " Correct the table.",
            )
        )
    return found


def _immortal(start: TreatmentStart, timing: Mapping[str, Any]) -> str:
    column, after = repr(start.column), start.after_follow_up
    began = (
        f"{start.later} of {start.treated} treated patients began {column} under observation, the"
        f" middle one after {start.median_months:.1f} months"
        + (f" ({after} not before their event or last visit)" if after else "")
    )
    if start.by_landmark:
        return (
            f"{began}: {column} is what had begun by the landmark; who began later counts as"
            " untreated in every model but that of start-stop rows."
        )
    ratio = timing.get("treatment_hazard_ratio") or {}
    value = ratio.get("estimate")
    own = (
        f" Its hazard ratio, untreated until it began, is"
        f" {interval_text(value, ratio.get('low'), ratio.get('high'))}."
        if value is not None
        else ""
    )
    return (
        f"{began}: who was treated is who lived to be (immortal time). As a covariate from time"
        f" zero it would be biased, so it is left out of the clinical model, its risks and the"
        f" nomogram, and enters subgroups and the interaction by start-stop rows; overlap weights"
        f" are not estimable.{own}"
    )


def _of_entry(cohort: Cohort, timing: Mapping[str, Any]) -> list[Json]:
    entry = cohort.entry_months
    if entry is None:
        return []
    alarms = [
        {
            "name": "delayed_entry",
            "message": (
                f"{timing['delayed_entry']} of {len(cohort.patients)} patients came under"
                f" observation after time zero, the middle one after"
                f" {timing['median_entry_months']:.1f} months; who had the event before is not"
                " here. Curves, hazards and risks count each patient from then on; the AUC, the"
                " Brier score, net benefit and observed over expected risk at a horizon are not"
                " estimable."
                + (
                    f" Nobody is observed before {entry.min():.1f} months: everything is given no"
                    " event until then."
                    if entry.min() > 0
                    else ""
                )
            ),
        }
    ]
    curve = kaplan_meier(cohort.time_months, cohort.event, entry_months=entry)
    emptied = emptied_at(curve)
    early = np.flatnonzero((curve.events > 0) & (curve.at_risk < LEAST_AT_RISK))
    before = [k for k in early if curve.at_risk[k + 1 :].max(initial=0) >= LEAST_AT_RISK]
    if emptied is not None:
        sentence = emptied_sentence("The curve of all patients", emptied, curve)
        remedy = (
            "Count time from a landmark (dates.landmark_months) at which enough patients are under"
            " observation."
        )
        alarms.append({"name": "risk_set_empty", "message": f"{sentence}. {remedy}"})
    elif before:
        last = before[-1]
        alarms.append(
            {
                "name": "few_at_risk_early",
                "message": (
                    f"Until {curve.times[last]:.1f} months fewer than {LEAST_AT_RISK} patients are"
                    f" under observation ({len(before)} events, the first with"
                    f" {curve.at_risk[before[0]]} at risk): each moves every curve and risk from"
                    " time zero. Count time from a landmark (dates.landmark_months)."
                ),
            }
        )
    return alarms
