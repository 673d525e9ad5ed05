"""Section prospective of metrics.json: a locked score on patients whom no model of it has seen.

The bundle is looked for at bundles/RUN/bundle.json, where RUN is the run that `predict` named after
it; it must be the very file that made the scores. Without it, calibration needs numbers that nobody
has, and the section says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pathoml.errors import StoreError
from pathoml.evaluation.evidence import Evidence
from pathoml.study.run_folder import BUNDLE
from pathoml.survival.absolute_risk import BaselineHazard
from pathoml.survival.locked_score import validate_locked_score
from pathoml.survival.not_estimable import not_estimable, or_not_estimable
from pathoml.types import Array


def prospective_section(evidence: Evidence) -> dict[str, Any]:
    """Return C, hazard ratio per development SD, calibration slope and calibration in the large of
    a locked score.

    Raises:
        StoreError: the bundle beside the study is not the one that made the scores.
    """
    if evidence.score_type != "locked":
        return {"note": f"the scores are {evidence.score_type}, not of a locked model"}
    study, cohort, score = evidence.study, evidence.cohort, evidence.score
    path = (study.bundles_folder / study.config.run / BUNDLE).relative_to(study.folder)
    if evidence.bundle is None:
        note = f"no {path}: copy the bundle there for its calibration"
        return {"note": note, **_none("no bundle")}
    if evidence.made_by != {evidence.bundle.sha256}:
        raise StoreError(
            f"{study.folder / path} is not the bundle that made {study.run_folder}/scores.csv. Put"
            " the right one there, or predict again."
        )
    locked = evidence.bundle.baseline_survival
    baseline = _baseline(locked)

    def validate() -> dict[str, Any]:
        result = validate_locked_score(
            score,
            locked["log_hazard_ratio_per_sd"] * score,
            cohort.time_months,
            event=cohort.event,
            baseline=baseline,
            stratum=evidence.compared_within,
            entry_months=cohort.entry_months,
        )
        in_the_large = (
            result.in_the_large.to_json() if result.in_the_large else not_estimable("no baseline")
        )
        return {
            "harrell_c": result.harrell_c.to_json(),
            "hazard_ratio_per_sd": result.hazard_ratio_per_sd.to_json(),
            "locked_hazard_ratio_per_sd": float(np.exp(locked["log_hazard_ratio_per_sd"])),
            "slope": result.slope.to_json(),
            "in_the_large": in_the_large,
        }

    return {"bundle": study.config.run, **or_not_estimable(validate)}


def locked_expected_events(evidence: Evidence) -> Array | None:
    """Return (B,) the events that the locked model foretold each patient under observation; None
    where the bundle that made the scores is not beside the study.
    """
    if evidence.bundle is None or evidence.made_by != {evidence.bundle.sha256}:
        return None
    cohort, locked = evidence.cohort, evidence.bundle.baseline_survival
    baseline, entry = _baseline(locked), cohort.entry_months
    before = 0.0 if entry is None else baseline.at(entry)
    relative = np.exp(locked["log_hazard_ratio_per_sd"] * evidence.score)
    expected: Array = relative * (baseline.at(cohort.time_months) - before)
    return expected


def _baseline(locked: Mapping[str, Any]) -> BaselineHazard:
    return BaselineHazard(
        times=np.array(locked["times_months"], dtype=np.float64),
        cumulative=-np.log(np.clip(np.array(locked["survival"], dtype=np.float64), 1e-300, 1.0)),
    )


def _none(note: str) -> dict[str, Any]:
    return {name: not_estimable(note) for name in ("slope", "in_the_large")}
