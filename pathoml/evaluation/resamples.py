"""The whole cross-validation again on bootstrap samples of the patients: how each patient would
have been scored, had other patients of the same hospitals been there.

A resample draws as many patients as a centre has, with replacement. It keeps the run's first
partition: a fold's models (projection, heads, scale, cut-off) learn from the drawn patients of the
other folds and score all patients of the fold, drawn or not. All copies of a patient are in one
fold, so no model scores a patient from whom it learned. A patient drawn twice is two rows of the
likelihood, tied in time (Efron), and counts twice in the projection and the scale; the tiles are
read once. Partition, initialisations and tile samples are those of the run, so that what varies is
the patients alone.

Source: Riley & Collins, Biom J 65 (2023) 2200302; Efron & Tibshirani, An Introduction to the
Bootstrap (1993), chapter 8, for drawing within strata.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pathoml.compute.devices import pick_device
from pathoml.config import Study, TrainConfig
from pathoml.errors import CohortError
from pathoml.evaluation.evidence import drawn_within
from pathoml.evaluation.kept_blocks import Kind, in_blocks
from pathoml.evaluation.permutation_blocks import seeds_each
from pathoml.evaluation.recipe import resample_recipe
from pathoml.store.provenance import recipe_sha256
from pathoml.survival.concordance import draw_counts
from pathoml.training.fit import fit_models
from pathoml.training.loop import OnEpoch, model_specs
from pathoml.training.model_stack import ModelSpec
from pathoml.training.run import LoadedRun
from pathoml.training.scoring import SMALLEST_SD, FoldScores, fold_scores, out_of_fold
from pathoml.training.solving import seeds_of
from pathoml.types import Array, Bag, Cohort, Json, Split

FOLDER = "resamples"  # of a run: stays, since instability.csv holds only what follows from it
TOGETHER = 10  # resamples of a block
FEWEST_EVENTS = 2  # different patients with the event among those that a fold learns from
MOST_DRAWS = 100  # of one resample, until every fold has them
Drawn = npt.NDArray[np.int64]  # (B,) copies of each patient in a resample


@dataclass(frozen=True, kw_only=True)
class Scored:
    """How one cross-validation scored B patients out of fold."""

    score: Array  # (B,) in SD of the patients it learned from
    is_high: npt.NDArray[np.bool_]  # (B,) above the median of the fold's training patients


@dataclass(frozen=True, kw_only=True)
class ResampledPipeline:
    """One cross-validation of a run, to be repeated on bootstrap samples, a block at a time.

    A resample is the same whatever their number and whoever computes it.
    """

    cohort: Cohort
    bags: Sequence[Bag]
    split: Split  # the run's first partition
    config: TrainConfig
    resamples: int
    seed: int
    device: str

    @cached_property
    def drawn(self) -> npt.NDArray[np.int64]:
        """(R, B) copies of each patient in each resample.

        Raises:
            CohortError: a fold is left with too few events in draw after draw.
        """
        return np.stack([self._draw(number) for number in range(self.resamples)])

    def _draw(self, number: int) -> Drawn:
        within = drawn_within(self.cohort.centre)
        for attempt in range(MOST_DRAWS):
            seed = int(np.random.SeedSequence([self.seed, number, attempt]).generate_state(1)[0])
            [draw] = draw_counts(len(self.bags), 1, seed, resample_within=within)
            counts: Drawn = draw.astype(np.int64)
            if all((counts > 0)[rows].sum() >= FEWEST_EVENTS for rows in self._events_by_fold):
                return counts
        raise CohortError(
            f"not estimable: in {MOST_DRAWS} resamples one after the other a fold had fewer than"
            f" {FEWEST_EVENTS} patients with the event to learn from."
        )

    @cached_property
    def _events_by_fold(self) -> list[npt.NDArray[np.int64]]:
        place = {p: row for row, p in enumerate(self.cohort.patient_ids)}
        rows = [np.array([place[p] for p in fold.train]) for fold in self.split.folds]
        return [mine[self.cohort.event[mine]] for mine in rows]

    @property
    def models_each(self) -> int:
        """Return how many models one resample trains."""
        return len(self.split.folds) * seeds_of(self.config)

    def blocks(self) -> list[range]:
        """Return the resamples, from 0, in the blocks in which they are trained."""
        return in_blocks(self.resamples, TOGETHER)

    def specs(self, block: Sequence[int]) -> list[ModelSpec]:
        """Return the models of these resamples, one resample after the other."""
        models = model_specs([self.split], seeds_of(self.config))
        return [
            replace(spec, permutation=number + 1, drawn=tuple(self.drawn[number].tolist()))
            for number in block
            for spec in models
        ]

    def scores(self, block: Sequence[int], on_epoch: OnEpoch | None = None) -> list[Scored]:
        """Train the models of these resamples and return how each resample scores everybody."""
        specs, each = self.specs(block), self.models_each
        trained = fit_models(
            self.cohort,
            self.bags,
            specs,
            config=self.config,
            device=pick_device(self.device),
            seed=self.seed,
            on_epoch=on_epoch,
        )
        raw = np.concatenate([some.raw for some in trained])  # (M, B)
        ids = self.cohort.patient_ids
        parts = [slice(k * each, (k + 1) * each) for k in range(len(block))]
        return [
            scored(fold_scores(raw[part], specs[part], ids), self.drawn[number])
            for number, part in zip(block, parts)
        ]


def scored(folds: Sequence[FoldScores], drawn: Drawn) -> Scored:
    """Return the out-of-fold scores of one partition, in SD of the drawn patients, copies counted.

    Raises:
        CohortError: a patient is scored by no fold, or by two.
    """
    [standardised] = out_of_fold(folds, "standardised")
    [above] = out_of_fold(folds, "above_cutoff")
    sd = float(np.repeat(standardised, drawn).std(ddof=1))
    score = standardised / sd if sd > SMALLEST_SD else np.zeros_like(standardised)
    return Scored(score=score, is_high=above > 0)


def resampled_pipeline(study: Study, loaded: LoadedRun) -> ResampledPipeline:
    """Return the first cross-validation of a run, to be repeated on bootstrap samples."""
    config = study.config
    return ResampledPipeline(
        cohort=loaded.cohort,
        bags=loaded.bags,
        split=loaded.splits[0],
        config=config.train.model_copy(update={"seeds": seeds_each(study)}),
        resamples=config.significance.resamples,
        seed=config.splits.seed,
        device=config.compute.device,
    )


def original_scores(loaded: LoadedRun, seeds: int) -> Scored:
    """Return how the run itself scores everybody with its first partition and seeds: what a
    resample that draws everybody once repeats.
    """
    everybody_once = np.ones(len(loaded.bags), dtype=np.int64)
    return scored(loaded.some_folds(1, seeds), everybody_once)


def read_scored(content: Json) -> Scored:
    """Return the scores of a resample from a block's file."""
    score = np.array(content["score"], dtype=np.float64)
    return Scored(score=score, is_high=np.array(content["is_high"], dtype=bool))


def _repeat(
    pipeline: ResampledPipeline, block: range, on_epoch: OnEpoch | None
) -> list[dict[str, list[float] | list[int]]]:
    return [
        {"score": one.score.tolist(), "is_high": one.is_high.astype(int).tolist()}
        for one in pipeline.scores(block, on_epoch)
    ]


def _recipe_of(study: Study, pipeline: ResampledPipeline) -> str:
    return recipe_sha256(resample_recipe(study, pipeline.cohort))


RESAMPLES = Kind(folder=FOLDER, of_run=resampled_pipeline, repeat=_repeat, recipe=_recipe_of)
