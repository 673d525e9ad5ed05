"""Step `embed` as a whole: which slides are to do, here or in several processes, and the joining of
two magnifications; embeddings/ENCODING/.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pathoml.compute.processes import processes, workers
from pathoml.compute.shards import Shard, in_part
from pathoml.config import Study, opened
from pathoml.embedding.jobs import EmbedJob, embed_jobs, stale_jobs, tiles_of
from pathoml.embedding.outdated import (
    restamp_current,
    set_aside_failed,
    set_aside_unjoined,
    set_aside_untiled,
    take_back_current,
)
from pathoml.encoders.finding import find_encoder, find_weights
from pathoml.store.failures import settle_failures
from pathoml.store.files import sha256_of_file
from pathoml.store.locks import at_work
from pathoml.store.packs import is_stored
from pathoml.store.set_aside import SET_ASIDE
from pathoml.study.cohort import read_cohort
from pathoml.study.inputs import named
from pathoml.study.layout import embeddings_folder, scales
from pathoml.types import SILENT, Progress

if TYPE_CHECKING:
    from pathoml.embedding.loop import EmbedReport
    from pathoml.embedding.magnifications import Joined


@dataclass(frozen=True, kw_only=True)
class EmbeddedScale:
    """What `embed` did at one magnification."""

    folder: Path  # embeddings/ENCODING
    report: EmbedReport | None = None  # None: nothing was to be done

    @property
    def failures(self) -> Mapping[str, str]:
        """slide_id -> reason."""
        return self.report.failures if self.report else {}


@dataclass(frozen=True, kw_only=True)
class JoinedScales:
    """What became of two magnifications as one encoding."""

    folder: Path
    slides: int  # that were to be joined
    tiles: Joined
    failures: Mapping[str, str] = field(default_factory=dict)  # slide_id -> reason


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """What `embed` did, at each magnification, and their joining where there are two."""

    scales: tuple[EmbeddedScale, ...]
    joined: JoinedScales | None = None

    @property
    def fresh(self) -> bool:
        """Whether nothing was to be done."""
        of_scales = all(scale.report is None for scale in self.scales)
        return of_scales and (self.joined is None or not self.joined.slides)

    @property
    def failures(self) -> dict[str, str]:
        """slide_id -> reason of the slides that failed at some magnification."""
        failures = {
            slide: reason for part in self.scales for slide, reason in part.failures.items()
        }
        return {**failures, **(self.joined.failures if self.joined else {})}


def embed_study(
    study: Study | Path | str, *, shard: Shard | None = None, progress: Progress = SILENT
) -> Embedded:
    """Embed the slides whose embeddings are missing or stale, at each magnification, and join two;
    a slide that fails is recorded and the others go on.

    Args:
        study: a study or its folder.
        shard: only this part of the slides; nothing is joined, since other parts may still embed
            one of a slide's two.

    Raises:
        ConfigError: no slide has tiles yet.
        EncoderError: the encoder's weights are not to be had.
    """
    study = opened(study)
    with at_work(study.folder, "embed", shared=True):
        embedded = tuple(_embed_scale(scale, shard, progress) for scale in scales(study))
        joined = _join(study, progress) if len(embedded) > 1 and shard is None else None
    return Embedded(scales=embedded, joined=joined)


def _embed_scale(study: Study, shard: Shard | None, progress: Progress) -> EmbeddedScale:
    name, folder = study.config.encoder, embeddings_folder(study)
    where = folder.relative_to(study.folder)
    cohort = read_cohort(study)
    if lost := set_aside_untiled(study, cohort):
        progress.say(
            f"  {len(lost)} slides could not be tiled now ({named(lost)}): their features of before"
            f" are set aside in {where}/{SET_ASIDE}"
        )
    of_study = jobs = embed_jobs(study, cohort)
    if not jobs:
        stored = sum(is_stored(folder / f"{slide.slide_id}.h5") for slide in cohort.slides)
        what = "all features" if stored == len(cohort.slides) else "the features"
        progress.heading(f"embed  {where}: {what} were imported{_of(stored, len(cohort.slides))}")
        return EmbeddedScale(folder=folder)
    if shard:
        jobs = shard.of(jobs)
    sha256 = sha256_of_file(find_weights(name, find_encoder(name)))
    stale = take_back_current(stale_jobs(jobs, name, sha256), name, sha256)
    to_do = {job.slide_id for job in stale}
    restamp_current([job for job in jobs if job.slide_id not in to_do])
    progress.heading(f"embed  {where}: {len(stale)} of {len(jobs)} slides to do{in_part(shard)}")
    if not stale:
        if shard is None:
            settle_failures(folder, mended=[job.slide_id for job in jobs])
        return EmbeddedScale(folder=folder)
    # here, because loading torch takes seconds
    from pathoml.embedding.compiling import is_worth_compiling

    # of all: a rerun that has few to do does the same
    compiled = is_worth_compiling(study.config.compute.compile, of_study)
    alone = processes(study.config.compute) == 1 and study.config.compute.engine == "local"
    report = (
        _embed_here(study, stale, compiled=compiled, shard=shard, progress=progress)
        if alone
        else _embed_apart(
            study, stale, sha256=sha256, compiled=compiled, shard=shard, progress=progress
        )
    )
    set_aside_failed(stale, report.failures)
    return EmbeddedScale(folder=folder, report=report)


def _of(stored: int, slides: int) -> str:
    """Return how many slides have features, where some have none.

    >>> _of(320, 341), _of(341, 341)
    (', of 320 of 341 slides', '')
    """
    return "" if stored == slides else f", of {stored} of {slides} slides"


def _embed_here(
    study: Study,
    jobs: Sequence[EmbedJob],
    *,
    compiled: bool | None,
    shard: Shard | None,
    progress: Progress,
) -> EmbedReport:
    from pathoml.compute.devices import prepare_device
    from pathoml.embedding.loop import embed_slides
    from pathoml.embedding.ready_encoder import ready_encoder

    device = prepare_device(study.config.compute)
    progress.say(f"  on {device}")
    total, compute = tiles_of(jobs), study.config.compute
    encoder = ready_encoder(
        study.config.encoder,
        device,
        batch_size=None if compute.batch_size == "auto" else compute.batch_size,
        compiled=compiled,
        precision=compute.precision,
    )
    with progress.bar("embed", "tiles") as bar:
        done = 0

        def on_tiles(_: str, tiles: int) -> None:
            nonlocal done
            done += tiles
            bar(done, total)

        return embed_slides(jobs, encoder, workers=workers(study), on_tiles=on_tiles, shard=shard)


def _embed_apart(
    study: Study,
    jobs: Sequence[EmbedJob],
    *,
    sha256: str,
    compiled: bool | None,
    shard: Shard | None,
    progress: Progress,
) -> EmbedReport:
    from pathoml.embedding.fleet import embed_apart

    engine, count = study.config.compute.engine, processes(study.config.compute)
    progress.say(f"  engine {engine}{f', {count} processes' if engine == 'local' else ''}")
    with progress.bar("embed", "slides") as bar:
        done = 0

        def on_slide(_: str) -> None:
            nonlocal done
            done += 1
            bar(done, len(jobs))

        return embed_apart(
            jobs,
            encoder_name=study.config.encoder,
            encoder_sha256=sha256,
            compute=study.config.compute,
            workers=workers(study),
            on_slide=on_slide,
            compiled=compiled,
            shard=shard,
        )


def _join(study: Study, progress: Progress) -> JoinedScales:
    from pathoml.embedding import magnifications

    cohort = read_cohort(study)
    jobs = magnifications.join_jobs(study, cohort)
    stale, folder = magnifications.stale_jobs(jobs), embeddings_folder(study)
    progress.heading(
        f"join   {folder.relative_to(study.folder)}: {len(stale)} of {len(jobs)} slides to do"
    )
    with progress.bar("join", "slides") as bar:
        tiles, failures = magnifications.join_slides(
            stale, folder, on_slide=lambda done: bar(done, len(stale))
        )
    set_aside_unjoined(study, cohort, joined=[job.slide_id for job in jobs], failures=failures)
    return JoinedScales(folder=folder, slides=len(stale), tiles=tiles, failures=failures)
