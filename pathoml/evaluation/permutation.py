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

import numpy as np
import numpy.typing as npt

from pathoml.compute.devices import pick_device
from pathoml.config import SignificanceConfig, TrainConfig
from pathoml.errors import CohortError
from pathoml.survival.concordance import pooled_concordance
from pathoml.survival.cox import fit_cox, likelihood_ratio_test
from pathoml.survival.design import without_eventless_levels
from pathoml.training.fit import fit_models
from pathoml.training.loop import OnEpoch, model_specs
from pathoml.training.model_stack import ModelSpec
from pathoml.training.scoring import FoldScores, averaged, fold_scores, repeat_table
from pathoml.types import Array, Bag, Cohort, Split

Statistics = tuple[float, float]  # centre-stratified C, and the gain over the clinical model
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


class ClinicalModel:
    """The model over which scores gain, fitted once; patients of levels without an event leave it
    (hazard ratio 0).

    Raises:
        CohortError: it is not estimable.
    """

    def __init__(self, clinical: Array, cohort: Cohort) -> None:
        self._rows, kept = without_eventless_levels(clinical, cohort.event)
        self._clinical = clinical[self._rows][:, kept]
        self._outcome = cohort.time_months[self._rows], cohort.event[self._rows]
        self._centre = cohort.centre[self._rows]
        self._reduced = fit_cox(self._clinical, *self._outcome, stratum=self._centre)

    def gain(self, score: Array) -> float:
        """Return the signed likelihood-ratio chi2 of adding a (B,) score; 0 for one that is the
        same for everybody.

        It is negative where the score enters with the wrong sign: a score that must be turned round
        has gained nothing.
        """
        mine = score[self._rows]
        if np.ptp(mine) == 0:
            return 0.0
        full = fit_cox(
            np.column_stack([self._clinical, mine]), *self._outcome, stratum=self._centre
        )
        return (
            float(np.sign(full.coefficients[-1])) * likelihood_ratio_test(full, self._reduced).chi2
        )


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
        """Return how many models one permutation trains."""
        return len(self._specs) // self.permutations

    def blocks(self) -> list[range]:
        """Return the permutations, from 0, in the blocks in which they are trained."""
        every = range(self.permutations)
        return [every[first : first + TOGETHER] for first in every[::TOGETHER]]

    def null(self, block: range, on_epoch: OnEpoch | None = None) -> list[Statistics]:
        """Train the models of a block of permutations and return the statistics of each
        permutation.
        """
        each = self.models_each
        specs = self._specs[block.start * each : block.stop * each]
        device = pick_device(self.device)
        trained = fit_models(
            self.cohort,
            self.bags,
            specs,
            config=self.config,
            device=device,
            seed=self.seed,
            on_epoch=on_epoch,
        )
        raw = np.concatenate([some.raw for some in trained])  # (M, B)
        parts = [slice(first, first + each) for first in range(0, len(specs), each)]
        return [
            self.statistics(fold_scores(raw[part], specs[part], self.cohort.patient_ids))
            for part in parts
        ]

    def statistics(self, folds: Sequence[FoldScores]) -> Statistics:
        """Return C over pairs within folds and centres, as it is printed, and the gain of the
        averaged score over the clinical model.
        """
        return self._concordance(folds), self._model.gain(averaged(folds))

    def _concordance(self, folds: Sequence[FoldScores]) -> float:
        cohort, table = self.cohort, repeat_table({"log_risk": folds})
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

    def tests(
        self, observed: Sequence[FoldScores], null: Sequence[Statistics]
    ) -> tuple[PermutationTest, PermutationTest]:
        """Return the test of discrimination and that of added value.

        Args:
            observed: the run's own fold scores on these splits, with as many seeds as the
                repetitions.
            null: the statistics of all permutations, in order.
        """
        concordance, gain = self.statistics(observed)
        return (
            PermutationTest(observed=concordance, null=tuple(c for c, _ in null)),
            PermutationTest(observed=gain, null=tuple(g for _, g in null)),
        )


def permutation_tests(
    validation: RepeatedValidation, observed: Sequence[FoldScores]
) -> tuple[PermutationTest, PermutationTest]:
    """Test the centre-stratified C, and the gain over the clinical model, by repeating the whole
    cross-validation in this process.
    """
    return validation.tests(
        observed, [one for block in validation.blocks() for one in validation.null(block)]
    )
