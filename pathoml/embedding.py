"""Step `embed`: run the encoder over the tiles of every slide; writes embeddings/ENCODING/.

Threads read tiles ahead of the encoder. Batches are cut from one slide in a fixed order, so that features do not depend on what
else is embedded.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from pathoml.config import ComputeConfig
from pathoml.encoders import EncoderModel, load_encoder
from pathoml.errors import EncoderError, SlideError, StoreError
from pathoml.slides import SlideReader, open_slide, read_tile
from pathoml.store import read_tiles, recipe_sha256, stored_attr, sweep_temporaries, write_embeddings
from pathoml.tiling import grid_name, kept_tiles, write_failures
from pathoml.types import Encoder, Image, Recipe, TileGrid

EMBEDDING_VERSION = 1  # raise it when the same tiles and weights come out otherwise
BATCH_SIZE = {"cpu": 32, "cuda": 256}
BATCHES_AHEAD = 4  # read while the encoder works; bounds the memory


@dataclass(frozen=True, kw_only=True)
class EmbedJob:
    """One slide to embed."""

    slide_id: str
    slide_path: Path
    tiles_path: Path
    embeddings_path: Path
    exclude: tuple[str, ...]


@dataclass(kw_only=True)
class EmbedReport:
    """What a run of the step did."""

    slides: int = 0
    tiles: int = 0
    failures: dict[str, str] = field(default_factory=dict)


def encoding_name(name: str, encoder: Encoder, tile_px: int, mpp: float) -> str:
    """Return the folder of an encoding: the encoder's name on its own grid, else ENCODER@GRID.

    >>> from pathoml.encoders import find_encoder
    >>> lite0 = find_encoder("efficientnet_lite0")
    >>> encoding_name("efficientnet_lite0", lite0, 224, 0.5), encoding_name("efficientnet_lite0", lite0, 224, 1.0)
    ('efficientnet_lite0', 'efficientnet_lite0@224px_1.0mpp')
    """
    own = (tile_px, mpp) == (encoder.tile_px, encoder.mpp)
    return name if own else f"{name}@{grid_name(tile_px, mpp)}"


def pick_device(wanted: str) -> torch.device:
    """Return the device that `compute.device` means on this machine.

    Raises:
        EncoderError: a GPU is asked for and there is none.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise EncoderError("compute.device is cuda, but no GPU is to be seen. `pathoml doctor` says more; compute.device: auto goes on.")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def prepare_device(compute: ComputeConfig) -> torch.device:
    """Return the device of a study, with torch set to deterministic algorithms where that is wanted (auto: on the CPU)."""
    device = pick_device(compute.device)
    deterministic = device.type == "cpu" if compute.deterministic == "auto" else compute.deterministic
    if deterministic and device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with a fixed workspace
    torch.use_deterministic_algorithms(deterministic)
    return device


def pick_precision(device: torch.device) -> torch.dtype:
    """Return what the encoder computes in: bfloat16 on a GPU that has it, float32 elsewhere (docs/decisions/0002)."""
    return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32


def embed_recipe(encoder_name: str, encoder_sha256: str, tiles_sha256: str, exclude: Sequence[str]) -> Recipe:
    """Return everything that decides the features of a slide."""
    inputs = {"encoder": encoder_name, "weights": encoder_sha256, "tiles": tiles_sha256, "exclude": sorted(exclude)}
    return Recipe(step="embed", inputs={**inputs, "version": EMBEDDING_VERSION})


def stale_jobs(jobs: Sequence[EmbedJob], encoder_name: str, encoder_sha256: str) -> list[EmbedJob]:
    """Return the jobs whose embeddings are missing or were made from other tiles or weights."""
    return [
        job
        for job in jobs
        if stored_attr(job.embeddings_path, "recipe_sha256")
        != recipe_sha256(embed_recipe(encoder_name, encoder_sha256, stored_attr(job.tiles_path, "content_sha256"), job.exclude))
    ]


