"""Step `embed`: run the encoder over the tiles of every slide; writes embeddings/ENCODING/.

Threads read tiles ahead of the encoder, of the next slides too, so that the encoder does not wait where a small slide ends; a process
that was given one core reads and encodes in turn. Batches are cut from one slide in a fixed order, so that features do not depend on
what else is embedded.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Sequence, Set
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pathoml.batch_sizes import BatchSize, choose_batch_size
from pathoml.config import ComputeConfig
from pathoml.embed_jobs import AS_SCANNED, EmbedJob, embed_recipe, stain_name
from pathoml.encoder_model import EncoderModel, load_encoder
from pathoml.errors import EncoderError, SlideError, StoreError
from pathoml.files import sweep_temporaries
from pathoml.restaining import RestainedReader
from pathoml.shards import Shard
from pathoml.slides.colour import open_in_colour
from pathoml.slides.identifiers import by_id
from pathoml.slides.reopening import ReopeningReader
from pathoml.store import read_tiles, write_embeddings
from pathoml.tiling import kept_tiles, some_tiles, write_failures
from pathoml.types import Image

BATCHES_AHEAD = 4  # read while the encoder works, over all open slides; bounds the memory
SLIDES_AHEAD = 4  # open at once at most; bounds the readers' caches


@dataclass(kw_only=True)
class EmbedReport:
    """What a run of the step did."""

    slides: int = 0
    tiles: int = 0
    seconds: float = 0.0  # wall clock of reading, encoding and writing
    waited: float = 0.0  # of these, seconds in which the encoder had no tiles
    batches: str = ""  # how many tiles the encoder saw at once, and why
    slide_seconds: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def add(self, part: EmbedReport) -> None:
        """Count in what another process did; its seconds ran beside ours."""
        self.slides += part.slides
        self.tiles += part.tiles
        self.waited += part.waited
        self.batches = part.batches or self.batches
        self.slide_seconds |= part.slide_seconds
        self.failures |= part.failures


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
    if compute.threads != "auto":
        torch.set_num_threads(compute.threads)
    torch.use_deterministic_algorithms(deterministic)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # filling costs a tenth of the time on the CPU
    return device


def pick_precision(device: torch.device) -> torch.dtype:
    """Return what the encoder computes in: bfloat16 on a GPU that has it, float32 elsewhere (docs/decisions/0002)."""
    return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32


def embed_slides(
    jobs: Sequence[EmbedJob],
    *,
    encoder_name: str,
    device: torch.device,
    workers: int,
    batch_size: int | None,
    on_tiles: Callable[[str, int], None],
    shard: Shard | None = None,
) -> EmbedReport:
    """Embed slides one after another; a slide that fails is recorded and the others go on.

    Args:
        shard: which part of the batch the jobs are; its failures go into a file of their own.
        on_tiles: called with (slide_id, tiles just embedded).
    """
    if not jobs:
        return EmbedReport()
    folder = jobs[0].embeddings_path.parent
    folder.mkdir(parents=True, exist_ok=True)
    sweep_temporaries(folder)
    loaded = loaded_encoder(encoder_name, device)
    batch = batch_for(loaded, device, batch_size)
    report = embed_part(jobs, loaded, encoder_name=encoder_name, device=device, workers=workers, batch=batch, on_tiles=on_tiles)
    write_failures(folder, report.failures, shard)
    return report


def loaded_encoder(name: str, device: torch.device) -> tuple[EncoderModel, str]:
    """Return a pretrained encoder on the device, laid out as it computes fastest, and the SHA-256 of its weights' file."""
    model, encoder_sha256 = load_encoder(name)
    # weights stay float32; autocast picks what may be shorter
    return model.to(device).to(memory_format=torch.channels_last), encoder_sha256


def batch_for(loaded: tuple[EncoderModel, str], device: torch.device, wanted: int | None) -> BatchSize:
    """Return how many tiles a loaded encoder takes at once; None = as `batch_sizes` chooses."""
    model, encoder_sha256 = loaded
    encode = partial(_embed_batch, model, device=device)
    return choose_batch_size(wanted, encode, encoder_sha256=encoder_sha256, tile_px=model.tile_px, device=device)


