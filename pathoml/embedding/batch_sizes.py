"""How many tiles the encoder sees at once: fixed where a rerun must give the same bits, else the
fastest of a short trial.

Sums over other batches round otherwise, so a choice by the clock could change the last bits from
run to run. Deterministic algorithms (auto: on the CPU) therefore keep the fixed number; without
them a trial of seconds chooses, once for an encoder on a kind of device, and is remembered in the
user's cache (docs/decisions/0016).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from pathoml.compute.measured import machine_key, memory_path, remember, remembered
from pathoml.types import Image

FIXED = {
    "cpu": 8,
    "cuda": 256,
}  # on the CPU larger ones gain a few per cent at most and take more memory
TRIED = {"cpu": (4, 8, 16, 32), "cuda": (32, 64, 128, 256, 512)}
ROUNDS = 3  # of each size, after one that warms up
TRIAL_SECONDS = 10.0  # no larger size is tried afterwards
# a smaller batch is taken if it costs at most this much more a tile: it needs less memory
AS_FAST = 1.03


@dataclass(frozen=True, kw_only=True)
class BatchSize:
    """Tiles the encoder sees at once, and why so many."""

    tiles: int
    why: str


def choose_batch_size(
    wanted: int | None,
    encode: Callable[[Image], object],
    *,
    encoder_sha256: str,
    tile_px: int,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> BatchSize:
    """Return the number that study.yaml names, the fixed one where bits must repeat, or the one
    that a trial found fastest.

    Args:
        wanted: compute.batch_size, None for auto.
        encode: runs the encoder over (B, tile_px, tile_px, 3) uint8 tiles and waits until the
            device is done.
    """
    if wanted is not None:
        return BatchSize(tiles=wanted, why="as study.yaml says")
    if torch.are_deterministic_algorithms_enabled():
        return BatchSize(tiles=FIXED[device.type], why="fixed, so that a rerun gives the same bits")
    key = machine_key("batch", encoder_sha256, tile_px, device=device, dtype=dtype)
    known = remembered(key)
    if isinstance(known, int) and known in TRIED[device.type]:
        return BatchSize(tiles=known, why=f"the fastest of an earlier trial, {memory_path()}")
    fastest = fastest_batch(_seconds(encode, tile_px), TRIED[device.type])
    remember(key, fastest)
    return BatchSize(tiles=fastest, why="the fastest of a trial")


def fastest_batch(seconds: Callable[[int], float], sizes: tuple[int, ...]) -> int:
    """Return the smallest size whose seconds a tile are within a few per cent of the best.

    Args:
        seconds: encodes a batch of so many tiles and returns how long it took;
            torch.OutOfMemoryError ends the trial.
        sizes: ascending; the first has to fit the memory, or `sizes[0]` is returned untried.

    >>> fastest_batch(lambda tiles: {8: 0.4, 16: 0.5, 32: 0.99}[tiles], (8, 16, 32))
    16
    """
    a_tile: dict[int, float] = {}
    spent = 0.0
    for size in sizes:
        try:
            rounds = [seconds(size) for _ in range(1 + ROUNDS)]
        except torch.OutOfMemoryError:
            break
        a_tile[size] = statistics.median(rounds[1:]) / size
        spent += sum(rounds)
        if spent > TRIAL_SECONDS:
            break
    best = min(a_tile.values(), default=0.0)
    return next((size for size, cost in a_tile.items() if cost <= AS_FAST * best), sizes[0])


def _seconds(encode: Callable[[Image], object], tile_px: int) -> Callable[[int], float]:
    def seconds(tiles: int) -> float:
        batch = np.random.default_rng(1).integers(
            0, 256, (tiles, tile_px, tile_px, 3), dtype=np.uint8
        )
        begun = time.monotonic()
        encode(batch)
        return time.monotonic() - begun

    return seconds
