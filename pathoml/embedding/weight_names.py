"""Weights as other programs saved them, under timm's names: out of what they were wrapped in, and
without the prefix that a wrapper gave them.

Nothing is guessed: a prefix or another layout is taken only where afterwards every tensor has the
name and the shape of one of the network's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor, zeros_like

from pathoml.embedding.dinov2_names import timm_names

# of dictionaries around the weights, in the order in which they are opened: what was trained
# slowly before what it was trained with
WRAPPERS = (
    *("state_dict", "model_state_dict", "model", "teacher", "model_ema", "ema", "state_dict_ema"),
    *("module", "network", "net", "encoder", "backbone", "student"),
)
# of names: of DataParallel, torch.compile, Lightning, DINO, open_clip and transformers
PREFIXES = (
    *("module.", "_orig_mod.", "teacher.", "model.", "backbone.", "encoder.", "network.", "net."),
    *("visual.", "trunk.", "vit.", "dinov2.", "image_encoder.", "feature_extractor.", "student."),
)
MOST_PREFIXES = 4  # one in another
HEADS = re.compile(  # what a network has for its pretraining only
    r"^(head|head_dist|fc|classifier|dino_head|ibot_head|projector|projection_head|predictor"
    r"|mask_token|pooler|decoder|student|dino_loss|ibot_patch_loss|criterion|text|logit_scale)"
    r"($|\.)"
)
CHUNK = re.compile(r"^blocks\.\d+\.(\d+)\.")  # DINOv2 numbers the blocks through all chunks
COUNTS = "num_batches_tracked"  # of batches seen in training; old files lack them
MOST_NAMED = 3
Weights = dict[str, Tensor]


def unwrapped(content: Any) -> Weights | None:
    """Return the tensors by name out of the dictionaries around them; None if there are none."""
    for _ in range(len(WRAPPERS)):
        if not isinstance(content, Mapping):
            return None
        inner = next((content[w] for w in WRAPPERS if isinstance(content.get(w), Mapping)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, Mapping) or not content:
        return None
    is_weights = all(isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items())
    return dict(content) if is_weights else None


def fitting_weights(weights: Weights, wanted: Mapping[str, Tensor]) -> Weights | None:
    """Return the weights under the network's names, or None if they are of another network.

    >>> import torch
    >>> net = {"norm.weight": torch.ones(2)}
    >>> list(fitting_weights({"module.norm.weight": torch.ones(2)}, net))
    ['norm.weight']
    >>> fitting_weights({"module.norm.weight": torch.ones(3)}, net) is None
    True
    """
    for candidate in _candidates(weights, wanted):
        complete = {
            **{k: zeros_like(v) for k, v in wanted.items() if k.endswith(COUNTS)},
            **candidate,
        }
        if complete.keys() == wanted.keys() and all(
            complete[key].shape == value.shape for key, value in wanted.items()
        ):
            return complete
    return None


def first_differences(weights: Weights, wanted: Mapping[str, Tensor]) -> str:
    """Return the first names and shapes in which weights differ from a network, of both sides, read
    in the way that comes nearest.
    """
    nearest = max(_candidates(weights, wanted), key=lambda c: len(c.keys() & wanted.keys()))
    only_file = [key for key in nearest if key not in wanted]
    only_network = [key for key in wanted if key not in nearest and not key.endswith(COUNTS)]
    shapes = [
        f"{key} is {tuple(nearest[key].shape)} in the file and {tuple(wanted[key].shape)} in the"
        " network"
        for key in wanted
        if key in nearest and nearest[key].shape != wanted[key].shape
    ]
    parts = [
        f"the file has {_some(only_file)}, which the network has not" if only_file else "",
        f"the network has {_some(only_network)}, which the file has not" if only_network else "",
        "; ".join(shapes[:MOST_NAMED]),
    ]
    return "; ".join(part for part in parts if part)


def _some(keys: list[str]) -> str:
    more = f" and {len(keys) - MOST_NAMED} more" if len(keys) > MOST_NAMED else ""
    return f"{', '.join(repr(key) for key in keys[:MOST_NAMED])}{more}"


def _candidates(weights: Weights, wanted: Mapping[str, Tensor]) -> Iterator[Weights]:
    """Yield the weights without each prefix that they have and under each layout of names, heads
    left out; what has another prefix has to be a head.
    """
    for prefix in _prefixes(weights, ""):
        inside = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
        outside = [k for k in weights if not k.startswith(prefix)]
        strange = {  # a name of the network that lacks the prefix is no name of the network
            f"{k}, without {prefix}" if k in wanted else k: weights[k]
            for k in outside
            if k in wanted or not HEADS.match(_without_wrappers(k))
        }
        for layout in LAYOUTS:
            try:
                renamed = layout(inside)
            except (RuntimeError, IndexError):  # shapes of no vision transformer
                continue
            kept = {k: v for k, v in renamed.items() if k in wanted or not HEADS.match(k)}
            yield kept | strange


def _prefixes(weights: Weights, begun: str, depth: int = 0) -> Iterator[str]:
    yield begun
    if depth < MOST_PREFIXES:
        for prefix in PREFIXES:
            if any(key.startswith(begun + prefix) for key in weights):
                yield from _prefixes(weights, begun + prefix, depth + 1)


def _without_wrappers(key: str) -> str:
    while (prefix := next((p for p in PREFIXES if key.startswith(p)), "")) not in ("", "student."):
        key = key.removeprefix(prefix)
    return key


def _as_it_is(weights: Weights) -> Weights:
    return dict(weights)


def _of_dinov2(weights: Weights) -> Weights:
    """Return the weights of the authors' code of DINOv2, whose blocks may stand in chunks."""
    renamed = {}
    for key, value in weights.items():
        key = CHUNK.sub(r"blocks.\1.", key)
        key = key.replace(".mlp.w12.", ".mlp.fc1.").replace(".mlp.w3.", ".mlp.fc2.")
        renamed["reg_token" if key == "register_tokens" else key] = value
    if {"reg_token", "cls_token", "pos_embed"} <= renamed.keys():
        positions = renamed["pos_embed"]  # (1, 1 + patches, D): the first is the class token's
        renamed["cls_token"] = renamed["cls_token"] + positions[:, :1]  # (1, 1, D)
        renamed["pos_embed"] = positions[:, 1:]  # (1, patches, D)
    return renamed


LAYOUTS: tuple[Callable[[Weights], Weights], ...] = (_as_it_is, _of_dinov2, timm_names)
