"""instability.json and instability.csv: how far scores, risks and groups of single patients move
with the patients that the models learned from, with the partition, and with the initialisation.

Risks come from a Cox model of the score and its baseline, fitted to the out-of-fold scores of the
drawn patients, as `lock` fits them to those of all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pathoml.compute.shards import Shard
from pathoml.config import Study
from pathoml.errors import CohortError
from pathoml.evaluation.competing_risks import under_observation
from pathoml.evaluation.evidence import Evidence
from pathoml.evaluation.kept_blocks import compute_kept, read_kept, remove_other
from pathoml.evaluation.permutation_blocks import seeds_each
from pathoml.evaluation.resamples import (
    RESAMPLES,
    Drawn,
    Scored,
    original_scores,
    read_scored,
    resampled_pipeline,
)
from pathoml.store.files import atomic_path, write_json
from pathoml.store.tables import write_table
from pathoml.study.run_folder import RunFolder
from pathoml.survival.absolute_risk import baseline_hazard
from pathoml.survival.brier import MIN_AT_RISK
from pathoml.survival.calibration import calibration_curve
from pathoml.survival.cox import fit_cox
from pathoml.survival.fold_concordance import FoldedScores, fold_concordance
from pathoml.survival.instability import Instability, classification_instability, instability
from pathoml.survival.not_estimable import json_numbers, or_not_estimable
from pathoml.survival.outcome import at_rows
from pathoml.training.run import LoadedRun
from pathoml.training.scoring import out_of_fold, standardise
from pathoml.types import Array, Cohort, Json, Progress

CURVE_GRID = tuple(k / 20 for k in range(1, 20))  # risks at which calibration curves are compared
UNSTABLE = 0.2  # share of resamples that put a patient into the other group
MIDDLE = 0.2  # share of the patients, by original risk, who are called typical
NOT_TRAINED = "not estimable: these scores were not trained here, so nothing can be repeated"
NOT_ASKED = (
    "not asked for. With significance.resamples: 200 in study.yaml `pathoml run` repeats a"
    " cross-validation on as many bootstrap samples of the patients"
)
METHOD = (
    "Each resample draws the patients of every centre with replacement and repeats one"
    " cross-validation of the run (its first partition): projection, models, scale, cut-off, and"
    " the Cox model and baseline that turn the score into a risk. Every patient is scored out of"
    " fold; a patient drawn twice is two rows tied in time, both in one fold."
)


def write_instability(files: RunFolder, evidence: Evidence, progress: Progress) -> None:
    """Write instability.json, and instability.csv where there are resamples."""
    content, table = instability_section(evidence, progress)
    if table:
        _write_patients(files.instability_table, table)
    write_json(files.instability, content)


def instability_section(
    evidence: Evidence, progress: Progress
) -> tuple[Json, Mapping[str, Sequence[object]]]:
    """Return the content of instability.json, and the columns of instability.csv, empty where
    nothing was resampled.
    """
    content: Json = {
        "resamples": 0,
        "partitions": or_not_estimable(lambda: _partitions(evidence)),
    }
    study = evidence.study
    if not evidence.was_trained:
        return {**content, "note": NOT_TRAINED}, {}
    if not evidence.config.significance.resamples:
        return {**content, "note": NOT_ASKED}, {}
    pipeline = resampled_pipeline(study, evidence.run)
    try:
        drawn = pipeline.drawn
        original = original_scores(evidence.run, seeds_each(study))
        with progress.bar("resample", "model epochs") as bar:
            compute_kept(RESAMPLES, study, pipeline, on_epoch=bar)
        again = [read_scored(one) for one in read_kept(RESAMPLES, study, pipeline)]
        summary, table = summarised(
            evidence.run.cohort, original, again, drawn=list(drawn), horizons=_horizons(evidence)
        )
    except CohortError as error:
        return {**content, "note": str(error)}, {}
    remove_other(RESAMPLES, study, pipeline)
    others = _other_spreads(evidence)
    table |= {name: spread.tolist() for name, spread in others.items()}
    summary["score"] |= {
        name.removeprefix("score_"): float(spread.mean()) for name, spread in others.items()
    }
    return {
        **content,
        "resamples": len(again),
        "partition": pipeline.split.name,
        "seeds": seeds_each(study),
        "note": METHOD,
        **summary,
    }, table


def resample_part(study: Study, run: LoadedRun, *, shard: Shard, progress: Progress) -> None:
    """Compute a part of the resamples; where they are not estimable the whole says so too."""
    pipeline = resampled_pipeline(study, run)
    try:
        with progress.bar("resample", "model epochs") as bar:
            compute_kept(RESAMPLES, study, pipeline, on_epoch=bar, shard=shard)
    except CohortError as error:
        progress.say(f"  resamples: {error}")


def summarised(
    cohort: Cohort,
    original: Scored,
    again: Sequence[Scored],
    *,
    drawn: Sequence[Drawn],
    horizons: Sequence[float],
) -> tuple[Json, dict[str, Sequence[object]]]:
    """Return the sections score, score_group, risk and calibration of instability.json, and the
    columns of instability.csv.

    Args:
        original: how the run scored the patients with the same partition and seeds.
        again: how each of R resamples scored them.
        drawn: R x (B,) copies of each patient in the resamples.
        horizons: months.

    Raises:
        CohortError: fewer than two resamples.
    """
    score = instability(original.score, np.stack([one.score for one in again]))
    other = classification_instability(original.is_high, np.stack([one.is_high for one in again]))
    once = np.ones(len(original.score), dtype=np.int64)
    note = "" if horizons else "not estimable: too few patients are followed to any horizon"
    try:
        first = absolute_risks(cohort, original.score, drawn=once, horizons=horizons)  # (B, H)
        repeated = _risks_of_resamples(cohort, again, drawn, horizons)  # (R', B, H)
    except CohortError as error:  # scores and groups have their spread all the same
        horizons, note = (), str(error)
        first, repeated = np.empty((len(once), 0)), np.empty((0, len(once), 0))
    table: dict[str, Sequence[object]] = {
        "patient_id": cohort.patient_ids,
        "centre": cohort.centre.tolist(),
        **_columns("score", original.score, score),
        "score_group": np.where(original.is_high, "high", "low").tolist(),
        "other_group": other.tolist(),
    }
    risk: Json = {}
    calibration: Json = {}
    for h, months in enumerate(horizons):
        key = f"{months:g}"
        spread = instability(first[:, h], repeated[:, :, h])
        table |= _columns(f"risk_{key}", first[:, h], spread)
        risk[key] = {**_in_all(spread), "typical": _typical(first[:, h], spread)}
        calibration[key] = _calibration(cohort, months, first[:, h], repeated[:, :, h])
    summary: Json = {
        "score": _in_all(score),
        "score_group": {
            "other_group_mean": float(other.mean()),
            "unstable_share": float((other > UNSTABLE).mean()),
            "unstable_above": UNSTABLE,
        },
        "resamples_with_risk": len(repeated),
        **({"risk_note": note} if note else {}),
        "risk": risk,
        "calibration": calibration,
    }
    return summary, table


def absolute_risks(
    cohort: Cohort, score: Array, *, drawn: Drawn, horizons: Sequence[float]
) -> Array:
    """Return (B, H) risks of the event until the horizons, of everybody, by a Cox model of the
    score and its baseline, fitted to the drawn patients with their copies.

    Raises:
        CohortError: no event among them, or a score that separates events from the rest.
    """
    rows = np.repeat(np.arange(len(score)), drawn)
    time, event = cohort.time_months[rows], cohort.event[rows]
    entry = at_rows(cohort.entry_months, rows)
    known = score[rows]
    if np.ptp(known) > 0:
        fit = fit_cox(known[:, None], time, event, entry_months=entry)
        predictor = score * fit.coefficients[0]
    else:  # nothing was learned: everybody has the same risk
        predictor = np.zeros(len(score))
    baseline = baseline_hazard(predictor[rows], time, event, entry_months=entry)
    hazard = np.exp(predictor)[:, None] * baseline.at(list(horizons))
    risk: Array = -np.expm1(-hazard)
    return risk


def _risks_of_resamples(
    cohort: Cohort, again: Sequence[Scored], drawn: Sequence[Drawn], horizons: Sequence[float]
) -> Array:
    """Return (R', B, H) risks by the resamples in which a Cox model of the score is estimable."""
    found, problem = [], ""
    for one, copies in zip(again, drawn):
        try:
            found.append(absolute_risks(cohort, one.score, drawn=copies, horizons=horizons))
        except CohortError as error:
            problem = str(error)
    if 2 * len(found) < len(again):
        raise CohortError(f"not estimable: most resamples give no absolute risk ({problem})")
    return np.stack(found)


def _columns(name: str, original: Array, spread: Instability) -> dict[str, Sequence[object]]:
    return {
        name: original.tolist(),
        f"{name}_sd_over_resamples": spread.sd.tolist(),
        f"{name}_low": spread.low.tolist(),
        f"{name}_median": spread.median.tolist(),
        f"{name}_high": spread.high.tolist(),
        f"{name}_mean_absolute_error": spread.mean_absolute_error.tolist(),
    }


def _in_all(spread: Instability) -> Json:
    tenth, middle, ninetieth = np.quantile(spread.width, (0.1, 0.5, 0.9))
    return {
        "sd_over_resamples": float(spread.sd.mean()),
        "mean_absolute_error": float(spread.mean_absolute_error.mean()),
        "largest_mean_absolute_error": float(spread.mean_absolute_error.max()),
        "range_width": {
            "tenth_percentile": float(tenth),
            "median": float(middle),
            "ninetieth_percentile": float(ninetieth),
        },
    }


def _typical(original: Array, spread: Instability) -> Json:
    """Return what the patients of the middle fifth by original risk are given, and could have been
    given, on average: what one may tell of a typical patient.
    """
    rank = np.argsort(np.argsort(original, kind="stable")) / max(len(original) - 1, 1)
    middle = np.abs(rank - 0.5) <= MIDDLE / 2
    found = {"original": original, "low": spread.low, "high": spread.high}
    return {name: float(values[middle].mean()) for name, values in found.items()}


def _horizons(evidence: Evidence) -> list[float]:
    """Return the horizons beyond which enough patients are followed; a baseline says nothing of
    later ones.
    """
    cohort = evidence.run.cohort
    asked = evidence.config.evaluate.horizons_months
    return [h for h in asked if under_observation(cohort, h) >= MIN_AT_RISK]


def _calibration(cohort: Cohort, months: float, first: Array, repeated: Array) -> Json:
    """Return smooth observed risks on a grid of predicted ones: of the original predictions, and
    percentiles over the resampled ones, each judged on the original patients.
    """

    def curve(risk: Array) -> Array:
        found = calibration_curve(
            risk,
            cohort.time_months,
            cohort.event,
            months=months,
            entry_months=cohort.entry_months,
        )
        order = np.argsort(found.predicted)
        x, y = found.predicted[order], found.observed[order]
        return np.interp(CURVE_GRID, x, y, left=np.nan, right=np.nan)

    def curves() -> Json:
        found = []
        for one in repeated:
            try:
                found.append(curve(one))
            except CohortError:  # a resample that gives everybody the same risk has no curve
                continue
        if len(found) < len(repeated) / 2:
            raise CohortError("not estimable: most resamples have no calibration curve.")
        every = np.stack(found)
        there = (~np.isnan(every)).mean(axis=0) >= 0.5  # risks that most resamples give
        band = np.full((3, len(CURVE_GRID)), np.nan)
        band[:, there] = np.nanpercentile(every[:, there], (2.5, 50, 97.5), axis=0)
        low, median, high = (json_numbers(row) for row in band)
        return {
            "predicted": list(CURVE_GRID),
            "original": json_numbers(curve(first)),
            "low": low,
            "median": median,
            "high": high,
        }

    return or_not_estimable(curves)


def _partitions(evidence: Evidence) -> Json:
    """Return how far C moves when one partition alone is used; SD with n - 1."""
    folded, cohort = evidence.folded["image"], evidence.cohort
    if not evidence.was_cross_validated or len(folded.scores) < 2:
        raise CohortError("fewer than two partitions were trained (splits.repeats)")
    c = [
        fold_concordance(
            FoldedScores(scores=scores[None], fold=fold[None], mean=scores),
            cohort.time_months,
            cohort.event,
            stratum=evidence.compared_within,
            entry_months=cohort.entry_months,
        ).estimate
        for scores, fold in zip(folded.scores, folded.fold)
    ]
    return {"harrell_c": c, "harrell_c_sd": float(np.std(c, ddof=1))}


def _other_spreads(evidence: Evidence) -> dict[str, Array]:
    """Return each patient's SD of the score over partitions and over seeds, where there are two."""
    found: dict[str, Array] = {}
    by_partition = out_of_fold(evidence.run.folds, "standardised")
    if len(by_partition) > 1:
        alone = np.stack([standardise(one[None]) for one in by_partition])  # (R, B)
        found["score_sd_over_partitions"] = alone.std(axis=0, ddof=1)
    seeds = evidence.seeds or {}
    if len(seeds) > 1:
        place = {p: row for row, p in enumerate(evidence.cohort.patient_ids)}
        spread = np.std(list(seeds.values()), axis=0, ddof=1)  # (B,) in the order of scores
        found["score_sd_over_seeds"] = spread[[place[p] for p in evidence.run.cohort.patient_ids]]
    return found


def _write_patients(path: Path, table: Mapping[str, Sequence[object]]) -> None:
    with atomic_path(path) as temporary:
        rows: Any = zip(*table.values())
        write_table(temporary, list(table), rows)
