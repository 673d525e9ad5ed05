"""Section offset_score of metrics.json: the score of what the covariates do not say, beside the
plain one (train.offset).

What it adds to the clinical model, what the two foretell together, and what it still has in common
with each covariate; the same numbers of the plain score beside it, from the same functions.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from pathoml.errors import CohortError, StoreError
from pathoml.evaluation.cross_fitted import difference, on_folds_of
from pathoml.evaluation.discrimination import (
    added_value,
    concordance_sections,
    concordances,
    judged_concordance,
    kaplan_meier_section,
    score_hazard_ratio,
    seed_section,
)
from pathoml.evaluation.evidence import Evidence, read_evidence
from pathoml.evaluation.model_form import form_sections
from pathoml.evaluation.predicted_risk import risk_sections
from pathoml.store.files import read_json
from pathoml.study.endpoints import offset_study
from pathoml.study.run_folder import RunFolder
from pathoml.survival.design import MISSING, is_missing
from pathoml.survival.estimate import Estimate
from pathoml.survival.fold_concordance import FoldedScores
from pathoml.survival.not_estimable import or_not_estimable
from pathoml.survival.rank_association import spearman
from pathoml.types import Array, Json

NOTE = (
    "The image score less what the covariates say of it in each fold's training patients; models"
    " were told the clinical log-risk as an offset in the loss where that paid inside the training"
    " fold. Clinical and offset score: their log-risks added, both of the fold that did not see the"
    " patient, nothing fitted to the sum."
)
OF_ITS_OWN = ("plain", "offset")  # scores of which the section has the same numbers


def read_offset(evidence: Evidence) -> Evidence | None:
    """Return what is known of the offset score; None where none was trained.

    Raises:
        StoreError: its scores are missing, or of other patients.
    """
    if not (evidence.was_trained and evidence.config.train.offset):
        return None
    study = offset_study(evidence.study)
    own = read_evidence(study)
    if own.cohort.patient_ids != evidence.cohort.patient_ids:
        raise StoreError(
            f"{RunFolder(study.run_folder).scores} names other patients than scores.csv. Run"
            " `pathoml train` again."
        )
    return own


def offset_sections(plain: Evidence, offset: Evidence | None, caveat: str) -> Json:
    """Return {"offset_score": ...}; {} where there is none.

    Args:
        caveat: of the p values of these scores.
    """
    if offset is None:
        return {}
    models = read_json(RunFolder(offset.study.run_folder).models_index)["models"]
    folds = {(m["repeat"], m["fold"]): bool(m.get("told")) for m in models}
    both, clinical = _summed(offset), plain.folded.get("clinical")
    return {
        "offset_score": {
            "note": NOTE,
            "folds": len(folds),
            "told_folds": sum(folds.values()),
            "headline": _headline(plain),
            "plain": _judged(plain, caveat),
            "offset": _judged(offset, caveat),
            "clinical": concordances(plain.cohort, lambda: _there(clinical)),
            "clinical_and_offset": concordances(plain.cohort, lambda: _there(both)),
            "differences": {
                "offset_minus_plain": or_not_estimable(
                    lambda: _minus(plain, offset.folded["image"], plain.folded["image"])
                ),
                "clinical_and_offset_minus_clinical": or_not_estimable(
                    lambda: _minus(plain, both, clinical)
                ),
            },
            "correlations": _correlations(plain, offset),
        }
    }


def offset_metrics(offset: Evidence, caveat: str) -> Json:
    """Return metrics.json of runs/RUN/offset: the numbers of the offset score that R repeats."""
    cohort = offset.cohort
    return {
        "endpoint": cohort.endpoint,
        "time_zero": cohort.time_zero,
        "n": len(cohort.patients),
        "events": int(cohort.event.sum()),
        "trained": True,
        "note": NOTE,
        **concordance_sections(offset),
        "seeds": seed_section(offset),
        "hazard_ratio_per_sd": or_not_estimable(lambda: score_hazard_ratio(offset, caveat)),
        "added_value": or_not_estimable(lambda: added_value(offset, caveat)),
        "kaplan_meier": kaplan_meier_section(cohort, offset.groups),
        **risk_sections(offset),
        **form_sections(offset),
    }


def _headline(evidence: Evidence) -> str:
    several = evidence.compared_within is not None
    return "harrell_c_centre_stratified" if several else "harrell_c"


def _judged(evidence: Evidence, caveat: str) -> Json:
    return {
        **judged_concordance(evidence),
        "hazard_ratio_per_sd": or_not_estimable(lambda: score_hazard_ratio(evidence, caveat)),
        "added_value": or_not_estimable(lambda: added_value(evidence, caveat)),
    }


def _summed(offset: Evidence) -> FoldedScores | None:
    """Return the clinical log-risk plus the offset score, of the same folds; None without one."""
    table = offset.repeats
    if table is None or "clinical" not in table.scores:
        return None
    total = table.scores["log_risk"] + table.scores["clinical"]  # (R, B)
    return FoldedScores(scores=total, fold=table.fold, mean=total.mean(axis=0))


def _there(scores: FoldedScores | None) -> FoldedScores:
    if scores is None:
        raise CohortError("not estimable: no clinical model on the same folds.")
    return scores


def _minus(evidence: Evidence, a: FoldedScores | None, b: FoldedScores | None) -> Estimate:
    one, other = _there(a), _there(b)
    return difference(evidence, on_folds_of(one, other), other)


def _correlations(plain: Evidence, offset: Evidence) -> list[Json]:
    """Return Spearman's correlation of both scores with each number, and with each level of each
    category, of the clinical model.
    """
    events = plain.cohort.event
    rows = []
    for name, values in plain.clinical.items():
        if any(isinstance(v, str) and not is_missing(v) for v in values):
            labels = [MISSING if is_missing(v) else str(v).strip() for v in values]
            columns: list[tuple[str | None, Array]] = [
                (level, np.array([one == level for one in labels], dtype=np.float64))
                for level in sorted(set(labels))
            ]
        else:
            number = [np.nan if is_missing(v) else float(str(v)) for v in values]
            columns = [(None, np.array(number))]
        for level, column in columns:
            there = np.isfinite(column)
            about = column[there], int(events[there].sum())
            own = {
                key: or_not_estimable(partial(_rank, evidence.score[there], *about))
                for key, evidence in zip(OF_ITS_OWN, (plain, offset))
            }
            n = int(there.sum() if level is None else column.sum())
            rows.append({"variable": name, "level": level, "n": n, **own})
    return rows


def _rank(score: Array, values: Array, events: int) -> Estimate:
    return spearman(score, values, events=events)[0]
