"""`pathoml tile`: tiles/GRID/."""

from __future__ import annotations

from pathoml.cli.console import Console
from pathoml.compute.shards import Shard
from pathoml.config import Study

FEW_TILES = 5  # a slide with so few is named, for somebody to look whether its tissue was found
MOST_LISTED = 10


def run(study: Study, console: Console, shard: Shard | None = None) -> int:
    """Tile the slides whose tiles are missing or stale, at each magnification of the study. Returns
    1 if a slide failed.
    """
    from pathoml.study.layout import scales

    return max([_tile(scale, console, shard) for scale in scales(study)])


def _tile(study: Study, console: Console, shard: Shard | None) -> int:
    from pathoml.compute.processes import workers
    from pathoml.store.failures import settle_failures
    from pathoml.study.cohort import read_cohort
    from pathoml.study.layout import drawn_regions, tiles_folder
    from pathoml.tiling.jobs import stale_jobs, tile_jobs
    from pathoml.tiling.quality import write_quality
    from pathoml.tiling.step import sheet_is_behind, tile_slides

    jobs = every = tile_jobs(study, read_cohort(study))
    if shard:
        jobs = shard.of(jobs)
    stale = stale_jobs(jobs)
    console.heading(
        f"tile   {tiles_folder(study).relative_to(study.folder)}: {len(stale)} of"
        f" {len(jobs)} slides to do{say_shard(shard)}"
    )
    for slide_id in sorted(drawn_regions(study).keys() - {job.slide.slide_id for job in every}):
        console.say(
            f"  UNUSED {study.config.tiles.regions}/{slide_id}.geojson: no slide to tile has this "
            "slide_id. Rename it as in slides.csv."
        )
    if not stale:
        if jobs and shard is None:
            settle_failures(tiles_folder(study))
            if sheet_is_behind(tiles_folder(study)):  # shards did it
                write_quality(tiles_folder(study), {})
        return 0
    with console.bar("tile", "slides") as bar:
        done = 0

        def on_slide(slide_id: str) -> None:
            nonlocal done
            done += 1
            bar(done, len(stale))
            console.record("slide", slide=slide_id, done=done, total=len(stale))

        counts, failures = tile_slides(
            stale,
            workers=workers(study),
            on_slide=on_slide,
            shard=shard,
            engine=study.config.compute.engine,
        )
    flagged = sum(c.flagged for c in counts)
    console.say(
        f"  {sum(c.tiles for c in counts)} tiles, {flagged} flagged; every slide on one page:"
        f" {tiles_folder(study)}/index.html"
    )
    few = sorted((c for c in counts if c.tiles <= FEW_TILES), key=lambda c: c.tiles)
    for slide in few[:MOST_LISTED]:
        console.say(
            f"  FEW TILES {slide.slide_id}: {slide.tiles} tiles, {slide.tissue_mm2:.2f} mm2 of"
            " tissue; kept, as a needle biopsy is"
        )
    if len(few) > MOST_LISTED:
        console.say(f"  FEW TILES in {len(few) - MOST_LISTED} more slides; quality.csv has all")
    return say_failures(failures, console)


def say_shard(shard: Shard | None) -> str:
    return f" in part {shard.number} of {shard.count}" if shard else ""


def say_failures(failures: dict[str, str], console: Console) -> int:
    """Print what failed and return the exit code."""
    for slide_id, reason in sorted(failures.items()):
        console.say(f"  FAILED {slide_id}: {reason}", slide=slide_id)
    return int(bool(failures))
