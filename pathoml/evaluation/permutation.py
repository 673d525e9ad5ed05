"""The honest p value: permute the bags among the patients of a centre, repeat the whole
cross-validation, compare.

Outcome, covariates, centre and fold stay together; p = (1 + number >= observed) / (B + 1), with the
same number of repeats on both sides. Theory: Hoefling & Tibshirani, Ann Appl Stat 2 (2008), doi
10.1214/07-AOAS152.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from pathoml.bags.reading import mean_features
from pathoml.compute.devices import pick_device
from pathoml.config import SignificanceConfig, TrainConfig
from pathoml.errors import CohortError
from pathoml.evaluation.kept_blocks import in_blocks
from pathoml.study.endpoints import SecondaryEndpoint
from pathoml.survival.concordance import pooled_concordance
from pathoml.survival.cox import NotIdentified, fit_cox, likelihood_ratio_test
from pathoml.survival.design import fit_design
from pathoml.survival.rare_levels import estimable_columns
from pathoml.training.clinical_part import clinical_columns
from pathoml.training.fit import fit_models
from pathoml.training.loop import OnEpoch, model_specs
from pathoml.training.model_stack import ModelSpec
from pathoml.training.offset import OffsetModels, offset_models
from pathoml.training.outcomes import endpoint_specs, outcomes_of
from pathoml.training.scoring import FoldScores, averaged, fold_scores, repeat_table
from pathoml.types import Array, Bag, Cohort, Json, Split

# centre-stratified C, and the gain over the clinical model; of the primary endpoint's score, of
# each further endpoint's, and last of the offset score
Statistics = tuple[float, ...]
TOGETHER = 10  # permutations of a block
ENOUGH_SCORES = 600  # patients times partitions: from here on more partitions add little power


@dataclass(frozen=True, kw_only=True)
class PermutationTest:
    """A statistic, its values under permuted bags, and the p value."""

    observed: float
    null: tuple[float, ...]

    @property
    def p_value(self) -> float:
        """Return (1 + number >= observed) / (B + 1); ties count against us."""
        return (1 + sum(value >= self.observed for value in self.null)) / (len(self.null) + 1)

    def __repr__(self) -> str:
        """
        >>> PermutationTest(observed=0.6, null=(0.5, 0.55, 0.62))
        p = 0.5, of 3 permutations: 0.600 observed, 0.550 in the middle of permuted ones
        """
        return (
            f"p = {self.p_value:.3g}, of {len(self.null)} permutations: {self.observed:.3f} "
            f"observed, {np.median(self.null):.3f} in the middle of permuted ones"
        )


def tested(concordance: PermutationTest, gain: PermutationTest, note: str) -> Json:
    """Return what permutation.json says of the test of C and of that of added value.

    Args:
        note: why the gain is over no clinical model, "" where it is over one.
    """
    return {
        "p_value": concordance.p_value,
        "observed": concordance.observed,
        "null": list(concordance.null),
        "added_value": {
            "p_value": gain.p_value,
            "observed": gain.observed,
            "null": list(gain.null),
            "note": note,
        },
    }


def permute_within_centre(
    centre: npt.NDArray[np.str_], rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Return (B,) whose bag each patient gets: a permutation that never leaves the centre."""
    order = np.arange(len(centre))
    for name in np.unique(centre):
        rows = np.flatnonzero(centre == name)
        order[rows] = rng.permutation(rows)
    return order


