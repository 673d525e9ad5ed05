"""Sections endpoints and endpoint_comparison of metrics.json: each secondary endpoint with the
numbers that the primary one has, every score judged on every endpoint, and the scores' correlation.

Nothing here changes a number of the primary endpoint. A score is judged on another endpoint in the
patients who have both; its folds, and who trained on whom, are those that it was made with.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from pathoml.errors import CohortError, StoreError
from pathoml.evaluation.competing_risks import competing_section, restricted_mean_section
from pathoml.evaluation.discrimination import (
    added_value,
    concordance_sections,
    judged_concordance,
    kaplan_meier_section,
    score_hazard_ratio,
    seed_section,
)
from pathoml.evaluation.evidence import Evidence, read_evidence
from pathoml.evaluation.model_form import form_sections
from pathoml.evaluation.predicted_risk import risk_sections
from pathoml.study.endpoints import SecondaryEndpoint, secondary_endpoints, untrainable
from pathoml.study.run_folder import RunFolder
from pathoml.study.splits import read_splits
from pathoml.survival.kaplan_meier import median_follow_up
from pathoml.survival.not_estimable import not_estimable, or_not_estimable
from pathoml.types import Array, Cohort, Json

FOLDS_NOTE = (
    "Patients are divided as for the primary endpoint, so that nobody trains a model that scores"
    " them for another endpoint; where folds are stratified by event, it is the primary endpoint's."
)
COMPARISON_NOTE = (
    "A row is the endpoint that a score was trained on, a column the endpoint that it is judged on,"
    " in the patients who have both. C and hazard ratio per SD."
)
NORMAL_97_5 = 1.959963984540054  # the quantile of a 95 % interval
FEWEST_FOR_CORRELATION = 4  # Fisher's interval divides by n - 3


@dataclass(frozen=True, kw_only=True)
class JudgedEndpoint:
    """A secondary endpoint, and what is known of its own score."""

    endpoint: SecondaryEndpoint
    evidence: Evidence | None  # of the score that was trained on it; None if there is none
    why_not: str = ""  # it was trained


def read_endpoints(evidence: Evidence) -> list[JudgedEndpoint]:
    """Return the secondary endpoints with what training left of them.

    Raises:
        StoreError: an endpoint's scores are missing, or of other patients than have it.
        ConfigError, CohortError: as `secondary_endpoints`.
    """
    return [
        _read(endpoint, evidence)
        for endpoint in secondary_endpoints(evidence.study, evidence.cohort)
    ]


def untrained_by_strata(endpoint: SecondaryEndpoint) -> bool:
    """Return whether training left an endpoint out because of its strata."""
    return bool(endpoint.study.config.train.strata) and not endpoint.run.scores.exists()


def endpoint_sections(evidence: Evidence, endpoints: Sequence[JudgedEndpoint], caveat: str) -> Json:
    """Return the sections endpoints and endpoint_comparison; {} where there is one endpoint only.

    Args:
        caveat: of the p values of these scores.
    """
    if not endpoints:
        return {}
    return {
        "endpoints": {one.endpoint.name: _section(one, caveat) for one in endpoints},
        "endpoint_comparison": {
            "note": f"{COMPARISON_NOTE} {FOLDS_NOTE}",
            "trained_on": _judged_on_all(evidence, endpoints),
            "correlation": _correlations(evidence, endpoints),
        },
    }


def _read(endpoint: SecondaryEndpoint, primary: Evidence) -> JudgedEndpoint:
    if not primary.was_trained:
        return JudgedEndpoint(
            endpoint=endpoint,
            evidence=None,
            why_not="the scores were not trained here, and are judged on it as they are",
        )
    why_not = untrainable(endpoint, read_splits(RunFolder(primary.study.run_folder).splits))
    if not why_not and untrained_by_strata(endpoint):
        why_not = "the strata (train.strata) leave a fold nobody to compare on it"
    if why_not:
        return JudgedEndpoint(endpoint=endpoint, evidence=None, why_not=why_not)
    own = read_evidence(endpoint.study)
    if own.cohort.patient_ids != endpoint.cohort.patient_ids:
        raise StoreError(
            f"{endpoint.run.scores} names other patients than have {endpoint.name}. Run `pathoml"
            " train` again."
        )
    return JudgedEndpoint(endpoint=endpoint, evidence=replace(own, cohort=endpoint.cohort))


def _section(one: JudgedEndpoint, caveat: str) -> Json:
    endpoint, evidence = one.endpoint, one.evidence
    cohort = endpoint.cohort
    content: Json = {
        "endpoint": endpoint.name,
        "time_zero": cohort.time_zero,
        "n": len(cohort.patients),
        "events": int(cohort.event.sum()),
        "flow": endpoint.flow,
        "trained": evidence is not None,
        "note": FOLDS_NOTE if evidence else f"no score was trained on it: {one.why_not}",
    }
    if evidence is None:
        follow_up = median_follow_up(cohort.time_months, cohort.event) if cohort.patients else None
        return {**content, "median_follow_up_months": follow_up}
    score, horizons = evidence.score, evidence.config.evaluate.horizons_months
    return {
        **content,
        **concordance_sections(evidence),
        "seeds": seed_section(evidence),
        "hazard_ratio_per_sd": or_not_estimable(lambda: score_hazard_ratio(evidence, caveat)),
        "added_value": or_not_estimable(lambda: added_value(evidence, caveat)),
        "kaplan_meier": kaplan_meier_section(cohort, evidence.groups),
        **risk_sections(evidence),
        **form_sections(evidence),
        "competing_risks": competing_section(cohort, score, horizons, widening=evidence.widening),
        "restricted_mean": restricted_mean_section(cohort, evidence.groups.tolist(), horizons),
    }


def _judged_on_all(evidence: Evidence, endpoints: Sequence[JudgedEndpoint]) -> Json:
    """Return of each score, by the endpoint that it was trained on, how it does on each."""
    scores = {evidence.cohort.endpoint: evidence} | {
        one.endpoint.name: one.evidence for one in endpoints if one.evidence
    }
    outcomes = {evidence.cohort.endpoint: evidence.cohort} | {
        one.endpoint.name: one.endpoint.cohort for one in endpoints
    }
    return {
        trained_on: {judged_on: _judged(score, outcome) for judged_on, outcome in outcomes.items()}
        for trained_on, score in scores.items()
    }


def _judged(score: Evidence, outcome: Cohort) -> Json:
    both = on_outcome(score, outcome)
    if both is None:
        names = ("harrell_c", "harrell_c_centre_stratified", "hazard_ratio_per_sd")
        return dict.fromkeys(names, not_estimable("nobody has both endpoints"))
    return {
        **judged_concordance(both),
        "hazard_ratio_per_sd": or_not_estimable(lambda: score_hazard_ratio(both, "")),
    }


def on_outcome(score: Evidence, outcome: Cohort) -> Evidence | None:
    """Return the evidence of a score with the outcome of another endpoint, of the patients who have
    both; None if nobody has.
    """
    theirs = {p.patient_id: p for p in outcome.patients}
    rows = np.array([p in theirs for p in score.cohort.patient_ids], dtype=bool)
    if not rows.any():
        return None
    mine = tuple(theirs[p] for p in score.cohort.patient_ids if p in theirs)
    return score.of_patients(rows, cohort=replace(outcome, patients=mine))


def _correlations(evidence: Evidence, endpoints: Sequence[JudgedEndpoint]) -> list[Json]:
    """Return the correlation of each pair of scores."""
    scores = [(evidence.cohort.endpoint, _by_patient(evidence))] + [
        (one.endpoint.name, _by_patient(one.evidence)) for one in endpoints if one.evidence
    ]
    return [
        {"between": [name, other], **or_not_estimable(partial(correlation, *_aligned(a, b)))}
        for k, (name, a) in enumerate(scores)
        for other, b in scores[k + 1 :]
    ]


def _by_patient(evidence: Evidence) -> dict[str, float]:
    return dict(zip(evidence.cohort.patient_ids, evidence.score.tolist()))


def _aligned(one: Mapping[str, float], other: Mapping[str, float]) -> tuple[Array, Array]:
    both = [p for p in one if p in other]
    return np.array([one[p] for p in both]), np.array([other[p] for p in both])


def correlation(one: Array, other: Array) -> Json:
    """Return Pearson's and Spearman's correlation of two (B,) scores, each with the interval of
    Fisher's z.

    Raises:
        CohortError: fewer than four patients, or a score that is the same for everybody.

    Source: R cor.test; for ranks the SE of z is sqrt(1.06 / (n - 3)), Fieller, Hartley & Pearson,
    Biometrika 44 (1957) 470-481.

    >>> values = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    >>> correlation(values, values[::-1])["pearson"]["estimate"]
    -1.0
    """
    from scipy.stats import pearsonr, spearmanr

    n = len(one)
    if n < FEWEST_FOR_CORRELATION:
        raise CohortError(f"{n} patients have both scores; a correlation needs four")
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        raise CohortError("a score is the same for everybody")
    return {
        "n": n,
        "pearson": _fisher(float(pearsonr(one, other)[0]), n, 1.0),
        "spearman": _fisher(float(spearmanr(one, other)[0]), n, 1.06),
    }


def _fisher(value: float, n: int, factor: float) -> Json:
    low = high = None
    if abs(value) < 1:
        reach = NORMAL_97_5 * math.sqrt(factor / (n - 3))
        low, high = (math.tanh(math.atanh(value) + way * reach) for way in (-1, 1))
    return {"estimate": value, "low": low, "high": high, "n": n, "events": 0}
