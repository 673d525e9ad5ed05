"""What there is to embed, and whether it was done: no network is loaded to find that nothing is to do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pathoml.config import StainConfig
from pathoml.errors import StoreError
from pathoml.store._hdf5 import read_tiles, recipe_sha256, stored_attr
from pathoml.tiling.step import grid_name, kept_tiles
from pathoml.types import Encoder, Recipe

EMBEDDING_VERSION = 2  # raise it when the same tiles and weights come out otherwise
STAIN_VERSION = 1  # and this one when the same stain does
AS_SCANNED = StainConfig()


@dataclass(frozen=True, kw_only=True)
class EmbedJob:
    """One slide to embed."""

    slide_id: str
    slide_path: Path
    tiles_path: Path
    embeddings_path: Path
    exclude: tuple[str, ...]
    icc: bool = False  # colours by the slide's profile
    stain: StainConfig = AS_SCANNED


def stain_name(stain: StainConfig) -> str:
    """Return what is done to the stain in one word, "" for nothing.

    >>> stain_name(StainConfig(normalise="macenko", augment=0.05)), stain_name(StainConfig())
    ('macenko-hed0.05', '')
    """
    jitter = f"hed{stain.augment:g}" if stain.augment else ""
    return "-".join(part for part in (stain.normalise, jitter) if part)


def encoding_name(name: str, encoder: Encoder, tile_px: int, mpp: float, stain: StainConfig = AS_SCANNED) -> str:
    """Return the folder of an encoding: the encoder's name on its own grid, else ENCODER@GRID, else ENCODER@GRID-STAIN.

    >>> from pathoml.encoders import find_encoder
    >>> lite0 = find_encoder("efficientnet_lite0")
    >>> encoding_name("efficientnet_lite0", lite0, 224, 0.5), encoding_name("efficientnet_lite0", lite0, 224, 1.0)
    ('efficientnet_lite0', 'efficientnet_lite0@224px_1.0mpp')
    >>> encoding_name("efficientnet_lite0", lite0, 224, 0.5, StainConfig(normalise="reinhard"))
    'efficientnet_lite0@224px_0.5mpp-reinhard'
    """
    own = (tile_px, mpp) == (encoder.tile_px, encoder.mpp)
    if stain == AS_SCANNED:
        return name if own else f"{name}@{grid_name(tile_px, mpp)}"
    return f"{name}@{grid_name(tile_px, mpp)}-{stain_name(stain)}"


def embed_recipe(encoder_name: str, encoder_sha256: str, job: EmbedJob) -> Recipe:
    """Return everything that decides the features of a slide."""
    tiles_sha256 = stored_attr(job.tiles_path, "content_sha256")
    inputs = {"encoder": encoder_name, "weights": encoder_sha256, "tiles": tiles_sha256, "exclude": sorted(job.exclude)}
    colours: dict[str, object] = {"icc": True} if job.icc else {}  # as it was before there was a choice
    if job.stain != AS_SCANNED:
        colours["stain"] = {**job.stain.model_dump(), "version": STAIN_VERSION}
    return Recipe(step="embed", inputs={**inputs, **colours, "version": EMBEDDING_VERSION})


def stale_jobs(jobs: Sequence[EmbedJob], encoder_name: str, encoder_sha256: str) -> list[EmbedJob]:
    """Return the jobs whose embeddings are missing or were made from other tiles or weights."""
    return [
        job
        for job in jobs
        if stored_attr(job.embeddings_path, "recipe_sha256") != recipe_sha256(embed_recipe(encoder_name, encoder_sha256, job))
    ]


def tiles_of(jobs: Sequence[EmbedJob], *, enough: float = math.inf) -> int:
    """Return how many tiles the jobs have in all, without flagged ones; a torn file counts none and fails when it is embedded.

    Args:
        enough: nobody asks for more; files are opened until there are as many.
    """
    count = 0
    for job in jobs:
        if count >= enough:
            break
        with suppress(StoreError):
            count += len(kept_tiles(read_tiles(job.tiles_path)[0], job.exclude).xy_l0)
    return count
