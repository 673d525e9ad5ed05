"""What models learn from: the outcome of one endpoint for the patients of a cohort, with strata and
offset, so that models of several endpoints can be trained on the same bags.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pathoml.errors import CohortError
from pathoml.study.endpoints import SecondaryEndpoint
from pathoml.survival.design import MISSING, is_missing
from pathoml.survival.outcome import at_rows
from pathoml.training.clinical_part import ClinicalPart, clinical_columns, clinical_part
from pathoml.training.model_stack import ModelSpec
from pathoml.types import Array, Bools, Cohort

PRIMARY = ""  # the name of the primary endpoint in a ModelSpec
CENTRE = "centre"  # as train.strata has it, whatever the column is called
NOBODY_COMPARED = (
    "the strata leave no event with anybody else at risk in its stratum, so that nothing can be"
    " learned within them. Use fewer or larger strata (train.strata), or null."
)
TWO_VALUES = 2  # of a number that is a category all the same: 0 and 1


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One endpoint of B patients; who lacks it has no event and must be in no model's training."""

    time_months: Array  # (B,)
    event: Bools  # (B,)
    entry_months: Array  # (B,)
    stratum: npt.NDArray[np.int64] | None = None  # (B,) risk sets do not cross it; None = one
    offset: Array | None = None  # (B,) log-risk that one model is told of; None = nothing

    def at(self, rows: npt.NDArray[np.int64]) -> dict[str, Any]:
        """Return what a Cox model of some rows is to be told beside times and events: entry_months,
        stratum and offset, as `fit_cox` and `fit_ridge_cox` name them.
        """
        return {
            "entry_months": at_rows(self.late_entry_months, rows),
            "stratum": at_rows(self.stratum, rows),
            "offset": at_rows(self.offset, rows),
        }

    @property
    def late_entry_months(self) -> Array | None:
        """(B,) as Cohort.entry_months: None where nobody came late."""
        return self.entry_months if self.entry_months.any() else None


Outcomes = Mapping[str, Outcome]  # of each endpoint by its name; the primary one is the cohort's


class Lessons:
    """What each model of a run learns from: its endpoint's outcome, the strata of the loss, and,
    for a model of the offset score, what the covariates say by a clinical model of that model's own
    training rows.

    Whatever fits models asks here, so that outcome, strata and offset stay with the patient whose
    bag was permuted, and are of the sample where patients were drawn.
    """

    def __init__(
        self, cohort: Cohort, strata: str | None = None, *, outcomes: Outcomes | None = None
    ) -> None:
        """Take the patients, in the order of their bags.

        Args:
            strata: the key train.strata.
            outcomes: of the endpoints that the specs name, beside the cohort's own.

        Raises:
            CohortError: as `strata_of`.
        """
        stratum = strata_of(cohort, strata)
        known = {PRIMARY: outcome_of(cohort), **(outcomes or {})}
        self._known = {name: replace(one, stratum=stratum) for name, one in known.items()}
        self._ids = cohort.patient_ids
        self._place = {p: row for row, p in enumerate(self._ids)}
        self._columns = clinical_columns(cohort)
        self._parts: dict[object, ClinicalPart] = {}
        self._compared: dict[object, bool] = {}

    def rows(self, spec: ModelSpec) -> npt.NDArray[np.int64]:
        """Return the rows of the cohort that a model learns from, each as often as drawn."""
        return spec.copies(np.array([self._place[p] for p in spec.train]))

    def patients(self, rows: npt.NDArray[np.int64]) -> tuple[str, ...]:
        """Return who stands in some rows of the cohort, each once."""
        return tuple(self._ids[row] for row in np.unique(rows))

    def clinical(self, spec: ModelSpec) -> ClinicalPart:
        """Return what the covariates say, learned on a model's training rows.

        Raises:
            CohortError: no covariates, or no event among them.
        """
        key = spec.endpoint, tuple(spec.train), spec.drawn
        if key not in self._parts:
            outcome = self._known[spec.endpoint]
            self._parts[key] = clinical_part(
                self._columns,
                outcome.time_months,
                outcome.event,
                rows=self.rows(spec),
                entry_months=outcome.late_entry_months,
            )
        return self._parts[key]

    def refusal(self, specs: Sequence[ModelSpec]) -> str:
        """Return why the strata leave one of these models nothing to learn from, "" if they do
        not: no event with anybody else at risk in its stratum.
        """
        for spec in specs:
            key = spec.endpoint, tuple(spec.train), spec.drawn
            if key not in self._compared:
                outcome = self._known[spec.endpoint]
                self._compared[key] = outcome.stratum is None or _is_anyone_compared(
                    outcome, self.rows(spec)
                )
            if not self._compared[key]:
                return f"{spec.repeat}, fold {spec.fold}: {NOBODY_COMPARED}"
        return ""

    def of(self, spec: ModelSpec) -> Outcome:
        """Return what a model learns, of all patients of the cohort; its rows are `rows`.

        Raises:
            CohortError: as `refusal` says.
        """
        if refusal := self.refusal([spec]):
            raise CohortError(refusal)
        outcome = self._known[spec.endpoint]
        return replace(outcome, offset=self.clinical(spec).log_risk) if spec.offset else outcome

    def offsets(self, specs: Sequence[ModelSpec]) -> Array | None:
        """Return (M, B) offsets of models that learn alike, None where they have none."""
        if not specs[0].offset:
            return None
        return np.stack([self.clinical(spec).log_risk for spec in specs])


