"""Step `embed`: run the encoder over the tiles of every slide; writes embeddings/ENCODING/.

Threads read tiles ahead of the encoder, of the next slides too, so that the encoder does not wait
where a small slide ends; a process that was given one core reads and encodes in turn. Batches are
cut from one slide in a fixed order, so that features do not depend on what else is embedded.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence, Set
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch

from pathoml.compute.shards import Shard
from pathoml.embedding.jobs import EmbedJob, embed_recipe
from pathoml.embedding.ready_encoder import ReadyEncoder
from pathoml.embedding.restaining import RestainedReader
from pathoml.errors import SlideError, StoreError
from pathoml.slides.colour import open_in_colour
from pathoml.slides.identity import by_id
from pathoml.slides.reopening import ReopeningReader
from pathoml.store.embeddings import write_embeddings
from pathoml.store.failures import write_failures
from pathoml.store.files import sweep_temporaries
from pathoml.store.hdf5 import stored_attr
from pathoml.store.tiles import RECIPE, kept_tiles, read_tiles, some_tiles
from pathoml.study.layout import AS_SCANNED, stain_name
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
    how: str = ""  # the encoder was run, and why so
    slide_seconds: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def add(self, part: EmbedReport) -> None:
        """Count in what another process did; its seconds ran beside ours."""
        self.slides += part.slides
        self.tiles += part.tiles
        self.waited += part.waited
        self.how = part.how or self.how
        self.slide_seconds |= part.slide_seconds
        self.failures |= part.failures


def embed_slides(
    jobs: Sequence[EmbedJob],
    encoder: ReadyEncoder,
    *,
    workers: int,
    on_tiles: Callable[[str, int], None],
    shard: Shard | None = None,
) -> EmbedReport:
    """Embed slides one after another; a slide that fails is recorded and the others go on.

    Args:
        workers: threads that read slides.
        on_tiles: called with (slide_id, tiles just embedded).
        shard: which part of the batch the jobs are; its failures go into a file of their own.
    """
    if not jobs:
        return EmbedReport()
    folder = jobs[0].embeddings_path.parent
    folder.mkdir(parents=True, exist_ok=True)
    sweep_temporaries(folder)
    report = embed_part(jobs, encoder, workers=workers, on_tiles=on_tiles)
    write_failures(folder, report.failures, shard.suffix if shard else "")
    return report


def embed_part(
    jobs: Sequence[EmbedJob],
    encoder: ReadyEncoder,
    *,
    workers: int,
    on_tiles: Callable[[str, int], None],
) -> EmbedReport:
    """Embed some slides of a batch; failures are only returned."""
    report = EmbedReport(how=encoder.how)
    started = time.monotonic()
    with (
        tile_readers(workers, encoder.device) as readers,
        ReadAhead(jobs, encoder.batch_size, readers) as ahead,
    ):
        for job in jobs:
            begun = time.monotonic()
            try:
                report.tiles += _embed_one(job, ahead, encoder, on_tiles)
                report.slides += 1
                report.slide_seconds[job.slide_id] = time.monotonic() - begun
            except (SlideError, StoreError) as error:
                report.failures[job.slide_id] = by_id(str(error), job.slide_id, job.slide_path)
            except Exception as error:  # noqa: BLE001 - one bad slide must not end the batch
                report.failures[job.slide_id] = by_id(
                    f"{type(error).__name__}: {error}", job.slide_id, job.slide_path
                )
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
    """Return what reads tiles: threads beside the encoder; none where one core is all that this
    process was given.
    """
    one_core = device.type == "cpu" and workers == 1 and torch.get_num_threads() == 1
    return InThisThread() if one_core else ThreadPoolExecutor(workers)


def _embed_one(
    job: EmbedJob, ahead: ReadAhead, encoder: ReadyEncoder, on_tiles: Callable[[str, int], None]
) -> int:
    parts = []
    with ahead.next_slide() as slide:
        while (tiles := ahead.next_batch(slide)) is not None:
            parts.append(encoder(tiles))
            on_tiles(job.slide_id, len(tiles))
    is_whole = np.array([corner not in slide.broken for corner in slide.corners])
    write_embeddings(
        job.embeddings_path,
        some_tiles(slide.grid, is_whole),
        np.concatenate(parts)[is_whole],
        encoder=encoder.name,
        encoder_sha256=encoder.sha256,
        precision=encoder.precision,
        recipe=embed_recipe(encoder.name, encoder.sha256, job),
        stain=stain_name(job.stain),
        tile_recipe=stored_attr(job.tiles_path, RECIPE),
    )
    return len(slide.grid.xy_l0)


class SlideTiles:
    """The tiles of one open slide, read ahead by threads; it is closed only when no thread reads it
    any more.
    """

    def __init__(self, job: EmbedJob, batch_size: int, readers: Executor) -> None:
        self.grid = kept_tiles(read_tiles(job.tiles_path)[0], job.exclude)
        if not len(self.grid.xy_l0):
            raise SlideError(
                f"Slide {job.slide_id}: every tile is flagged ({', '.join(job.exclude)}). Look at"
                " its picture in tiles/."
            )
        self.corners = corners = [(int(x), int(y)) for x, y in self.grid.xy_l0]
        self.unread = deque(
            corners[start : start + batch_size] for start in range(0, len(corners), batch_size)
        )
        self.ahead: deque[list[Future[Image]]] = deque()
        self._readers = readers
        self._close = ExitStack()
        opener = partial(open_in_colour, job.slide_path, job.slide_id, icc=job.icc)
        self._reader = self._close.enter_context(
            ReopeningReader(opener, name=job.slide_id, tiles=len(corners))
        )
        self._read_tile = self._reader.read_tile
        if job.stain != AS_SCANNED:
            restained = self._close.enter_context(
                RestainedReader(self._reader, self.grid, job.stain, readers=readers)
            )
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
        self.ahead.append(
            [
                self._readers.submit(self._read_tile, xy, tile_l0, tile_px)
                for xy in self.unread.popleft()
            ]
        )


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
        """Return (B, tile_px, tile_px, 3) of the slide in the order of its grid, or None when it is
        finished.
        """
        begun = time.monotonic()
        self._top_up(slide)
        if not slide.ahead:
            return None
        tiles = np.stack(
            [f.result() for f in slide.ahead[0]]
        )  # it stays in `ahead` until it is read: closing waits for it
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
