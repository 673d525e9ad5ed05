"""Sections power and missing of metrics.json: what this many patients and events can show."""

from __future__ import annotations

from collections.abc import Callable

from pathoml.errors import CohortError
from pathoml.survival.design import parameters_with_score
from pathoml.survival.power import (
    affordable_parameters,
    c_standard_error,
    detectable_hazard_ratio,
    detectable_interaction,
    over_budget,
)
from pathoml.types import Cohort, Columns, Json

NORMAL_QUANTILE = 1.959963984540054  # half-width of a 95 % interval in standard errors


def planning_sections(
    cohort: Cohort, clinical: Columns, treated_share: float | None, *, widening: float
) -> Json:
    """Return what n and events can show (power), and the table of missing values.

    Args:
        widening: of the score's standard errors: sqrt(2) where these patients trained it.
    """
    n, events = len(cohort.patients), int(cohort.event.sum())
    share = 0.5 if treated_share is None else treated_share
    parameters = parameters_with_score(clinical)
    power: Json = {
        "events": events,
        "treated_share": share,
        "affordable_parameters": affordable_parameters(n, events),
    }
    power |= {"parameters": parameters, "over_budget": over_budget(n, events, parameters)}
    numbers: dict[str, Callable[[], float]] = {
        "detectable_hazard_ratio_per_sd": lambda: detectable_hazard_ratio(
            events, widening=widening
        ),
        "detectable_interaction": lambda: detectable_interaction(events, treated_share=share),
        "c_half_width": lambda: (
            NORMAL_QUANTILE
            * widening
            * c_standard_error(cohort.time_months, cohort.event, entry_months=cohort.entry_months)
        ),
    }
    for name, compute in numbers.items():
        try:
            power[name] = compute()
        except CohortError as error:
            power[name], power["note"] = None, str(error)
    missing = {
        name: sum(value is None or value == "" or value != value for value in values)
        for name, values in clinical.items()
    }
    return {
        "power": power,
        "missing": [
            {"covariate": name, "missing": count, "share": count / n}
            for name, count in missing.items()
        ],
    }
