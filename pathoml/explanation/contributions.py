"""Step `explain`: what the models that did not see a patient made of each tile; writes
runs/RUN/attention/.

contribution_i = a_i (g_i - g0), where g0 is the mean raw log-risk of a model's training patients:
zero means "like the average training patient". Averaged over the models of the score, so that
contributions + bias = log_risk of scores.csv. Nothing is tiled or embedded again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from pathoml.explanation.faithfulness import FEWEST_TILES, Judge, SlideFaithfulness, judge_slide
from pathoml.explanation.integrated_gradients import integrated_gradients
from pathoml.training.model_stack import ModelStack
from pathoml.training.scoring import FoldScores
from pathoml.types import Array, AttentionMap, Bag

# tiles that a head reads again to see whether it renormalises; as telling as half of a large bag,
# and much cheaper
MOST_TRIED = 2000
EXACT = "exact"  # contributions sum to the risk


@dataclass(frozen=True, kw_only=True)
class BagExplanation:
    """A patient's tiles as the U models that did not see the patient made of them, and their
    average as the score is averaged.
    """

    attention: Array  # (N,) sums to 1
    contribution: Array  # (N,)
    spread: Array  # (N,) SD of the contribution over the models: folds, repeats and seeds
    bias: float  # NaN where contributions do not sum to the risk
    log_risk: float
    fold: str
    method: str  # EXACT or "integrated gradients"
    attention_by_model: Array  # (U, N)
    contribution_by_model: Array  # (U, N) centred
    reference_by_model: Array  # (U,) mean raw log-risk of each model's training patients
    models: tuple[tuple[ModelStack, tuple[int, ...]], ...]  # the U models, as places in stacks
    group: npt.NDArray[
        np.int64
    ]  # (U,) models that judge together: the repeat, or the seed where there is one repeat

    def beside(self, judges: BagExplanation) -> BagExplanation:
        """Return the same map with further models that have no part in it but to judge it."""
        by_model = np.concatenate([self.contribution_by_model, judges.contribution_by_model])
        together = np.full(len(judges.group), self.group.max() + 1)
        return replace(
            self,
            spread=by_model.std(axis=0, ddof=1),
            attention_by_model=np.concatenate([self.attention_by_model, judges.attention_by_model]),
            contribution_by_model=by_model,
            reference_by_model=np.concatenate([self.reference_by_model, judges.reference_by_model]),
            models=self.models + judges.models,
            group=np.concatenate([self.group, together]),
        )

    def read(self, bag: Bag) -> Judge:
        """Return a function: (N,) which tiles are kept -> (U,) centred risks of these alone; of
        none at all, that of the average patient.
        """
        features = np.asarray(bag.features)

        def risks(kept: npt.NDArray[np.bool_]) -> Array:
            if not kept.any():
                return np.zeros(len(self.group))
            raw = [
                stack.read_bag(features[kept], models, centre=bag.centre).log_risk
                for stack, models in self.models
            ]
            found = np.concatenate([one.double().cpu().numpy() for one in raw])
            return np.asarray(found - self.reference_by_model)

        return risks


def explain_bag(
    stack: ModelStack, folds: Sequence[FoldScores], bag: Bag, *, position: int
) -> BagExplanation:
    """Explain one patient by the models that did not see them.

    Args:
        folds: all fold scores of the run.
        position: the patient's place in the cohort.
    """
    mine = [f for f in folds if not f.is_training[position]]
    return explain_features(stack, mine, bag.features, centre=bag.centre)


def explain_features(
    stack: ModelStack,
    folds: Sequence[FoldScores],
    features: npt.NDArray[Any],
    *,
    centre: str | None = None,
) -> BagExplanation:
    """Explain a bag by the models of some folds, each fold weighing the same; for a locked bundle
    those are all of them.

    Args:
        features: (N, D) of the bag.
        centre: the patient's; models of harmonised tiles have to know it.
    """
    models = [m for f in folds for m in f.models]
    weight = np.concatenate(
        [np.full(len(f.models), 1 / (len(folds) * len(f.models))) for f in folds]
    )  # (U,) sums to 1
    output = stack.read_bag(features, models, centre=centre)
    attention, contribution = (
        output.attention.double().cpu().numpy(),
        output.contribution.double().cpu().numpy(),
    )  # (U, N)
    raw, bias = output.log_risk.double().cpu().numpy(), output.bias.double().cpu().numpy()  # (U,)
    reference = np.concatenate([np.full(len(f.models), f.reference) for f in folds])  # (U,)
    if stack.exact:
        own = np.cumsum([0, *(len(f.models) for f in folds)])
        mean_bias = np.concatenate(
            [np.full(stop - start, bias[start:stop].mean()) for start, stop in pairwise(own)]
        )
        contribution = (
            contribution - attention * (reference - mean_bias)[:, None]
        )  # g0: the reference without the intercept
    else:
        contribution = integrated_gradients(stack, features, models, centre=centre)
    spread = (
        contribution.std(axis=0, ddof=1) if len(models) > 1 else np.zeros(contribution.shape[1])
    )
    repeats = {repeat: index for index, repeat in enumerate(dict.fromkeys(f.repeat for f in folds))}
    by_repeat = [repeats[f.repeat] for f in folds for _ in f.models]
    by_seed = [seed for f in folds for seed in range(len(f.models))]
    return BagExplanation(
        attention=weight @ attention,
        contribution=weight @ contribution,
        spread=spread,
        bias=float(weight @ (bias - mean_bias)) if stack.exact else float("nan"),
        log_risk=float(weight @ (raw - reference)),
        fold=";".join(f.fold for f in folds),
        method=EXACT if stack.exact else "integrated gradients",
        attention_by_model=attention,
        contribution_by_model=contribution,
        reference_by_model=reference,
        models=((stack, tuple(models)),),
        group=np.array(by_repeat if len(repeats) > 1 else by_seed, dtype=np.int64),
    )


def slide_faithfulness(
    explanation: BagExplanation, bag: Bag, *, slide: int, seed: int
) -> SlideFaithfulness | None:
    """Delete the tiles of one slide of a bag and let models judge that had no part in the map; None
    if nobody can.

    Args:
        slide: index into bag.slide_ids.
    """
    in_slide = bag.slide_index == slide
    judge = None if _renormalises(explanation, bag) else explanation.read(bag)
    return judge_slide(
        explanation.attention_by_model,
        explanation.contribution_by_model,
        explanation.group,
        in_slide=in_slide,
        seed=seed,
        judge=judge,
    )


def _renormalises(explanation: BagExplanation, bag: Bag) -> bool:
    attention, contribution = explanation.attention_by_model, explanation.contribution_by_model
    return explanation.method == EXACT and renormalises(
        attention, contribution, explanation.read(bag)
    )


def renormalises(attention: Array, contribution: Array, read: Judge) -> bool:
    """Return whether leaving tiles out does no more than renormalise the attention: true of a
    softmax over tiles, not of a maximum.

    Tried, not declared: the head reads some of the bag's less attended half, and both answers have
    to agree.

    Args:
        attention: (U, N), each row sums to 1.
        contribution: (U, N), each row sums to the risk.
        read: (N,) which tiles are kept -> (U,) risks of the heads that read only these.
    """
    n = attention.shape[1]
    if n < FEWEST_TILES:
        return False
    kept = np.zeros(n, dtype=bool)
    kept[np.argsort(-attention.max(axis=0), kind="stable")[n // 2 :][:MOST_TRIED]] = True
    left = attention[:, kept].sum(axis=1)
    if (left <= 0).any():
        return False
    return bool(
        np.allclose(contribution[:, kept].sum(axis=1) / left, read(kept), rtol=1e-3, atol=1e-3)
    )


def slide_maps(explanation: BagExplanation, bag: Bag, *, score_type: str) -> list[AttentionMap]:
    """Cut a patient's explanation into one map per slide, in the order of bag.slide_ids."""
    maps = []
    for index in range(len(bag.slide_ids)):
        grid = bag.grids[index]
        mine = bag.slide_index == index
        maps.append(
            AttentionMap(
                slide_id=grid.slide_id,
                patient_id=bag.patient_id,
                xy_l0=grid.xy_l0,
                tile_l0=grid.tile_l0,
                size_l0=grid.size_l0,
                level0_mpp=grid.level0_mpp,
                attention=explanation.attention[mine],
                contribution=explanation.contribution[mine],
                log_risk=explanation.log_risk,
                bias=explanation.bias,
                fold=explanation.fold,
                score_type=score_type,
                spread=explanation.spread[mine],
                method=explanation.method,
            )
        )
    return maps
