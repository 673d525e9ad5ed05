"""Does the score travel? C and observed over expected events of every hospital, pooled by random
effects, with an interval for the next hospital.

A hospital's C counts pairs of its own patients that one model scored; its error is that of
`survival.fold_concordance`, so that the doubling of the variance of trained scores is in it.
Expected events come from a Cox model of the other folds, those of a locked score from its own
baseline. What the next hospital is to a score depends on who trained it, which `meaning` says.

Source: Debray et al., BMJ 356 (2017) i6460; Snell et al., Stat Methods Med Res 27 (2018) 3505-3522.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pathoml.errors import CohortError
from pathoml.evaluation.evidence import Evidence
from pathoml.evaluation.locked_scores import locked_expected_events
from pathoml.evaluation.predicted_risk import expected_events
from pathoml.survival.calibration import observed_to_expected
from pathoml.survival.concordance import MIN_EVENTS, MIN_PATIENTS
from pathoml.survival.estimate import Estimate
from pathoml.survival.fold_concordance import fold_concordance
from pathoml.survival.not_estimable import not_estimable, or_not_estimable
from pathoml.survival.outcome import at_rows
from pathoml.survival.random_effects import (
    PooledHospitals,
    pool_concordance,
    pool_observed_to_expected,
)
from pathoml.types import Array, Json, Labels, Split

Bools = npt.NDArray[np.bool_]

ONE_CENTRE = "not estimable: all patients are of one centre; how far hospitals differ is not known."
METHOD = (
    "Random effects over hospitals (REML; Hartung-Knapp with t of k - 1 degrees of freedom, never"
    ' narrower than without heterogeneity: metafor\'s test = "adhoc"), C on the logit, observed'
    " over expected events on the log scale. Prediction interval of the next hospital: Higgins,"
    ' Thompson & Spiegelhalter, t with k - 2 (metafor\'s pi.type = "riley").'
)
MEANINGS = {  # by what the models knew of a hospital when they scored it
    "new": "Every hospital was scored by models of the other hospitals, to which it was new.",
    "known": (
        "The models that scored a hospital had other patients of it in training. The intervals say"
        " how far the hospitals of this study lie apart; a hospital that no model has seen may lie"
        " farther (splits.scheme: leave_one_centre_out asks that)."
    ),
    "locked": "No patient of these hospitals trained the locked model.",
    "external": "Whether patients of these hospitals trained the score is not known here.",
    "insample": "The score was trained on these very patients: nothing here foretells a hospital.",
}
WHERE = {
    "new": "In a new hospital of this kind",
    "known": "In a hospital of this kind, of which other patients were in training,",
    "locked": "In a new hospital of this kind",
    "external": "If the score learned from none of these hospitals, in a new one of this kind",
    "insample": "In a hospital whose own patients trained the score",
}


@dataclass(frozen=True, kw_only=True)
class _Hospital:
    """What one hospital gives to the pooling: where a number is None, its estimate says why."""

    n: int
    events: int
    c: Json  # an estimate
    c_error: float | None  # None where its C is not pooled
    expected: float | None
    ratio: Json  # an estimate

    @property
    def has_c(self) -> bool:
        return self.c_error is not None

    @property
    def has_ratio(self) -> bool:
        return self.ratio["estimate"] is not None


def between_centres_section(evidence: Evidence) -> Json:
    """Return every hospital's C and observed over expected events, their means, tau^2, I^2 and
    prediction intervals, and a sentence on the next hospital.
    """
    centre = evidence.cohort.centre
    names = np.unique(centre)
    meaning = _meaning(evidence)
    if len(names) < 2:
        return {
            "centres": {},
            "harrell_c": not_estimable(ONE_CENTRE),
            "observed_to_expected": not_estimable(ONE_CENTRE),
            "meaning": MEANINGS[meaning],
            "method": METHOD,
            "sentence": ONE_CENTRE.removeprefix("not estimable: ").capitalize(),
            "left_out": "",
        }
    try:
        locked = locked_expected_events(evidence)
        expected, problem = (expected_events(evidence) if locked is None else locked), ""
    except CohortError as error:
        expected, problem = None, str(error)
    hospitals = {
        str(name): _hospital(evidence, centre == name, expected, problem) for name in names
    }
    with_c = [h for h in hospitals.values() if h.has_c]
    with_ratio = [h for h in hospitals.values() if h.has_ratio]
    c = or_not_estimable(
        lambda: _pooled(
            with_c,
            pool_concordance([h.c["estimate"] for h in with_c], [h.c_error or 0.0 for h in with_c]),
        )
    )
    ratio = or_not_estimable(
        lambda: _pooled(
            with_ratio,
            pool_observed_to_expected(
                [h.events for h in with_ratio], [h.expected or 0.0 for h in with_ratio]
            ),
        )
    )
    return {
        "centres": {name: _shown(h) for name, h in hospitals.items()},
        "harrell_c": c,
        "observed_to_expected": ratio,
        "meaning": MEANINGS[meaning],
        "method": METHOD,
        "sentence": _sentence(c, ratio, WHERE[meaning]),
        "left_out": _left_out(hospitals),
    }


def trained_elsewhere(splits: Sequence[Split], patient_ids: Sequence[str], centre: Labels) -> bool:
    """Return whether no fold's model had patients of a hospital that it scored.

    >>> from pathoml.types import Fold
    >>> folds = (Fold(name="A", train=("3", "4"), test=("1", "2")),)
    >>> split = Split(name="r1", seed=1, folds=folds)
    >>> trained_elsewhere([split], ["1", "2", "3", "4"], np.array(["A", "A", "B", "B"]))
    True
    >>> trained_elsewhere([split], ["1", "2", "3", "4"], np.array(["A", "B", "B", "B"]))
    False
    """
    of = dict(zip(patient_ids, centre.tolist()))
    return bool(splits) and all(
        not {of.get(p) for p in fold.train if p in of} & {of[p] for p in fold.test if p in of}
        for split in splits
        for fold in split.folds
    )


def _meaning(evidence: Evidence) -> str:
    if not evidence.was_cross_validated:
        return evidence.score_type if evidence.score_type in MEANINGS else "external"
    cohort = evidence.cohort
    elsewhere = trained_elsewhere(evidence.splits, cohort.patient_ids, cohort.centre)
    return "new" if elsewhere or evidence.score_type == "loco" else "known"


def _hospital(evidence: Evidence, rows: Bools, expected: Array | None, problem: str) -> _Hospital:
    event = evidence.cohort.event[rows]
    c, error = _c_of(evidence, rows)

    def ratio() -> Estimate:
        if expected is None:
            raise CohortError(problem)
        if not event.any():
            raise CohortError("no event was seen, so that the mean of the others leans upwards")
        return observed_to_expected(expected[rows], event)

    return _Hospital(
        n=int(rows.sum()),
        events=int(event.sum()),
        c=c,
        c_error=error,
        expected=None if expected is None else float(expected[rows].sum()),
        ratio=or_not_estimable(ratio),
    )


def _c_of(evidence: Evidence, rows: Bools) -> tuple[Json, float | None]:
    """Return a hospital's C and its standard error; None where it cannot be pooled."""
    cohort, event = evidence.cohort, evidence.cohort.event[rows]
    if len(event) < MIN_PATIENTS or event.sum() < MIN_EVENTS:
        return not_estimable(f"fewer than {MIN_PATIENTS} patients or {MIN_EVENTS} events"), None
    try:
        found = fold_concordance(
            evidence.folded["image"].rows(rows),
            cohort.time_months[rows],
            event,
            entry_months=at_rows(cohort.entry_months, rows),
        )
        interval = found.interval()
    except CohortError as refused:
        return not_estimable(str(refused)), None
    if not 0 < found.estimate < 1 or not found.standard_error > 0:
        why = f"C is {found.estimate:g} of pairs that all say the same: its error is not known"
        return not_estimable(why), None
    return interval.to_json(), found.standard_error


