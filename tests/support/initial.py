"""Weights to begin with: files of heads, and a head of MIL-Lab written after its paper."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from support.learning import DIM
from torch import Tensor, nn

from pathoml.training.model_stack import HeadSpec

QUICK = [
    "train.head=abmil",
    "train.epochs=1",
    "train.seeds=2",
    "train.nested=false",
    "splits.repeats=1",
]
HIDDEN = 8  # of support.learning's study.yaml
# a step so small that what is saved is what was begun with
STANDING = ["train.learning_rate=1e-12", "train.weight_decay=0"]


class OtherAbmil(nn.Module):
    """ABMIL as MIL-Lab names it: Ilse's gated attention (2018), dropout left out, then classes."""

    def __init__(self, in_dim: int, embed: int, attention: int, classes: int) -> None:
        super().__init__()
        self.patch_embed = nn.Sequential(nn.Linear(in_dim, embed), nn.ReLU())
        self.global_attn = nn.ModuleDict(
            {
                "attention_a": nn.Sequential(nn.Linear(embed, attention), nn.Tanh()),
                "attention_b": nn.Sequential(nn.Linear(embed, attention), nn.Sigmoid()),
                "attention_c": nn.Linear(attention, 1),
            }
        )
        self.classifier = nn.Linear(embed, classes)

    def forward(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        """Return the (N,) attention and the (H,) pooled bag of (N, D) tiles."""
        tiles = self.patch_embed(tiles)
        a, b, c = (self.global_attn[f"attention_{letter}"] for letter in "abc")
        attention = torch.softmax(c(a(tiles) * b(tiles)).squeeze(-1), dim=0)
        return attention, attention @ tiles


def head_tensors(
    *, head: str = "abmil", in_dim: int = DIM, hidden: int = HIDDEN
) -> dict[str, Tensor]:
    """Return the tensors of a head with random values, the read-out's too."""
    torch.manual_seed(1)
    built = HeadSpec.of(head, in_dim=in_dim, hidden=hidden, dropout=0.5).build()
    return {name: torch.randn_like(value) for name, value in built.state_dict().items()}


def write_weights(path: Path, tensors: dict[str, Tensor], **said: str) -> Path:
    """Write tensors with metadata."""
    save_file({name: value.contiguous() for name, value in tensors.items()}, path, said or None)
    return path
