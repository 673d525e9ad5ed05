"""Step `explain`: what the models that did not see a patient made of each tile; writes runs/RUN/attention/.

contribution_i = a_i (g_i - g0), where g0 is the mean raw log-risk of a model's training patients: zero means "like the average
training patient". Averaged over the models of the score, so that contributions + bias = log_risk of scores.csv. Nothing is tiled
or embedded again.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pathoml.errors import CohortError
from pathoml.model_stack import ModelStack
from pathoml.scoring import FoldScores
from pathoml.store import write_text
from pathoml.types import AttentionMap, Bag, Embeddings

Array = npt.NDArray[np.float64]
TILE_NAMESPACE = uuid.UUID("5b0a2c9e-9a51-5d7c-8f5e-6d2f6f1f7a10")  # of the stable ids of tiles in QuPath


@dataclass(frozen=True, kw_only=True)
class BagExplanation:
    """A patient's tiles as the models of the score saw them, averaged as the score is."""

    attention: Array  # (N,) sums to 1
    contribution: Array  # (N,)
    bias: float
    log_risk: float
    fold: str


def explain_bag(stack: ModelStack, folds: Sequence[FoldScores], bag: Bag, position: int) -> BagExplanation:
    """Explain one patient by the models that did not see them.

    Args:
        folds: all fold scores of the run.
        position: the patient's place in the cohort.

    Raises:
        CohortError: the head has no exact contributions, so that a map would only pretend to add up.
    """
    if not stack.exact:
        raise CohortError(f"The head {stack.spec.head!r} has no exact contributions. Use train.head: abmil for maps.")
    output = stack.read_bag(bag.features)
    attention, contribution = output.attention.double().cpu().numpy(), output.contribution.double().cpu().numpy()  # (M, N)
    raw, bias = output.log_risk.double().cpu().numpy(), output.bias.double().cpu().numpy()  # (M,)
    mine = [f for f in folds if not f.is_training[position]]
    attentions, contributions, biases, risks = [], [], [], []
    for fold in mine:
        models = list(fold.models)
        read_out = fold.reference - float(bias[models].mean())  # g0: the reference without the intercept
        attentions.append(attention[models].mean(axis=0))
        contributions.append(contribution[models].mean(axis=0) - attentions[-1] * read_out)
        risks.append(float(raw[models].mean()) - fold.reference)
        biases.append(float(bias[models].mean()) - (fold.reference - read_out))
    return BagExplanation(
        attention=np.mean(attentions, axis=0),
        contribution=np.mean(contributions, axis=0),
        bias=float(np.mean(biases)),
        log_risk=float(np.mean(risks)),
        fold=";".join(f.fold for f in mine),
    )


def slide_maps(explanation: BagExplanation, bag: Bag, slides: Sequence[Embeddings], score_type: str) -> list[AttentionMap]:
    """Cut a patient's explanation into one map a slide, in the order of bag.slide_ids."""
    maps = []
    for index, slide in enumerate(slides):
        mine = bag.slide_index == index
        maps.append(
            AttentionMap(
                slide_id=slide.slide_id,
                patient_id=bag.patient_id,
                xy_l0=bag.xy_l0[mine],
                tile_l0=slide.tile_l0,
                size_l0=slide.size_l0,
                level0_mpp=slide.level0_mpp,
                attention=explanation.attention[mine],
                contribution=explanation.contribution[mine],
                log_risk=explanation.log_risk,
                bias=explanation.bias,
                fold=explanation.fold,
                score_type=score_type,
            )
        )
    return maps


def write_geojson(path: Path, tile_map: AttentionMap, colours: npt.NDArray[np.uint8], offset_l0: tuple[int, int]) -> None:
    """Write the map as QuPath reads it: one square a tile with measurements, coordinates in level-0 pixels.

    Args:
        colours: (N, 3) RGB of the tiles.
        offset_l0: `openslide.bounds-*`, subtracted because QuPath crops to them.
    """
    features = [_tile_feature(tile_map, i, [int(c) for c in colours[i]], offset_l0) for i in range(len(tile_map.xy_l0))]
    write_text(path, json.dumps({"type": "FeatureCollection", "features": features}, allow_nan=False))


def _tile_feature(tile_map: AttentionMap, i: int, colour: list[int], offset_l0: tuple[int, int]) -> dict[str, Any]:
    x, y = (int(v) - o for v, o in zip(tile_map.xy_l0[i], offset_l0))
    side = tile_map.tile_l0
    ring = [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]
    contribution = float(tile_map.contribution[i])
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(TILE_NAMESPACE, f"{tile_map.slide_id}/{x}/{y}/{side}")),
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {
            "objectType": "tile",
            "classification": {"name": "raises risk" if contribution > 0 else "lowers risk", "color": colour},
            "measurements": {"contribution": contribution, "attention": float(tile_map.attention[i])},
        },
    }