def partitions_of(config: SignificanceConfig, patients: int, available: int) -> int:
    """Return how many partitions stand on both sides of the test.

    C counts pairs within folds: a small cohort has few of them in one partition, and the test
    little power (80 % of what five partitions have with 60 patients, 100 % with 246).

    >>> partitions_of(SignificanceConfig(), 60, 5), partitions_of(SignificanceConfig(), 246, 5)
    (5, 3)
    """
    if config.repeats != "auto":
        return min(config.repeats, available)
    return min(-(-ENOUGH_SCORES // max(patients, 1)), available)


SLIGHT_RIDGE = 1e-3  # per squared log hazard ratio; on a coefficient of 10 it costs 0.05


class ClinicalModel:
    """The model over which scores gain, fitted once; levels without a coefficient are as in
    survival/rare_levels.py.

    Raises:
        CohortError: it is not estimable.
    """

    def __init__(self, clinical: Array, cohort: Cohort) -> None:
        self._outcome, entry = (cohort.time_months, cohort.event), cohort.entry_months
        found = estimable_columns(
            clinical,
            *self._outcome,
            names=[f"column {k}" for k in range(clinical.shape[1])],
            stratum=cohort.centre,
            entry_months=entry,
        )
        self._clinical = clinical[:, found.columns]
        self._shared: dict[str, Any] = {"stratum": found.stratum, "entry_months": entry}
        self._reduced = fit_cox(self._clinical, *self._outcome, **self._shared)

    def gain(self, score: Array) -> float:
        """Return the signed likelihood-ratio chi2 of adding a (B,) score; 0 for one that is the
        same for everybody.

        It is negative where the score enters with the wrong sign: a score that must be turned round
        has gained nothing. Where few patients let a coefficient run to infinity, the likelihood
        still has a limit, which a slight penalty comes near: the same for every permutation.
        """
        if np.ptp(score) == 0:
            return 0.0
        columns = np.column_stack([self._clinical, score])
        try:
            full = fit_cox(columns, *self._outcome, **self._shared)
        except NotIdentified:
            full = fit_cox(columns, *self._outcome, ridge=SLIGHT_RIDGE, **self._shared)
        return (
            float(np.sign(full.coefficients[-1])) * likelihood_ratio_test(full, self._reduced).chi2
        )


def clinical_model_of(cohort: Cohort) -> tuple[Array, str]:
    """Return the (B, p) covariates over which a score may gain, and why there are none if there are
    none.
    """
    nothing = np.zeros((len(cohort.patients), 0))
    columns = clinical_columns(cohort)
    if not columns:
        return (
            nothing,
            "The gain is over no model at all: study.yaml names no covariates (cohort.covariates).",
        )
    clinical = fit_design(columns).transform(columns)
    try:
        ClinicalModel(clinical, cohort)
    except CohortError as error:
        return (
            nothing,
            f"The gain is over no model at all: the clinical one is not estimable ({error})",
        )
    return clinical, ""


def statistics_of(
    folds: Sequence[FoldScores], cohort: Cohort, clinical: ClinicalModel
) -> Statistics:
    """Return C over pairs within folds and centres, as it is printed, and the gain of the averaged
    score over a clinical model.
    """
    return _concordance(folds, cohort), clinical.gain(averaged(folds))


def _concordance(folds: Sequence[FoldScores], cohort: Cohort) -> float:
    table = repeat_table({"log_risk": folds})
    count = partial(
        pooled_concordance,
        table.scores["log_risk"],
        cohort.time_months,
        cohort.event,
        group=table.fold,
        entry_months=cohort.entry_months,
    )
    try:
        return count(stratum=cohort.centre).estimate
    except CohortError:  # no pair of one centre in one fold, whoever has which bag
        return count().estimate


@dataclass(frozen=True, kw_only=True)
class RepeatedEndpoint:
    """A secondary endpoint whose cross-validation is repeated beside the primary one's."""

    endpoint: SecondaryEndpoint
    clinical: Array  # (B', p) covariates of the clinical model, of the patients who have it
    note: str  # where the score gains over no clinical model
    observed: Sequence[FoldScores]  # of the run's own models

    @cached_property
    def _model(self) -> ClinicalModel:
        return ClinicalModel(self.clinical, self.endpoint.cohort)

    def statistics(self, folds: Sequence[FoldScores]) -> Statistics:
        """Return what the test compares, of out-of-fold scores of this endpoint."""
        return statistics_of(folds, self.endpoint.cohort, self._model)

    def tests(self, null: Sequence[Statistics]) -> tuple[PermutationTest, PermutationTest]:
        """Return the test of discrimination and that of added value.

        Args:
            null: this endpoint's statistics of all permutations, in order.
        """
        return _tests(self.statistics(self.observed), null)


def permuted_specs(
    cohort: Cohort, splits: Sequence[Split], seeds: int, *, permutations: int, seed: int
) -> list[ModelSpec]:
    """Return the models of every permutation, one permutation after the other."""
    rng = np.random.default_rng(seed)
    specs = model_specs(splits, seeds)
    orders = [
        tuple(permute_within_centre(cohort.centre, rng).tolist()) for _ in range(permutations)
    ]
    return [
        replace(spec, permutation=b, bag_of=order)
        for b, order in enumerate(orders, 1)
        for spec in specs
    ]


@dataclass(frozen=True, kw_only=True)
class RepeatedValidation:
    """The whole cross-validation, to be repeated with permuted bags, a block of permutations at a
    time.

    Blocks are the same whoever computes them, since models that are trained together share the
    random numbers of dropout.
    """

    cohort: Cohort
    bags: Sequence[Bag]
    splits: Sequence[Split]  # on both sides of the test: the first ones of the run
    clinical: Array  # (B, p) covariates of the clinical model, p may be 0
    config: TrainConfig
    permutations: int
    seed: int
    device: str
    endpoints: Sequence[RepeatedEndpoint] = ()  # beside the primary one
    offset: Sequence[FoldScores] = ()  # of the run's own offset score, where it is repeated too

    @cached_property
    def _means(self) -> Array:
        return mean_features(self.bags)

    @cached_property
    def _model(self) -> ClinicalModel:
        return ClinicalModel(self.clinical, self.cohort)

    @cached_property
    def _specs(self) -> list[ModelSpec]:
        return permuted_specs(
            self.cohort,
            self.splits,
            self.config.seeds,
            permutations=self.permutations,
            seed=self.seed,
        )

    @property
    def models_each(self) -> int:
        """Return how many models one permutation trains, of all endpoints."""
        return self._of_an_endpoint * (1 + len(self.endpoints))

    @property
    def _of_an_endpoint(self) -> int:
        return len(self._specs) // self.permutations

    def blocks(self) -> list[range]:
        """Return the permutations, from 0, in the blocks in which they are trained."""
        return in_blocks(self.permutations, TOGETHER)

    def null(self, block: range, on_epoch: OnEpoch | None = None) -> list[Statistics]:
        """Train the models of a block of permutations and return the statistics of each
        permutation.
        """
        each = self._of_an_endpoint
        own = self._specs[block.start * each : block.stop * each]
        others = [endpoint_specs(own, one.endpoint) for one in self.endpoints]
        beside = self._beside(own)
        told = beside.trained if beside else []
        specs = [spec for alike in (own, *others, told) for spec in alike]
        device = pick_device(self.device)
        trained = fit_models(
            self.cohort,
            self.bags,
            specs,
            config=self.config,
            device=device,
            seed=self.seed,
            outcomes=outcomes_of([one.endpoint for one in self.endpoints]),
            on_epoch=on_epoch,
        )
        raw = np.empty((len(specs), len(self.bags)))  # (M, B)
        for some in trained:
            raw[some.models] = some.raw
        found = [
            self.statistics(fold_scores(raw[part], specs[part], self.cohort.patient_ids))
            for part in _parts(0, len(own), each)
        ]
        for number, one in enumerate(self.endpoints, 1):
            known, ids = one.endpoint.known, one.endpoint.cohort.patient_ids
            theirs = [
                one.statistics(fold_scores(raw[part][:, known], specs[part], ids))
                for part in _parts(number * len(own), len(own), each)
            ]
            found = [(*before, *more) for before, more in zip(found, theirs)]
        if beside:
            beyond = beside.raw(raw[: len(own)], raw[len(specs) - len(told) :])
            last = [
                self.statistics(fold_scores(beyond[part], own[part], self.cohort.patient_ids))
                for part in _parts(0, len(own), each)
            ]
            found = [(*before, *more) for before, more in zip(found, last)]
        return found

    def _beside(self, specs: Sequence[ModelSpec]) -> OffsetModels | None:
        """Return the models of the offset score under these permutations: what the covariates say
        stays with the patient, and whether it pays to tell it is decided anew.
        """
        if not self.offset:
            return None
        return offset_models(
            self.cohort, self._means, specs, strata=self.config.strata, seed=self.seed
        )

    def statistics(self, folds: Sequence[FoldScores]) -> Statistics:
        """Return what the test compares, of out-of-fold scores of the primary endpoint."""
        return statistics_of(folds, self.cohort, self._model)

    def tests(
        self, observed: Sequence[FoldScores], null: Sequence[Statistics]
    ) -> tuple[PermutationTest, PermutationTest]:
        """Return the test of discrimination and that of added value.

        Args:
            observed: the run's own fold scores on these splits, with as many seeds as the
                repetitions.
            null: the statistics of all permutations, in order.
        """
        return _tests(self.statistics(observed), null)

    def offset_tests(self, null: Sequence[Statistics]) -> tuple[PermutationTest, PermutationTest]:
        """Return the same two tests of the offset score."""
        return _tests(self.statistics(self.offset), [one[-2:] for one in null])


def _tests(
    observed: Statistics, null: Sequence[Statistics]
) -> tuple[PermutationTest, PermutationTest]:
    concordance, gain = (
        PermutationTest(observed=value, null=tuple(one[place] for one in null))
        for place, value in enumerate(observed)
    )
    return concordance, gain


def _parts(first: int, models: int, each: int) -> list[slice]:
    return [slice(start, start + each) for start in range(first, first + models, each)]


def permutation_tests(
    validation: RepeatedValidation, observed: Sequence[FoldScores]
) -> tuple[PermutationTest, PermutationTest]:
    """Test the centre-stratified C, and the gain over the clinical model, by repeating the whole
    cross-validation in this process.
    """
    return validation.tests(
        observed, [one for block in validation.blocks() for one in validation.null(block)]
    )
