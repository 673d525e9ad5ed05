"""`pathoml tile`: tiles/GRID/."""

from __future__ import annotations

from pathoml.cli.console import Console
from pathoml.config import Study


def run(study: Study, console: Console) -> int:
    """Tile the slides whose tiles are missing or stale. Returns 1 if a slide failed."""
    from pathoml.cohort import read_cohort
    from pathoml.study import drawn_regions, tile_jobs, tiles_folder, workers
    from pathoml.tiling import stale_jobs, tile_slides

    jobs = tile_jobs(study, read_cohort(study))
    stale = stale_jobs(jobs)
    console.heading(f"tile   {tiles_folder(study).relative_to(study.folder)}: {len(stale)} of {len(jobs)} slides to do")
    for slide_id in sorted(drawn_regions(study).keys() - {job.slide.slide_id for job in jobs}):
        console.say(
            f"  UNUSED {study.config.tiles.regions}/{slide_id}.geojson: no slide to tile has this slide_id. Rename it as in slides.csv."
        )
    if not stale:
        return 0
    with console.bar("tile", "slides") as bar:
        done = 0

        def on_slide(slide_id: str) -> None:  # noqa: ARG001
            nonlocal done
            done += 1
            bar(done, len(stale))

        counts, failures = tile_slides(stale, workers=workers(study), on_slide=on_slide)
    flagged = sum(c.flagged for c in counts)
    console.say(f"  {sum(c.tiles for c in counts)} tiles, {flagged} flagged; every slide on one page: {tiles_folder(study)}/index.html")
    return say_failures(failures, console)


def say_failures(failures: dict[str, str], console: Console) -> int:
    """Print what failed and return the exit code."""
    for slide_id, reason in sorted(failures.items()):
        console.say(f"  FAILED {slide_id}: {reason}")
    return int(bool(failures))
