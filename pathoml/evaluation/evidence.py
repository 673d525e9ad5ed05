"""Everything that `evaluate` rests on, read once: tables, scores, baselines, nested scores, plan.

The sections of metrics.json are functions of it and open no file. What takes seconds (the trained
run, the mean embeddings) is read when a section first asks for it, and then kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pathoml.config import Study, StudyConfig
from pathoml.errors import StoreError
from pathoml.evaluation.analysis_plan import AnalysisPlan, read_analysis_plan
from pathoml.evaluation.imputation import impute_covariates
from pathoml.evaluation.recipe import SUBTYPE_COLUMNS
from pathoml.store.embeddings import read_embeddings, why_left_out
from pathoml.store.files import read_json, sha256_of_file
from pathoml.store.packs import is_stored
from pathoml.store.provenance import recorded_recipes
from pathoml.store.scores import (
    BASELINES,
    SEEDS,
    RepeatTable,
    ScoreTable,
    read_columns,
    read_repeats,
    read_scores,
    vector_of_counts,
)
from pathoml.store.tables import Table, parse_number, read_own_table
from pathoml.study.cohort import cohort_of, read_tables, treated
from pathoml.study.layout import embeddings_folder, vector_of
from pathoml.study.run_folder import BUNDLE, RunFolder
from pathoml.study.splits import read_splits
from pathoml.survival.concordance import draw_counts
from pathoml.survival.fold_concordance import WIDENING, FoldedScores, frozen_scores
from pathoml.training.clinical_part import clinical_columns
from pathoml.training.nested import read_nested
from pathoml.training.run import LoadedRun, load_run
from pathoml.types import Array, Bools, Cohort, Columns, Json, Labels, Split

LOG_RISK = "log_risk"  # the name of an imported column that says it is a log hazard
Tables = tuple[Table, Table | None]  # of patients and slides
DRAW_SEED = 1  # of every bootstrap
OF_VECTORS = {  # baselines on vectors that were made elsewhere (train.vectors), in words
    "vectors_ridge_cox": "Ridge Cox on the vectors",
    "vectors_head": "The same head on the vectors",
}
BASELINES_READ = ("ridge_cox", "clinical", *OF_VECTORS)
CROSS_VALIDATED = ("oof", "loco")  # score types
FEWEST_IN_DRAW = 5  # patients of a centre; smaller ones are drawn together, as if they were one


@dataclass(frozen=True, kw_only=True)
class LockedBundle:
    """What a locked model says of itself, as far as its validation needs it."""

    sha256: str  # of bundle.json
    baseline_survival: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """B patients with a score, sorted by patient_id, and what is known of them."""

    study: Study
    everyone: Cohort  # with those who have no score
    cohort: Cohort  # the B patients
    score: Array  # (B,) score_sd
    log_risk: Array  # (B,)
    n_slides: Array  # (B,)
    n_tiles: Array  # (B,)
    groups: Labels  # (B,) "high" or "low", by cut-offs of the training folds
    fold: Sequence[str]  # (B,) the fold of the first repeat, "" for scores that came without
    score_type: str
    made_by: frozenset[str]  # splits_sha256 of the scores
    baselines: Mapping[str, Array]  # (B,) of BASELINES_READ, those that were trained
    nested: Mapping[str, Array] | None = None  # (B,) by fold
    seeds: Mapping[str, Array] | None = None  # (B,) score_sd by seed
    repeats: RepeatTable | None = None  # every partition's own scores; None for scores without
    split: Split | None = None  # the first partition
    splits: Sequence[Split] = ()  # all of them
    plan: AnalysisPlan = field(default_factory=AnalysisPlan)
    bundle: LockedBundle | None = None  # bundles/RUN of a locked score
    patients: Table | None = None  # as R is to read it
    slides: Table | None = None

    @property
    def config(self) -> StudyConfig:
        return self.study.config

    @cached_property
    def is_log_hazard(self) -> bool:
        """Whether log_risk is on the scale of a log hazard: scores that were imported are, if
        their column was called log_risk; any other has a scale of its own.
        """
        return _is_log_hazard(self.study.run_folder, self.score_type)

    @property
    def draw(self) -> Json:
        """How intervals are drawn: over patients, within centres."""
        return {
            "bootstraps": self.config.significance.interval_draws,
            "seed": DRAW_SEED,
            "resample_within": drawn_within(self.cohort.centre),
        }

    @cached_property
    def draws(self) -> Array | None:
        """(R, B) how often each patient is in each bootstrap; None where there are none."""
        draws, label = self.config.significance.interval_draws, drawn_within(self.cohort.centre)
        counts = draw_counts(len(self.score), draws, DRAW_SEED, resample_within=label)
        return counts if len(counts) else None

    @property
    def was_cross_validated(self) -> bool:
        """Whether other patients of this cohort trained the models that scored each of them."""
        return self.score_type in CROSS_VALIDATED

    @property
    def vector_of(self) -> str:
        """What had one vector: "slide", "patient", or "" where there were tiles."""
        return vector_of_counts(self.n_tiles, self.n_slides)

    @property
    def widening(self) -> float:
        """Of a standard error given the models: what these patients trained varies with them."""
        return WIDENING if self.was_cross_validated else 1.0

    @property
    def compared_within(self) -> Labels | None:
        """(B,) centres, where there are several: the headline C compares within them."""
        centre = self.cohort.centre
        return centre if len(np.unique(centre)) > 1 else None

    @cached_property
    def folded(self) -> dict[str, FoldedScores]:
        """Scores as their partitions made them: image, ridge_cox, clinical, "seed 1", ... where
        there are such.
        """
        means = {"image": self.score, **self.baselines}
        means |= {f"seed {name}": values for name, values in (self.seeds or {}).items()}
        table, found = self.repeats, dict[str, FoldedScores]()
        for name, mean in means.items():
            column = "log_risk" if name == "image" else name
            if table is not None and column in table.scores:
                found[name] = FoldedScores(scores=table.scores[column], fold=table.fold, mean=mean)
            else:  # made elsewhere: by folds where their table names them
                fold = np.asarray(self.fold)[None]
                found[name] = FoldedScores(scores=mean[None], fold=fold, mean=mean)
        if not self.was_cross_validated:
            found["image"] = frozen_scores(self.score)
        return found

    @cached_property
    def clinical(self) -> dict[str, list[object]]:
        """The covariates of study.yaml, (B,) each."""
        return clinical_columns(self.cohort)

    @cached_property
    def imputed(self) -> tuple[dict[str, list[object]], ...]:
        """The covariates of the imputed sets, (B,) each; no set where no cell is empty."""
        cohort = self.cohort
        return impute_covariates(
            self.clinical,
            cohort.time_months,
            cohort.event,
            score=self.score,
            entry_months=cohort.entry_months,
        )

    @cached_property
    def table(self) -> Columns:
        """All columns of patients.csv, (B,) each, numbers as numbers, None for an empty cell."""
        return {name: [parsed(v) for v in values] for name, values in self.cohort.columns.items()}

    @cached_property
    def arms(self) -> Array | None:
        """(B,) 1 treated, 0 not, NaN unknown; None where study.yaml names no treatment."""
        name = self.config.cohort.treatment
        if not name:
            return None
        return treated([p.covariates.get(name) for p in self.cohort.patients], name)

    @cached_property
    def strata(self) -> dict[str, Labels]:
        """Subtype, specimen and organ of each patient, (B,), where they are known and vary."""
        return _strata(self.cohort)

    @cached_property
    def mean_embeddings(self) -> tuple[Array | None, Array | None]:
        """(B, D) means over each patient's tiles and (B,) the slides' resolution; None, None where
        an embedding is missing, and None for the resolution of vectors, which have none.
        """
        return _mean_embeddings(self.study, self.cohort)

    def of_patients(self, rows: Bools, *, cohort: Cohort) -> Evidence:
        """Return what is known of the scores of some patients.

        Args:
            rows: (B,) who they are.
            cohort: they, in this order, with the outcome that the scores are judged on.
        """

        def kept(columns: Mapping[str, Array] | None) -> dict[str, Array] | None:
            return None if columns is None else {n: v[rows] for n, v in columns.items()}

        return replace(
            self,
            cohort=cohort,
            score=self.score[rows],
            log_risk=self.log_risk[rows],
            n_slides=self.n_slides[rows],
            n_tiles=self.n_tiles[rows],
            groups=self.groups[rows],
            fold=[name for name, row in zip(self.fold, rows) if row],
            baselines=kept(self.baselines) or {},
            nested=kept(self.nested),
            seeds=kept(self.seeds),
            repeats=None if self.repeats is None else self.repeats.of_patients(rows),
        )

    @property
    def was_trained(self) -> bool:
        """Whether this run has models: scores that were imported or locked have none here."""
        return was_trained(self.study.run_folder)

    @cached_property
    def run(self) -> LoadedRun:
        """The trained run.

        Raises:
            StoreError: its data or configuration changed since.
        """
        return load_run(self.study, self.everyone)


def drawn_within(centre: Labels) -> Labels:
    """Return (B,) labels within which a bootstrap draws patients: the centres, and one label for
    all small ones. The only patient of a centre would be in every draw, and the interval too short.

    >>> drawn_within(np.array(["A"] * 5 + ["B", "C"])).tolist()
    ['A', 'A', 'A', 'A', 'A', '', '']
    """
    names, row, counts = np.unique(centre, return_inverse=True, return_counts=True)
    labels: Labels = np.where(counts >= FEWEST_IN_DRAW, names, "")[row]
    return labels


def was_trained(run_folder: Path) -> bool:
    """Return whether a run has models of its own."""
    return RunFolder(run_folder).models_index.exists()


def read_evidence(study: Study, tables: Tables | None = None) -> Evidence:
    """Read what stands in a run's folder and the study's tables.

    Args:
        tables: those of patients and slides, where they were read already.

    Raises:
        StoreError: scores or baselines are missing, broken, or name other patients than the cohort.
        CohortError: the tables of patients and slides are refused.
    """
    folder = study.run_folder
    patients, slides = tables or read_tables(study)
    everyone = cohort_of(study, patients, slides)
    scores = read_scores(folder)
    baselines = _baseline_rows(folder, scores)
    known = {p.patient_id: p for p in everyone.patients}
    if set(scores.patient_ids) - set(known) or set(baselines) != set(scores.patient_ids):
        raise StoreError(
            f"{folder}/scores.csv names other patients than patients.csv. Run `pathoml train`"
            " again."
        )
    place = {p: row for row, p in enumerate(scores.patient_ids)}
    ids = [p for p in known if p in place]
    reason = why_left_out(vector_of(study.config.encoder))
    left_out = tuple((p, reason) for p in known if p not in place)
    rows = [place[p] for p in ids]
    file = RunFolder(folder).splits
    splits = read_splits(file) if file.exists() else ()
    return Evidence(
        study=study,
        everyone=everyone,
        cohort=replace(
            everyone,
            patients=tuple(known[p] for p in ids),
            excluded=everyone.excluded + left_out,
        ),
        score=scores.score_sd[rows],
        log_risk=scores.log_risk[rows],
        n_slides=scores.n_slides[rows],
        n_tiles=scores.n_tiles[rows],
        groups=np.array([scores.score_group[row] for row in rows], dtype=str),
        fold=[scores.fold[row].split(";")[0] for row in rows],
        score_type=scores.kind,
        made_by=frozenset(scores.splits_sha256),
        baselines={
            name: np.array([parse_number(baselines[p][name]) for p in ids], dtype=np.float64)
            for name in BASELINES_READ
            if all(baselines[p].get(name) for p in ids)
        },
        nested=read_nested(folder, ids),
        seeds=read_columns(folder / SEEDS, ids, "seed "),
        repeats=read_repeats(RunFolder(folder).repeat_scores, ids),
        split=splits[0] if splits else None,
        splits=splits,
        plan=read_analysis_plan(study.folder),
        bundle=_locked_bundle(study, scores.kind),
        patients=patients,
        slides=slides,
    )


def _is_log_hazard(run_folder: Path, score_type: str) -> bool:
    path = RunFolder(run_folder).provenance
    steps = read_json(path).get("steps", {}) if path.is_file() else {}
    if "import" in steps and not was_trained(run_folder):
        return bool(steps["import"].get("inputs", {}).get("column") == LOG_RISK)
    return score_type != "external"


def _baseline_rows(folder: Path, scores: ScoreTable) -> Mapping[str, Mapping[str, str]]:
    path = folder / BASELINES
    if path.exists():
        return {row["patient_id"]: row for row in read_own_table(path).rows}
    if "predict" in recorded_recipes(folder):  # which trains no baseline beside a locked score
        return {p: {} for p in scores.patient_ids}
    raise StoreError(f"{path} is missing. Run `pathoml train` first.")


def _locked_bundle(study: Study, score_type: str) -> LockedBundle | None:
    """Return bundles/RUN/bundle.json, where RUN is the run that `predict` named after it."""
    path = study.bundles_folder / study.config.run / BUNDLE
    if score_type != "locked" or not path.exists():
        return None
    survival = read_json(path).get("baseline_survival", {})
    return LockedBundle(sha256=sha256_of_file(path), baseline_survival=survival)


def _strata(cohort: Cohort) -> dict[str, Labels]:
    slides: dict[str, dict[str, set[str]]] = {name: {} for name in ("specimen", "organ")}
    for slide in cohort.slides:
        slides["specimen"].setdefault(slide.patient_id, set()).add(slide.specimen)
        slides["organ"].setdefault(slide.patient_id, set()).add(slide.extras.get("organ", ""))
    found = {
        name: np.array(["+".join(sorted(of.get(p, {""}))) for p in cohort.patient_ids], dtype=str)
        for name, of in slides.items()
    }
    columns = cohort.columns
    subtype = next((name for name in SUBTYPE_COLUMNS if name in columns), None)
    if subtype:
        found["subtype"] = np.array(columns[subtype], dtype=str)
    return {name: labels for name, labels in found.items() if len(np.unique(labels)) > 1}


def _mean_embeddings(study: Study, cohort: Cohort) -> tuple[Array | None, Array | None]:
    sums: dict[str, list[tuple[Array, int, float]]] = {}
    for slide in cohort.slides:
        path = embeddings_folder(study) / f"{slide.slide_id}.h5"
        if is_stored(path):
            embedded = read_embeddings(path)
            total = embedded.features.sum(axis=0, dtype=np.float64)
            sums.setdefault(slide.patient_id, []).append(
                (total, len(embedded.features), embedded.grid.level0_mpp)
            )
    if any(p not in sums for p in cohort.patient_ids):
        return None, None
    means = np.stack(
        [sum(t for t, _, _ in sums[p]) / sum(n for _, n, _ in sums[p]) for p in cohort.patient_ids]
    )
    if vector_of(embeddings_folder(study).name):
        return means, None  # a vector has no resolution
    return means, np.array([np.mean([m for _, _, m in sums[p]]) for p in cohort.patient_ids])


def parsed(cell: str) -> float | str | None:
    """Return a cell as a number if it is one, None if it is empty.

    >>> parsed("61,5"), parsed("LMS"), parsed("")
    (61.5, 'LMS', None)
    """
    number = parse_number(cell)
    return number if number is not None else cell or None