def embed_slides(
    jobs: Sequence[EmbedJob],
    *,
    encoder_name: str,
    device: torch.device,
    workers: int,
    batch_size: int | None,
    on_tiles: Callable[[str, int], None],
) -> EmbedReport:
    """Embed slides one after another; a slide that fails is recorded and the others go on.

    Args:
        on_tiles: called with (slide_id, tiles just embedded).
    """
    report = EmbedReport()
    if not jobs:
        return report
    model, encoder_sha256 = load_encoder(encoder_name)
    model = model.to(device).to(memory_format=torch.channels_last)  # weights stay float32; autocast picks what may be shorter
    folder = jobs[0].embeddings_path.parent
    folder.mkdir(parents=True, exist_ok=True)
    sweep_temporaries(folder)
    with ThreadPoolExecutor(workers) as readers:
        for job in jobs:
            try:
                report.tiles += _embed_one(
                    job, model, encoder_name, encoder_sha256, device, batch_size or BATCH_SIZE[device.type], readers, on_tiles
                )
                report.slides += 1
            except (SlideError, StoreError) as error:
                report.failures[job.slide_id] = str(error)
            except Exception as error:  # noqa: BLE001 - one bad slide must not end the batch
                report.failures[job.slide_id] = f"{type(error).__name__}: {error}"
    write_failures(folder, report.failures)
    return report


def _embed_one(
    job: EmbedJob,
    model: EncoderModel,
    encoder_name: str,
    encoder_sha256: str,
    device: torch.device,
    batch_size: int,
    readers: ThreadPoolExecutor,
    on_tiles: Callable[[str, int], None],
) -> int:
    grid = kept_tiles(read_tiles(job.tiles_path)[0], job.exclude)
    if not len(grid.xy_l0):
        raise SlideError(f"Slide {job.slide_id}: every tile is flagged ({', '.join(job.exclude)}). Look at its picture in tiles/.")
    with open_slide(job.slide_path) as reader, closing(_batches(reader, grid, batch_size, readers)) as batches:
        parts = []
        for tiles in batches:
            parts.append(embed_tiles(model, tiles, device))
            on_tiles(job.slide_id, len(tiles))
    write_embeddings(
        job.embeddings_path,
        grid,
        np.concatenate(parts),
        encoder=encoder_name,
        encoder_sha256=encoder_sha256,
        precision=str(pick_precision(device)).removeprefix("torch."),
        recipe=embed_recipe(encoder_name, encoder_sha256, stored_attr(job.tiles_path, "content_sha256"), job.exclude),
    )
    return len(grid.xy_l0)


def embed_tiles(model: EncoderModel, tiles: Image, device: torch.device) -> npt.NDArray[np.float16]:
    """Return (B, D) float16 features of (B, H, W, 3) uint8 tiles."""
    precision = pick_precision(device)
    with torch.inference_mode(), torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
        features: npt.NDArray[np.float16] = model(torch.from_numpy(tiles).to(device)).to(torch.float16).cpu().numpy()
    return features


def _batches(reader: SlideReader, grid: TileGrid, batch_size: int, readers: ThreadPoolExecutor) -> Generator[Image]:
    """Yield (B, tile_px, tile_px, 3) in the order of the grid, read ahead by threads."""
    ahead: deque[list[Future[Image]]] = deque()
    corners = [(int(x), int(y)) for x, y in grid.xy_l0]
    try:
        for start in range(0, len(corners), batch_size):
            ahead.append([readers.submit(read_tile, reader, xy, grid.tile_l0, grid.tile_px) for xy in corners[start : start + batch_size]])
            if len(ahead) > BATCHES_AHEAD:
                yield np.stack([f.result() for f in ahead[0]])
                ahead.popleft()
        while ahead:
            yield np.stack([f.result() for f in ahead[0]])
            ahead.popleft()
    finally:  # the slide is closed next: never under a thread that still reads it
        unread = [f for batch in ahead for f in batch if not f.cancel()]
        wait(unread)