def embed_part(
    jobs: Sequence[EmbedJob],
    loaded: tuple[EncoderModel, str],
    *,
    encoder_name: str,
    device: torch.device,
    workers: int,
    batch: BatchSize,
    on_tiles: Callable[[str, int], None],
) -> EmbedReport:
    """Embed some slides of a batch with a network that is loaded; failures are only returned."""
    model, encoder_sha256 = loaded
    report = EmbedReport(batches=f"batches of {batch.tiles} tiles: {batch.why}")
    started = time.monotonic()
    with tile_readers(workers, device) as readers, ReadAhead(jobs, batch.tiles, readers) as ahead:
        for job in jobs:
            begun = time.monotonic()
            try:
                report.tiles += _embed_one(job, ahead, model, encoder_name, encoder_sha256, device, on_tiles)
                report.slides += 1
                report.slide_seconds[job.slide_id] = time.monotonic() - begun
            except (SlideError, StoreError) as error:
                report.failures[job.slide_id] = by_id(str(error), job.slide_id, job.slide_path)
            except Exception as error:  # noqa: BLE001 - one bad slide must not end the batch
                report.failures[job.slide_id] = by_id(f"{type(error).__name__}: {error}", job.slide_id, job.slide_path)
        report.waited = ahead.waited
    report.seconds = time.monotonic() - started
    return report


