"""Weights of a vision transformer, DINOv2 or plain, as the hub's `transformers` files name them,
renamed for timm's vision transformer.

The networks are the same; query, key and value are three matrices there and one here. Where there
are registers, timm gives only the patches a position: that of the class token, a constant, goes
into the token.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

# used in pretraining only, or after the features
NOT_NEEDED = ("embeddings.mask_token", "pooler.dense.weight", "pooler.dense.bias")
RENAMED = (
    ("embeddings.cls_token", "cls_token"),
    ("embeddings.register_tokens", "reg_token"),
    ("embeddings.position_embeddings", "pos_embed"),
    ("embeddings.patch_embeddings.projection.", "patch_embed.proj."),
    ("encoder.layer.", "blocks."),
    (".attention.output.dense.", ".attn.proj."),
    (".layer_scale1.lambda1", ".ls1.gamma"),
    (".layer_scale2.lambda1", ".ls2.gamma"),
    (".mlp.weights_in.", ".mlp.fc1."),
    (".mlp.weights_out.", ".mlp.fc2."),
    (".layernorm_before.", ".norm1."),
    (".layernorm_after.", ".norm2."),
    (".intermediate.dense.", ".mlp.fc1."),
    (".output.dense.", ".mlp.fc2."),  # that of the attention is renamed above
    ("layernorm.", "norm."),
)
QUERY = re.compile(r"^(blocks\.\d+)\.attention\.attention\.query\.(weight|bias)$")


def timm_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict of timm's vision transformer; names that are not known stay, so that
    strict loading refuses them.

    >>> theirs = {"layernorm.weight": torch.ones(2), "embeddings.mask_token": torch.ones(1)}
    >>> sorted(timm_names(theirs))
    ['norm.weight']
    """
    renamed = {}
    for key, value in weights.items():
        if key not in NOT_NEEDED:
            for theirs, ours in RENAMED:
                key = key.replace(theirs, ours)
            renamed[key] = value
    for key in list(renamed):
        found = QUERY.match(key)
        if found is not None:
            block, kind = found.groups()
            parts = [
                renamed.pop(f"{block}.attention.attention.{name}.{kind}", None)
                for name in ("query", "key", "value")
            ]
            renamed[f"{block}.attn.qkv.{kind}"] = torch.cat(
                [p for p in parts if p is not None]
            )  # (3 D, D) or (3 D,)
    if {"reg_token", "cls_token", "pos_embed"} <= renamed.keys():
        positions = renamed["pos_embed"]  # (1, 1 + patches, D)
        renamed["cls_token"] = renamed["cls_token"] + positions[:, :1]  # (1, 1, D)
        renamed["pos_embed"] = positions[:, 1:]  # (1, patches, D)
    return renamed
