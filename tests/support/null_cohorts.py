"""Cohorts of made-up features where centres differ and nothing else does, or an effect of known
size; and what the permutation test and the Wald test say of one.

80 patients of 4 centres, 8 tiles of 8 dimensions (16 of 16 and 25 epochs if large), a stain shift
and a baseline hazard of its own for each centre, unrelated to each other. The cross-validation is
pathoml's own, with small models (8 wide, 12 epochs, no projection), 5 folds, 1 repeat.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from pathoml.config import SplitsConfig, TrainConfig
from pathoml.evaluation.permutation import RepeatedValidation, permutation_tests
from pathoml.study.splits import make_splits
from pathoml.survival.concordance import harrell_c, stratified_harrell_c
from pathoml.survival.cox import fit_cox, wald_test
from pathoml.survival.estimate import Estimate
from pathoml.survival.fold_concordance import fold_c_interval
from pathoml.training.fit import fit_models
from pathoml.training.loop import model_specs
from pathoml.training.scoring import averaged, fold_scores, folded_scores
from pathoml.types import Bag, Cohort, Patient

PATIENTS, CENTRES = 80, 4
# tiles per patient = dimensions, and epochs; the large one is that of an earlier prototype
SMALL, LARGE = (8, 12), (16, 25)


def recipe(size: tuple[int, int]) -> TrainConfig:
    """Return how the small models are trained."""
    return TrainConfig(
        epochs=size[1],
        tiles_per_patient=size[0],
        projection=None,
        hidden=8,
        seeds=1,
        learning_rate=2e-2,
    )


def draw_cohort(
    seed: int, effect: float, tiles: int, *, stain: float = 0.7, patients: int = PATIENTS
) -> tuple[Cohort, list[Bag]]:
    """Return a cohort whose hazard depends on the centre and, by `effect`, on the share of one kind
    of tile.

    Args:
        stain: SD of a centre's shift of every feature; tiles have SD 1.
    """
    rng, dim = np.random.default_rng(seed), tiles
    centre = rng.integers(CENTRES, size=patients)
    shift, hazard = rng.normal(0, stain, (CENTRES, dim)), rng.normal(0, 0.5, CENTRES)
    share, direction = rng.uniform(size=patients), rng.normal(size=dim)
    time_months = rng.exponential(np.exp(-hazard[centre] - effect * (share - 0.5))) * 20 + 0.1
    censored = rng.uniform(5, 60, patients)
    people, bags = [], []
    for i in range(patients):
        kind = rng.random(tiles) < share[i]
        features = rng.normal(size=(tiles, dim)) + shift[centre[i]] + np.outer(kind, direction)
        bags.append(
            Bag(
                patient_id=f"P{i}",
                features=features.astype(np.float16),
                slide_index=np.zeros(tiles, np.int64),
                slide_ids=(f"S{i}",),
                xy_l0=np.zeros((tiles, 2), np.int64),
            )
        )
        people.append(
            Patient(
                patient_id=f"P{i}",
                centre=f"C{centre[i]}",
                time_months=float(min(time_months[i], censored[i])),
                event=int(time_months[i] <= censored[i]),
                slide_ids=(f"S{i}",),
                covariates={"age": float(rng.normal(60, 10))},
            )
        )
    return Cohort(patients=tuple(people), slides=(), endpoint="", time_zero="", excluded=()), bags


@dataclass(frozen=True, kw_only=True)
class Tested:
    """What the tests, and the printed C, say of one cohort."""

    p_of_c: float  # of permutations, 1 without any
    p_of_gain: float
    wald_p: float  # of the ordinary test
    pooled_c: float  # of the averaged scores, over all pairs
    across_folds_c: float  # the same, within centres
    c: Estimate  # as printed: pairs of one fold and centre
    null_c: float  # the mean over permutations


def one_cohort(
    seed: int,
    effect: float,
    stratify_by: str,
    *,
    permutations: int,
    size: tuple[int, int] = SMALL,
    repeats: int = 1,
    stain: float = 0.7,
    patients: int = PATIENTS,
) -> Tested:
    """Draw one cohort, cross-validate it and test it."""
    train = recipe(size)
    cohort, bags = draw_cohort(seed, effect, size[0], stain=stain, patients=patients)
    splits = make_splits(cohort, SplitsConfig(repeats=repeats, seed=seed, stratify_by=stratify_by))  # type: ignore[arg-type]
    specs = model_specs(splits, 1)
    raw = np.concatenate(
        [
            b.raw
            for b in fit_models(
                cohort, bags, specs, config=train, device=torch.device("cpu"), seed=seed
            )
        ]
    )
    folds = fold_scores(raw, specs, cohort.patient_ids)
    age = np.array([[p.covariates["age"]] for p in cohort.patients], dtype=np.float64)
    design = {"cohort": cohort, "bags": bags, "splits": splits, "clinical": age, "config": train}
    p_of_c = p_of_gain = 1.0
    null_c = float("nan")
    if permutations:
        c_test, gain = permutation_tests(
            RepeatedValidation(**design, permutations=permutations, seed=seed, device="cpu"), folds
        )
        p_of_c, p_of_gain, null_c = c_test.p_value, gain.p_value, float(np.mean(c_test.null))
    score = averaged(folds)
    outcome = cohort.time_months, cohort.event
    return Tested(
        p_of_c=p_of_c,
        p_of_gain=p_of_gain,
        wald_p=wald_test(fit_cox(score[:, None], *outcome), 0) if np.ptp(score) else 1.0,
        pooled_c=harrell_c(score, *outcome),
        across_folds_c=stratified_harrell_c(score, *outcome, stratum=cohort.centre),
        c=fold_c_interval(folded_scores(folds), *outcome, stratum=cohort.centre),
        null_c=null_c,
    )
