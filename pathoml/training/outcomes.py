"""What models learn from: the outcome of one endpoint for the patients of a cohort, so that models
of several endpoints can be trained on the same bags.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pathoml.study.endpoints import SecondaryEndpoint
from pathoml.training.model_stack import ModelSpec
from pathoml.types import Array, Bools, Cohort

PRIMARY = ""  # the name of the primary endpoint in a ModelSpec


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One endpoint of B patients; who lacks it has no event and must be in no model's training."""

    time_months: Array  # (B,)
    event: Bools  # (B,)
    entry_months: Array  # (B,)

    @property
    def late_entry_months(self) -> Array | None:
        """(B,) as Cohort.entry_months: None where nobody came late."""
        return self.entry_months if self.entry_months.any() else None


Outcomes = Mapping[str, Outcome]  # of each endpoint by its name; the primary one is the cohort's


def outcome_of(cohort: Cohort) -> Outcome:
    """Return the outcome that a cohort holds."""
    entry = np.array([p.entry_months for p in cohort.patients], dtype=np.float64)
    return Outcome(time_months=cohort.time_months, event=cohort.event, entry_months=entry)


def outcomes_of(endpoints: Sequence[SecondaryEndpoint]) -> dict[str, Outcome]:
    """Return the outcomes of secondary endpoints, in the primary cohort's order."""
    found = {}
    for endpoint in endpoints:
        own, patients = outcome_of(endpoint.cohort), len(endpoint.known)
        spread = {
            "time_months": np.ones(patients),  # a number, which no model looks at
            "event": np.zeros(patients, dtype=bool),
            "entry_months": np.zeros(patients),
        }
        for name, values in spread.items():
            values[endpoint.known] = getattr(own, name)
        found[endpoint.name] = Outcome(**spread)
    return found


def endpoint_specs(specs: Sequence[ModelSpec], endpoint: SecondaryEndpoint) -> list[ModelSpec]:
    """Return the same models, trained for another endpoint by those of their patients who have
    it.
    """
    chosen = set(endpoint.cohort.patient_ids)
    return [
        replace(spec, endpoint=endpoint.name, train=tuple(p for p in spec.train if p in chosen))
        for spec in specs
    ]
