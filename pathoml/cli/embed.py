"""`pathoml embed`: embeddings/ENCODING/."""

from __future__ import annotations

from pathoml.cli.console import Console
from pathoml.cli.tile import say_failures, say_shard
from pathoml.config import Study
from pathoml.shards import Shard

SLOWEST = 5  # slides named at the end


def run(study: Study, console: Console, shard: Shard | None = None) -> int:
    """Embed the slides whose embeddings are missing or stale. Returns 1 if a slide failed."""
    from pathoml.cohort import read_cohort
    from pathoml.embed_jobs import stale_jobs
    from pathoml.encoders import find_encoder, find_weights
    from pathoml.store import read_tiles, sha256_of_file
    from pathoml.study import embed_jobs, embeddings_folder, workers
    from pathoml.tiling import forget_shards, kept_tiles

    name = study.config.encoder
    jobs = embed_jobs(study, read_cohort(study))
    if not jobs:
        console.heading(f"embed  {embeddings_folder(study).relative_to(study.folder)}: all features were imported")
        return 0
    if shard:
        jobs = shard.of(jobs)
    stale = stale_jobs(jobs, name, sha256_of_file(find_weights(name, find_encoder(name))))
    where = embeddings_folder(study).relative_to(study.folder)
    console.heading(f"embed  {where}: {len(stale)} of {len(jobs)} slides to do{say_shard(shard)}")
    if not stale:
        if shard is None:
            forget_shards(embeddings_folder(study))
        return 0
    from pathoml.embedding import embed_slides, prepare_device  # here, because loading torch takes seconds

    device = prepare_device(study.config.compute)
    console.say(f"  on {device}")
    total = sum(len(kept_tiles(read_tiles(j.tiles_path)[0], j.exclude).xy_l0) for j in stale)
    batch = study.config.compute.batch_size
    with console.bar("embed", "tiles") as bar:
        done = 0

        def on_tiles(slide_id: str, tiles: int) -> None:  # noqa: ARG001
            nonlocal done
            done += tiles
            bar(done, total)

        report = embed_slides(
            stale,
            encoder_name=name,
            device=device,
            workers=workers(study),
            batch_size=None if batch == "auto" else batch,
            on_tiles=on_tiles,
            shard=shard,
        )
    if report.tiles:
        share = report.waited / report.seconds
        console.say(
            f"  {report.tiles / report.seconds:.1f} tiles/s with reading and writing; the encoder waited {share:.0%} of the time for tiles"
        )
    slowest = sorted(report.slide_seconds.items(), key=lambda item: -item[1])[:SLOWEST]
    if len(report.slide_seconds) > 1:
        console.table([(slide_id, f"{seconds:.1f}") for slide_id, seconds in slowest], ("slowest slides", "seconds"))
    return say_failures(report.failures, console)
