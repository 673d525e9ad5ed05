"""The honest p value: permute the bags among the patients of a centre, repeat the whole cross-validation, compare.

Outcome, covariates, centre and fold stay together; p = (1 + number >= observed) / (B + 1), with the same number of repeats on both
sides. Theory: Hoefling & Tibshirani, Ann Appl Stat 2 (2008), doi 10.1214/07-AOAS152.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pathoml.config import TrainConfig
from pathoml.embedding import pick_device
from pathoml.model_stack import ModelSpec
from pathoml.scoring import FoldScores, fold_scores, out_of_fold, standardise
from pathoml.survival.concordance import stratified_harrell_c
from pathoml.survival.cox import fit_cox, likelihood_ratio_test
from pathoml.training import model_specs, train_models
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
    if np.ptp(score) == 0:
        return 0.0
    time_months, event, centre = cohort.time_months, cohort.event, cohort.centre
    full = fit_cox(np.column_stack([clinical, score]), time_months, event, stratum=centre)
    reduced = fit_cox(clinical, time_months, event, stratum=centre)
    return float(np.sign(full.coefficients[-1])) * likelihood_ratio_test(full, reduced).chi2


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
        observed: the run's fold scores on these partitions.
        clinical: (B, p) covariates of the clinical model.

    Returns:
        The test of discrimination and the test of added value.
    """

    def statistics(folds: Sequence[FoldScores]) -> tuple[float, float]:
        score = standardise(out_of_fold(folds, "standardised"))
        concordance = stratified_harrell_c(score, cohort.time_months, cohort.event, cohort.centre)
        return concordance, likelihood_ratio_gain(score, clinical, cohort)

    rng = np.random.default_rng(seed)
    orders = [permute_within_centre(cohort.centre, rng) for _ in range(permutations)]
    specs = model_specs(splits, config.seeds)
    null = [
        statistics(
            _cross_validate(cohort, [bags[i] for i in order], specs, config, seed + 1 + b, device, _progress(on_epoch, b, permutations))
        )
        for b, order in enumerate(orders)
    ]
    concordance, gain = statistics(observed)
    return (
        PermutationTest(observed=concordance, null=tuple(c for c, _ in null)),
        PermutationTest(observed=gain, null=tuple(g for _, g in null)),
    )


def _cross_validate(
    cohort: Cohort,
    bags: Sequence[Bag],
    specs: Sequence[ModelSpec],
    config: TrainConfig,
    seed: int,
    device: str,
    on_epoch: Callable[[int, int], None] | None,
) -> list[FoldScores]:
    blocks = train_models(cohort, bags, specs, config, device=pick_device(device), seed=seed, on_epoch=on_epoch)
    raw = np.concatenate([block.raw for block in blocks])
    return fold_scores(raw, specs, cohort.patient_ids)


def _progress(on_epoch: Callable[[int, int], None] | None, done: int, permutations: int) -> Callable[[int, int], None] | None:
    if on_epoch is None:
        return None
    return lambda epoch, epochs: on_epoch(done * epochs + epoch, permutations * epochs)


def first_repeats(folds: Sequence[FoldScores], repeats: int) -> list[FoldScores]:
    """Return the fold scores of the first repeats of a run."""
    names = list(dict.fromkeys(f.repeat for f in folds))[:repeats]
    return [f for f in folds if f.repeat in names]
