"""The encoder as code compiled for this machine (torch.compile, weights frozen): the same features
within rounding, in less time.

Compiling takes some ten seconds, so it pays from `WORTH_TILES` tiles on. On the CPU the study's
number of tiles decides, not a clock: a rerun gives the same bits (docs/decisions/0018). Where bits
may differ from run to run anyway (auto: on a GPU) a trial of seconds decides, once for an encoder
on a kind of device.

Source: Ansel et al., ASPLOS 2024, doi:10.1145/3620665.3640366 (PyTorch 2, TorchInductor).
"""

from __future__ import annotations

import logging
import os
import statistics
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from pathoml.compute.measured import cache_folder, machine_key, remember, remembered
from pathoml.embedding.jobs import EmbedJob, tiles_of
from pathoml.embedding.network import EncoderModel
from pathoml.errors import EncoderError
from pathoml.store.files import sha256_of_json
from pathoml.types import Image

WORTH_TILES = 20_000  # a study's: below, what it saves hardly pays for compiling
ROUNDS = 5
AS_FAST = 0.95  # of the seconds without: what compiling has to reach in the trial

Encode = Callable[[Image], object]


class CompiledEncoder(nn.Module):
    """Full batches by compiled code, what is left of a slide by the network as it is.

    Code is compiled for one shape: for a second one torch would compile code of any shape, which
    rounds otherwise, so that bits would depend on what ran before. By this division they depend on
    the slide alone.
    """

    def __init__(self, model: EncoderModel, batch_size: int) -> None:
        super().__init__()
        self.model, self.batch_size = model, batch_size
        self.compiled = torch.compile(model, dynamic=False, options={"freezing": True})

    def forward(self, tiles: Tensor) -> Tensor:
        """Return (B, D) features of (B, H, W, 3) uint8 RGB tiles."""
        features: Tensor = (
            self.compiled(tiles) if len(tiles) == self.batch_size else self.model(tiles)
        )
        return features


def is_worth_compiling(wanted: bool | Literal["auto"], jobs: Sequence[EmbedJob]) -> bool | None:
    """Return what `compute.compile` means for all slides of a study, done ones too: True, False, or
    None = where it can be had and pays.
    """
    if wanted != "auto":
        return wanted
    return None if tiles_of(jobs, enough=WORTH_TILES) >= WORTH_TILES else False


def choose_compiled(
    wanted: bool | None,
    model: EncoderModel,
    batch_size: int,
    *,
    encode_by: Callable[[nn.Module], Encode],
    encoder_sha256: str,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> tuple[nn.Module, str]:
    """Return the encoder compiled or as it was, and why in a few words ("" if nobody asked).

    Args:
        wanted: True, False, or None = where it can be had and pays.
        encode_by: gives what runs a model over (B, tile_px, tile_px, 3) uint8 tiles and waits until
            the device is done.

    Raises:
        EncoderError: `wanted` is True and it cannot be compiled here.
    """
    repeats = torch.are_deterministic_algorithms_enabled()
    if wanted is False or (wanted is None and repeats and device.type != "cpu"):
        return model, ""
    key = machine_key(
        f"compiled for batches of {batch_size}",
        encoder_sha256,
        model.tile_px,
        device=device,
        dtype=dtype,
    )
    if wanted is None and not repeats and remembered(key) is False:
        return model, f"not compiled: slower in an earlier trial, {cache_folder()}"
    tiles = np.random.default_rng(1).integers(
        0, 256, (batch_size, model.tile_px, model.tile_px, 3), dtype=np.uint8
    )
    try:
        _compile_into(code_folder())
        compiled = CompiledEncoder(model, batch_size)
        encode_by(compiled)(tiles)
    except (
        RuntimeError,
        OSError,
        ImportError,
    ) as error:  # torch's, of which the compiler's are; a cache that cannot be written
        first_line = str(error).strip().partition("\n")[0]
        reason = f"{type(error).__name__}: {first_line}"
        if wanted:
            raise EncoderError(
                f"The encoder cannot be compiled here ({reason}). Install g++, or set"
                " compute.compile: auto."
            ) from error
        return model, f"not compiled, which takes a C++ compiler, as g++ ({reason})"
    if wanted:
        return compiled, "compiled, as study.yaml says"
    if repeats:
        return compiled, f"compiled for this machine, which pays from {WORTH_TILES} tiles on"
    is_faster = remembered(key)
    if is_faster is None:
        is_faster = _ratio(encode_by(compiled), encode_by(model), tiles) <= AS_FAST
        remember(key, is_faster)
    return (
        (compiled, "compiled: faster in a trial")
        if is_faster
        else (model, "not compiled: slower in a trial")
    )


def _ratio(one: Encode, other: Encode, tiles: Image) -> float:
    """Return the median of paired ratios of seconds."""

    def seconds(encode: Encode) -> float:
        begun = time.monotonic()
        encode(tiles)
        return time.monotonic() - begun

    return statistics.median([seconds(one) / seconds(other) for _ in range(1 + ROUNDS)][1:])


def code_folder() -> Path:
    """Return where compiled code is kept: in the user's own cache, apart for each kind of processor
    that shares a home.
    """
    return cache_folder() / "compiled" / sha256_of_json([str(torch.__version__), _processor()])[:16]


@lru_cache(maxsize=1)
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return torch.backends.cpu.get_cpu_capability()
    return "\n".join(
        sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
    )


def _compile_into(folder: Path) -> None:
    """Have torch keep its code there instead of under a name in /tmp that anyone may take first;
    before torch settles on that one.
    """
    if "TORCHINDUCTOR_CACHE_DIR" not in os.environ:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder)
    logging.getLogger("torch.utils.cpp_extension").setLevel(
        logging.ERROR
    )  # that there is no CUDA is known