def _is_anyone_compared(outcome: Outcome, rows: npt.NDArray[np.int64]) -> bool:
    """Return whether an event of some rows has another patient at risk in its stratum."""
    mine = np.unique(rows)
    time, entry = outcome.time_months[mine], outcome.entry_months[mine]
    stratum = at_rows(outcome.stratum, mine)
    if stratum is None:
        return True
    at_risk = (time[None, :] >= time[:, None]) & (entry[None, :] < time[:, None])
    others = (at_risk & (stratum[None, :] == stratum[:, None])).sum(axis=1) - 1  # (n,)
    return bool((outcome.event[mine] & (others > 0)).any())


def strata_of(cohort: Cohort, name: str | None) -> npt.NDArray[np.int64] | None:
    """Return (B,) the number of each patient's stratum, None for no strata. Who lacks the covariate
    is in a stratum of the like.

    Args:
        name: centre, or a covariate of the cohort that is a category.

    Raises:
        CohortError: no such covariate, one that is a number, or a treatment that began later.
    """
    if name is None:
        return None
    if name == CENTRE and name not in cohort.patients[0].covariates:
        return _numbered(cohort.centre.tolist())
    known = list(cohort.patients[0].covariates)
    if name not in known:
        raise CohortError(
            f"train.strata is {name!r}, which is neither 'centre' nor one of cohort.covariates"
            f" ({', '.join(known) or 'none'}). Name one of these, or null."
        )
    if name in cohort.later_covariates:
        raise CohortError(
            f"train.strata is {name!r}, a treatment that began under observation: at time zero"
            " nobody knows who gets it. Name a covariate that is known then, or null."
        )
    values = [p.covariates[name] for p in cohort.patients]
    numbers = {v for v in values if not is_missing(v) and not isinstance(v, str)}
    if len(numbers) > TWO_VALUES:
        raise CohortError(
            f"train.strata is {name!r}, a number with {len(numbers)} values. Strata are categories:"
            " add it to cohort.categorical if its numbers are names, or divide it into classes in a"
            " column of its own."
        )
    return _numbered([MISSING if is_missing(v) else str(v).strip() for v in values])


def _numbered(labels: Sequence[str]) -> npt.NDArray[np.int64]:
    return np.unique(np.array(labels, dtype=str), return_inverse=True)[1].astype(np.int64)


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
