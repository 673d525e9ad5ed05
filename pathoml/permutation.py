"""The honest p value: permute the bags among the patients of a centre, repeat the whole cross-validation, compare.

Outcome, covariates, centre and fold stay together; p = (1 + number >= observed) / (B + 1), with the same number of repeats on both
sides. Theory: Hoefling & Tibshirani, Ann Appl Stat 2 (2008), doi 10.1214/07-AOAS152.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pathoml.config import TrainConfig
from pathoml.embedding import pick_device
from pathoml.model_stack import ModelSpec
from pathoml.ridge_models import fit_models
from pathoml.scoring import FoldScores, fold_scores, out_of_fold, standardise
from pathoml.survival.concordance import stratified_harrell_c
from pathoml.survival.cox import fit_cox, likelihood_ratio_test
from pathoml.survival.design import without_eventless_levels
from pathoml.training import model_specs
from pathoml.types import Bag, Cohort, Split

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class PermutationTest:
    """A statistic, its values under permuted bags, and the p value."""

    observed: float
    null: tuple[float, ...]

    @property
    def p_value(self) -> float:
        """Return (1 + number >= observed) / (B + 1); ties count against us."""
        return (1 + sum(value >= self.observed for value in self.null)) / (len(self.null) + 1)


def permute_within_centre(centre: npt.NDArray[np.str_], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return (B,) whose bag each patient gets: a permutation that never leaves the centre."""
    order = np.arange(len(centre))
    for name in np.unique(centre):
        rows = np.flatnonzero(centre == name)
        order[rows] = rng.permutation(rows)
    return order


def likelihood_ratio_gain(score: Array, clinical: Array, cohort: Cohort) -> float:
    """Return the likelihood-ratio chi2 of adding the score to the clinical covariates, stratified by centre.

    It is negative where the score enters with the wrong sign: a score that must be turned round has gained nothing.

    Args:
        score: (B,).
        clinical: (B, p) covariates, p may be 0.
    """
    return ClinicalModel(clinical, cohort).gain(score)


class ClinicalModel:
    """The model over which scores gain, fitted once; patients of levels without an event leave it (hazard ratio 0).

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
        """Return the signed likelihood-ratio chi2 of adding a (B,) score; 0 for one that is the same for everybody."""
        mine = score[self._rows]
        if np.ptp(mine) == 0:
            return 0.0
        full = fit_cox(np.column_stack([self._clinical, mine]), *self._outcome, stratum=self._centre)
        return float(np.sign(full.coefficients[-1])) * likelihood_ratio_test(full, self._reduced).chi2


def permuted_specs(cohort: Cohort, splits: Sequence[Split], seeds: int, permutations: int, seed: int) -> list[ModelSpec]:
    """Return the models of every permutation, one permutation after the other."""
    rng = np.random.default_rng(seed)
    specs = model_specs(splits, seeds)
    orders = [tuple(permute_within_centre(cohort.centre, rng).tolist()) for _ in range(permutations)]
    return [replace(spec, permutation=b, bag_of=order) for b, order in enumerate(orders, 1) for spec in specs]


def permutation_tests(
    cohort: Cohort,
    bags: Sequence[Bag],
    splits: Sequence[Split],
    observed: Sequence[FoldScores],
    clinical: Array,
    config: TrainConfig,
    *,
    permutations: int,
    seed: int,
    device: str,
    on_epoch: Callable[[int, int], None] | None = None,
) -> tuple[PermutationTest, PermutationTest]:
    """Test the centre-stratified C, and the gain over the clinical model, by repeating the whole cross-validation.

    Args:
        splits: the partitions on both sides of the test (the first `significance.repeats` of the run).
        observed: the run's fold scores on these partitions, with as many seeds as `config`.
        clinical: (B, p) covariates of the clinical model.

    Returns:
        The test of discrimination and the test of added value.
    """
    model = ClinicalModel(clinical, cohort)

    def statistics(folds: Sequence[FoldScores]) -> tuple[float, float]:
        score = standardise(out_of_fold(folds, "standardised"))
        concordance = stratified_harrell_c(score, cohort.time_months, cohort.event, cohort.centre)
        return concordance, model.gain(score)

    specs = permuted_specs(cohort, splits, config.seeds, permutations, seed)
    blocks = fit_models(cohort, bags, specs, config, device=pick_device(device), seed=seed, on_epoch=on_epoch)
    raw = np.concatenate([block.raw for block in blocks])  # (M, B)
    each = len(specs) // permutations
    null = [
        statistics(fold_scores(raw[first : first + each], specs[first : first + each], cohort.patient_ids))
        for first in range(0, len(specs), each)
    ]
    concordance, gain = statistics(observed)
    return (
        PermutationTest(observed=concordance, null=tuple(c for c, _ in null)),
        PermutationTest(observed=gain, null=tuple(g for _, g in null)),
    )