def _pooled(hospitals: Sequence[_Hospital], pooled: PooledHospitals) -> Json:
    return {
        "estimate": pooled.estimate,
        "low": pooled.low,
        "high": pooled.high,
        "n": sum(h.n for h in hospitals),
        "events": sum(h.events for h in hospitals),
        "prediction_low": pooled.prediction_low,
        "prediction_high": pooled.prediction_high,
        "hospitals": pooled.hospitals,
        "standard_error": pooled.standard_error,
        "tau2": pooled.tau2,
        "i2": pooled.i2,
        "q": pooled.q,
        "q_p_value": pooled.q_p_value,
    }


def _shown(hospital: _Hospital) -> Json:
    return {
        "n": hospital.n,
        "events": hospital.events,
        "expected": hospital.expected,
        "harrell_c": {**hospital.c, "standard_error": hospital.c_error},
        "observed_to_expected": hospital.ratio,
    }


def _sentence(c: Json, ratio: Json, where: str) -> str:
    """Return what is to be expected of the next hospital, or why nothing can be said of it."""
    if c["estimate"] is None:
        return f"What C would be in the next hospital is {c['note']}"
    if c["prediction_low"] is None:
        return (
            "Two hospitals have a C of their own: how far a third would lie from them cannot be"
            " computed."
        )
    said = (
        f"{where} C would lie between {c['prediction_low']:.2f} and {c['prediction_high']:.2f}"
        f" (95 % prediction interval, from {c['hospitals']} hospitals)"
    )
    if ratio.get("prediction_low") is None:
        return said + "."
    return (
        f"{said}, and the events seen between {ratio['prediction_low']:.2f} and"
        f" {ratio['prediction_high']:.2f} times those foretold."
    )


def _left_out(hospitals: Mapping[str, _Hospital]) -> str:
    """Return which hospitals are not in a mean, and why; "" where all are in both."""
    parts = []
    for what, rows in (
        ("C", {name: h.c for name, h in hospitals.items() if not h.has_c}),
        ("observed over expected", {n: h.ratio for n, h in hospitals.items() if not h.has_ratio}),
    ):
        reasons: dict[str, list[str]] = {}
        for name, content in rows.items():
            reasons.setdefault(str(content["note"]).removeprefix("not estimable: "), []).append(
                name
            )
        said = [f"{', '.join(names)} ({why.rstrip('.')})" for why, names in reasons.items()]
        if said:
            parts.append(f"Not in the mean of {what}: {'; '.join(said)}.")
    return " ".join(parts)
