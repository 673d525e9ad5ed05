"""An encoder ready to run: pretrained, on its device, with its batch size, as it is or compiled."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from pathoml.compute.devices import pick_precision
from pathoml.compute.memory import keep_freed_memory
from pathoml.embedding.batch_sizes import choose_batch_size
from pathoml.embedding.compiling import choose_compiled
from pathoml.embedding.network import EncoderModel, load_encoder
from pathoml.types import Image


@dataclass(frozen=True, kw_only=True)
class ReadyEncoder:
    """A pretrained encoder on its device, and how it is run there."""

    name: str
    sha256: str  # of its weights' file
    model: nn.Module  # (B, H, W, 3) uint8 tiles in, (B, D) features out
    device: torch.device
    batch_size: int  # tiles it sees at once
    dtype: torch.dtype  # it computes in; weights stay float32
    is_compiled: bool = False
    how: str = ""  # it is run, and why so

    @property
    def precision(self) -> str:
        """What it computes in."""
        return str(self.dtype).removeprefix("torch.") + (", compiled" if self.is_compiled else "")

    def __call__(self, tiles: Image) -> npt.NDArray[np.float16]:
        """Return (B, D) features of (B, H, W, 3) uint8 tiles."""
        return embed_tiles(self.model, tiles, self.device, dtype=self.dtype)


def ready_encoder(
    name: str,
    device: torch.device,
    *,
    batch_size: int | None = None,
    compiled: bool | None = False,
    precision: str = "auto",
) -> ReadyEncoder:
    """Load a pretrained encoder and settle how it is run.

    Args:
        batch_size: tiles at once; None = as `batch_sizes` chooses.
        compiled: whether to compile it; None = as `compiling` chooses for work that is long enough.
        precision: fp32, bf16 or auto.

    Raises:
        EncoderError: the encoder is unknown or its weights are not to be had; or it is to be
            compiled and cannot be.
    """
    model, sha256 = loaded_encoder(name, device)
    dtype = pick_precision(device, precision, stands_bf16=model.stands_bf16)
    keep_freed_memory()  # of tiles that are read, and on the CPU of layers
    if device.type == "cuda" and precision == "fp32":
        torch.backends.cudnn.allow_tf32 = False  # what is asked for is all of its 23 bits
    encode_by = partial(partial, _embed_batch, device=device, dtype=dtype)  # of a model
    batch = choose_batch_size(
        batch_size,
        encode_by(model),
        encoder_sha256=sha256,
        tile_px=model.tile_px,
        device=device,
        dtype=dtype,
    )
    chosen, why = choose_compiled(
        compiled,
        model,
        batch.tiles,
        encode_by=encode_by,
        encoder_sha256=sha256,
        device=device,
        dtype=dtype,
    )
    return ReadyEncoder(
        name=name,
        sha256=sha256,
        model=chosen,
        device=device,
        batch_size=batch.tiles,
        dtype=dtype,
        is_compiled=chosen is not model,
        how=f"batches of {batch.tiles} tiles: {batch.why}{why and f'; {why}'}",
    )


def loaded_encoder(name: str, device: torch.device) -> tuple[EncoderModel, str]:
    """Return a pretrained encoder on the device, laid out as it computes fastest, and the SHA-256
    of its weights' file.
    """
    model, encoder_sha256 = load_encoder(name)
    # weights stay float32; autocast picks what may be shorter
    return model.to(device).to(memory_format=torch.channels_last), encoder_sha256


def embed_tiles(
    model: nn.Module, tiles: Image, device: torch.device, *, dtype: torch.dtype = torch.float32
) -> npt.NDArray[np.float16]:
    """Return (B, D) float16 features of (B, H, W, 3) uint8 tiles, computed in `dtype`; a batch that
    does not fit the memory is halved.
    """
    try:
        return _embed_batch(model, tiles, device=device, dtype=dtype)
    except torch.OutOfMemoryError:
        if len(tiles) == 1:
            raise
    half = (
        len(tiles) // 2
    )  # after the handler, whose traceback would keep the failed batch in memory
    return np.concatenate(
        [embed_tiles(model, part, device, dtype=dtype) for part in (tiles[:half], tiles[half:])]
    )


def _embed_batch(
    model: nn.Module, tiles: Image, *, device: torch.device, dtype: torch.dtype
) -> npt.NDArray[np.float16]:
    on_host = torch.from_numpy(tiles)
    if device.type == "cuda":
        # torch keeps and reuses pinned buffers; only from them does a copy run beside the encoder
        on_host = on_host.pin_memory()
    with (
        torch.inference_mode(),
        torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16),
    ):
        features: npt.NDArray[np.float16] = (
            model(on_host.to(device, non_blocking=True)).to(torch.float16).cpu().numpy()
        )
    return features
