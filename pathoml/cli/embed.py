"""`pathoml embed`: embeddings/ENCODING/."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pathoml.cli.console import Console
from pathoml.cli.tile import say_failures, say_shard
from pathoml.compute.shards import Shard
from pathoml.config import Study

if TYPE_CHECKING:
    from pathoml.embedding.jobs import EmbedJob
    from pathoml.embedding.loop import EmbedReport

SLOWEST = 5  # slides named at the end


def run(study: Study, console: Console, shard: Shard | None = None) -> int:
    """Embed the slides whose embeddings are missing or stale, at each magnification, and join two.
    Returns 1 if a slide failed.
    """
    from pathoml.study.layout import scales

    codes = [_embed(scale, console, shard) for scale in scales(study)]
    if len(codes) > 1 and shard is None:  # other parts may still embed one of a slide's two
        codes.append(_join(study, console))
    return max(codes)


def _join(study: Study, console: Console) -> int:
    from pathoml.embedding.magnifications import join_jobs, join_slides, stale_jobs
    from pathoml.study.cohort import read_cohort
    from pathoml.study.layout import embeddings_folder

    jobs = join_jobs(study, read_cohort(study))
    stale, folder = stale_jobs(jobs), embeddings_folder(study)
    console.heading(
        f"join   {folder.relative_to(study.folder)}: {len(stale)} of {len(jobs)} slides to do"
    )
    with console.bar("join", "slides") as bar:
        joined, failures = join_slides(stale, folder, on_slide=lambda done: bar(done, len(stale)))
    if joined.tiles:
        console.say(
            f"  {joined.tiles} tiles with the features around them; of {joined.beside} the tile "
            f"around is not embedded and the nearest beside it stands in, {joined.left_out} have "
            "none and are left out"
        )
    return say_failures(failures, console)


def _embed(study: Study, console: Console, shard: Shard | None) -> int:
    from pathoml.embedding.jobs import embed_jobs, stale_jobs
    from pathoml.encoders.finding import find_encoder, find_weights
    from pathoml.store.failures import settle_failures
    from pathoml.store.files import sha256_of_file
    from pathoml.study.cohort import read_cohort
    from pathoml.study.layout import embeddings_folder

    name = study.config.encoder
    jobs = embed_jobs(study, read_cohort(study))
    if not jobs:
        console.heading(
            f"embed  {embeddings_folder(study).relative_to(study.folder)}: all features were"
            " imported"
        )
        return 0
    of_study = jobs
    if shard:
        jobs = shard.of(jobs)
    sha256 = sha256_of_file(find_weights(name, find_encoder(name)))
    stale = stale_jobs(jobs, name, sha256)
    where = embeddings_folder(study).relative_to(study.folder)
    console.heading(f"embed  {where}: {len(stale)} of {len(jobs)} slides to do{say_shard(shard)}")
    if not stale:
        if shard is None:
            settle_failures(embeddings_folder(study))
        return 0
    from pathoml.compute.processes import processes
    from pathoml.embedding.compiling import (
        is_worth_compiling,
    )  # here, because loading torch takes seconds

    count = processes(study.config.compute)
    alone = count == 1 and study.config.compute.engine == "local"
    compiled = is_worth_compiling(
        study.config.compute.compile, of_study
    )  # of all: a rerun that has few to do does the same
    if alone:
        report = _embed_here(study, stale, compiled, console, shard)
    else:
        report = _embed_apart(study, stale, sha256, count, compiled, console, shard)
    if report.tiles:
        share = report.waited / report.seconds
        console.say(
            f"  {report.tiles / report.seconds:.1f} tiles/s with reading and writing; the encoder "
            f"waited {share:.0%} of the time for tiles"
        )
        console.say(f"  {report.how}")
    for slide_id, seconds in report.slide_seconds.items():
        console.record("slide", slide=slide_id, seconds=round(seconds, 2))
    slowest = sorted(report.slide_seconds.items(), key=lambda item: -item[1])[:SLOWEST]
    if len(report.slide_seconds) > 1:
        console.table(
            [(slide_id, f"{seconds:.1f}") for slide_id, seconds in slowest],
            ("slowest slides", "seconds"),
        )
    return say_failures(report.failures, console)


def _embed_here(
    study: Study, jobs: list[EmbedJob], compiled: bool | None, console: Console, shard: Shard | None
) -> EmbedReport:
    from pathoml.compute.devices import prepare_device
    from pathoml.compute.processes import workers
    from pathoml.embedding.jobs import tiles_of
    from pathoml.embedding.loop import embed_slides
    from pathoml.embedding.ready_encoder import ready_encoder

    device = prepare_device(study.config.compute)
    console.say(f"  on {device}")
    total, compute = tiles_of(jobs), study.config.compute
    batch_size = None if compute.batch_size == "auto" else compute.batch_size
    encoder = ready_encoder(
        study.config.encoder,
        device,
        batch_size=batch_size,
        compiled=compiled,
        precision=compute.precision,
    )
    with console.bar("embed", "tiles") as bar:
        done = 0

        def on_tiles(slide_id: str, tiles: int) -> None:
            nonlocal done
            done += tiles
            bar(done, total)

        return embed_slides(jobs, encoder, workers=workers(study), on_tiles=on_tiles, shard=shard)


def _embed_apart(
    study: Study,
    jobs: list[EmbedJob],
    sha256: str,
    count: int,
    compiled: bool | None,
    console: Console,
    shard: Shard | None,
) -> EmbedReport:
    from pathoml.compute.processes import workers
    from pathoml.embedding.fleet import embed_apart

    engine = study.config.compute.engine
    console.say(f"  engine {engine}{f', {count} processes' if engine == 'local' else ''}")
    with console.bar("embed", "slides") as bar:
        done = 0

        def on_slide(slide_id: str) -> None:
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