class InThisThread(Executor):
    """Calls at once, in the thread that asks."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Return the finished call."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - whoever asks for the result raises it
            future.set_exception(error)
        return future


def tile_readers(workers: int, device: torch.device) -> Executor:
    """Return what reads tiles: threads beside the encoder; none where one core is all that this process was given."""
    one_core = device.type == "cpu" and workers == 1 and torch.get_num_threads() == 1
    return InThisThread() if one_core else ThreadPoolExecutor(workers)


def _embed_one(
    job: EmbedJob,
    ahead: ReadAhead,
    model: EncoderModel,
    encoder_name: str,
    encoder_sha256: str,
    device: torch.device,
    on_tiles: Callable[[str, int], None],
) -> int:
    parts = []
    with ahead.next_slide() as slide:
        while (tiles := ahead.next_batch(slide)) is not None:
            parts.append(embed_tiles(model, tiles, device))
            on_tiles(job.slide_id, len(tiles))
    is_whole = np.array([corner not in slide.broken for corner in slide.corners])
    write_embeddings(
        job.embeddings_path,
        some_tiles(slide.grid, is_whole),
        np.concatenate(parts)[is_whole],
        encoder=encoder_name,
        encoder_sha256=encoder_sha256,
        precision=str(pick_precision(device)).removeprefix("torch."),
        recipe=embed_recipe(encoder_name, encoder_sha256, job),
        stain=stain_name(job.stain),
    )
    return len(slide.grid.xy_l0)


def embed_tiles(model: EncoderModel, tiles: Image, device: torch.device) -> npt.NDArray[np.float16]:
    """Return (B, D) float16 features of (B, H, W, 3) uint8 tiles; a batch that does not fit the memory is halved."""
    try:
        return _embed_batch(model, tiles, device)
    except torch.OutOfMemoryError:
        if len(tiles) == 1:
            raise
    half = len(tiles) // 2  # after the handler, whose traceback would keep the failed batch in memory
    return np.concatenate([embed_tiles(model, part, device) for part in (tiles[:half], tiles[half:])])


def _embed_batch(model: EncoderModel, tiles: Image, device: torch.device) -> npt.NDArray[np.float16]:
    precision = pick_precision(device)
    on_host = torch.from_numpy(tiles)
    if device.type == "cuda":
        on_host = on_host.pin_memory()  # torch keeps and reuses pinned buffers; only from them does a copy run beside the encoder
    with torch.inference_mode(), torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
        features: npt.NDArray[np.float16] = model(on_host.to(device, non_blocking=True)).to(torch.float16).cpu().numpy()
    return features


class SlideTiles:
    """The tiles of one open slide, read ahead by threads; it is closed only when no thread reads it any more."""

    def __init__(self, job: EmbedJob, batch_size: int, readers: Executor) -> None:
        self.grid = kept_tiles(read_tiles(job.tiles_path)[0], job.exclude)
        if not len(self.grid.xy_l0):
            raise SlideError(f"Slide {job.slide_id}: every tile is flagged ({', '.join(job.exclude)}). Look at its picture in tiles/.")
        self.corners = corners = [(int(x), int(y)) for x, y in self.grid.xy_l0]
        self.unread = deque(corners[start : start + batch_size] for start in range(0, len(corners), batch_size))
        self.ahead: deque[list[Future[Image]]] = deque()
        self._readers = readers
        self._close = ExitStack()
        opener = partial(open_in_colour, job.slide_path, job.slide_id, icc=job.icc)
        self._reader = self._close.enter_context(ReopeningReader(opener, name=job.slide_id, tiles=len(corners)))
        self._read_tile = self._reader.read_tile
        if job.stain != AS_SCANNED:
            restained = self._close.enter_context(RestainedReader(self._reader, self.grid, job.stain, readers))
            self._read_tile = restained.read_tile

    def __enter__(self) -> SlideTiles:
        return self

    def __exit__(self, *_: object) -> None:
        wait([f for batch in self.ahead for f in batch if not f.cancel()])
        self._close.close()

    @property
    def broken(self) -> Set[tuple[int, int]]:
        """Corners of the tiles that could not be read; their features are those of white."""
        return self._reader.broken

    def read_batch(self) -> None:
        """Ask the threads for one batch more."""
        tile_l0, tile_px = self.grid.tile_l0, self.grid.tile_px
        self.ahead.append([self._readers.submit(self._read_tile, xy, tile_l0, tile_px) for xy in self.unread.popleft()])


class ReadAhead:
    """Slides in their order, the next ones opened and read while the encoder works on the first."""

    def __init__(self, jobs: Sequence[EmbedJob], batch_size: int, readers: Executor) -> None:
        self._jobs, self._batch_size, self._readers = deque(jobs), batch_size, readers
        self._slides: deque[SlideTiles | Exception] = deque()
        self.waited = 0.0  # seconds

    def __enter__(self) -> ReadAhead:
        return self

    def __exit__(self, *_: object) -> None:
        for slide in self._slides:
            if isinstance(slide, SlideTiles):
                slide.__exit__()

    def next_slide(self) -> SlideTiles:
        """Return the next slide; the caller closes it.

        Raises:
            SlideError, StoreError: it could not be opened.
        """
        if not self._slides:
            self._open_one()
        slide = self._slides.popleft()
        if isinstance(slide, Exception):
            raise slide
        return slide

    def next_batch(self, slide: SlideTiles) -> Image | None:
        """Return (B, tile_px, tile_px, 3) of the slide in the order of its grid, or None when it is finished."""
        begun = time.monotonic()
        self._top_up(slide)
        if not slide.ahead:
            return None
        tiles = np.stack([f.result() for f in slide.ahead[0]])  # it stays in `ahead` until it is read: closing waits for it
        slide.ahead.popleft()
        self._top_up(slide)
        self.waited += time.monotonic() - begun
        return tiles

    def _top_up(self, current: SlideTiles) -> None:
        slides = [current, *(s for s in self._slides if isinstance(s, SlideTiles))]
        ahead = sum(len(s.ahead) for s in slides)
        while ahead <= BATCHES_AHEAD:
            slide = next((s for s in slides if s.unread), None)
            if slide is not None:
                slide.read_batch()
                ahead += 1
            elif self._jobs and len(self._slides) < SLIDES_AHEAD:
                slides += [s for s in [self._open_one()] if isinstance(s, SlideTiles)]
            else:
                return

    def _open_one(self) -> SlideTiles | Exception:
        job = self._jobs.popleft()
        try:
            self._slides.append(SlideTiles(job, self._batch_size, self._readers))
        except Exception as error:  # noqa: BLE001 - told when its turn comes; the slides before it go on
            self._slides.append(error)
        return self._slides[-1]
