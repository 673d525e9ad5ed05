"""Step `tile`: find the tissue of each slide and lay tiles of one physical side over it; writes
tiles/GRID/.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pathoml.compute.memory import keep_freed_memory
from pathoml.compute.processes import workers as reading_processes
from pathoml.compute.shards import Shard, in_part
from pathoml.config import Study, opened
from pathoml.errors import SlideError, WorkerDied
from pathoml.plugins import load_plugin
from pathoml.slides.colour import open_in_colour
from pathoml.slides.identity import by_id
from pathoml.slides.missing import is_there
from pathoml.slides.pictures import png_bytes
from pathoml.slides.probing import Prober, probe_each
from pathoml.store.failures import settle_failures, write_failures
from pathoml.store.files import atomic_path, sweep_temporaries
from pathoml.store.tiles import flags_of, write_tiles
from pathoml.study.cohort import read_cohort
from pathoml.study.layout import drawn_regions, scales, tiles_folder, vectors_encoding
from pathoml.tiling.grid import describe_slide, draw_overview, look_at, stains_text, tile_grid
from pathoml.tiling.jobs import TileJob, stale_jobs, tile_jobs, tile_recipe
from pathoml.tiling.quality import write_quality
from pathoml.tiling.regions import excluded_mask, read_regions
from pathoml.types import SILENT, Progress

MOST_NAMED = 5  # slides in a sentence


@dataclass(frozen=True, kw_only=True)
class TileCount:
    """What one slide gave."""

    slide_id: str
    tiles: int
    flagged: int
    tissue_mm2: float


@dataclass(frozen=True, kw_only=True)
class TiledGrid:
    """What `tile` did at one magnification."""

    folder: Path  # tiles/GRID
    fresh: bool = False  # nothing was to be done
    counts: tuple[TileCount, ...] = ()  # of the slides that were tiled now
    failures: Mapping[str, str] = field(default_factory=dict)  # slide_id -> reason


@dataclass(frozen=True, kw_only=True)
class Tiled:
    """What `tile` did, one grid for each magnification of the study."""

    grids: tuple[TiledGrid, ...]

    @property
    def fresh(self) -> bool:
        return all(grid.fresh for grid in self.grids)

    @property
    def failures(self) -> dict[str, str]:
        """slide_id -> reason of the slides that failed at some magnification."""
        return {slide: reason for grid in self.grids for slide, reason in grid.failures.items()}


def tile_study(
    study: Study | Path | str, *, shard: Shard | None = None, progress: Progress = SILENT
) -> Tiled:
    """Tile the slides whose tiles are missing or stale, at each magnification of the study; a slide
    that fails is recorded and the others go on.

    Args:
        study: a study or its folder.
        shard: only this part of the slides.
    """
    study = opened(study)
    if vectors := vectors_encoding(study):
        progress.heading(f"tile   nothing to do: embeddings/{vectors} has vectors, not tiles")
        return Tiled(grids=())
    return Tiled(grids=tuple(_tile_grid(scale, shard, progress) for scale in scales(study)))


def _tile_grid(study: Study, shard: Shard | None, progress: Progress) -> TiledGrid:
    folder = tiles_folder(study)
    jobs = every = tile_jobs(study, read_cohort(study))
    if shard:
        jobs = shard.of(jobs)
    stale = stale_jobs(jobs)
    away = _away(jobs, stale)
    progress.heading(
        f"tile   {folder.relative_to(study.folder)}: {len(stale)} of"
        f" {len(jobs)} slides to do{in_part(shard)}"
    )
    for slide_id in sorted(drawn_regions(study).keys() - {job.slide.slide_id for job in every}):
        progress.say(
            f"  UNUSED {study.config.tiles.regions}/{slide_id}.geojson: no slide to tile has this "
            "slide_id. Rename it as in slides.csv."
        )
    if away:
        progress.say(
            f"  AWAY the files of {len(away)} slides whose tiles are finished are not here"
            f" ({', '.join(away[:MOST_NAMED])}{', ...' if len(away) > MOST_NAMED else ''}); the"
            " tiles stand as they are."
        )
    if not stale:
        if jobs and shard is None:
            settle_failures(folder)
            if sheet_is_behind(folder):  # shards did it
                write_quality(folder, {})
        return TiledGrid(folder=folder, fresh=True)
    with progress.bar("tile", "slides") as bar:
        done = 0

        def on_slide(slide_id: str) -> None:
            nonlocal done
            done += 1
            bar(done, len(stale))
            progress.record("slide", slide=slide_id, done=done, total=len(stale))

        counts, failures = tile_slides(
            stale,
            workers=reading_processes(study),
            on_slide=on_slide,
            shard=shard,
            engine=study.config.compute.engine,
        )
    return TiledGrid(folder=folder, counts=tuple(counts), failures=failures)


def _away(jobs: Sequence[TileJob], stale: Sequence[TileJob]) -> list[str]:
    """Return the finished slides whose files are not here, as of a drive that is not mounted."""
    to_do = {job.slide.slide_id for job in stale}
    return [
        job.slide.slide_id
        for job in jobs
        if job.slide.slide_id not in to_do and job.slide.path and not is_there(job.slide.path)
    ]


def tile_slides(
    jobs: Sequence[TileJob],
    *,
    workers: int,
    on_slide: Callable[[str], None],
    shard: Shard | None = None,
    engine: str = "local",
) -> tuple[list[TileCount], dict[str, str]]:
    """Tile slides in parallel; a slide that fails is recorded and the others go on.

    Args:
        shard: which part of the batch the jobs are; it writes failures of its own and leaves the
            sheet of all slides to `tile` without.
        engine: a file in pathoml/engines/.

    Returns:
        What each slide gave, and slide_id -> reason for those that failed; the same stands in
        tiles/GRID/failures.csv.
    """
    counts, failures = [], {}
    for folder in {job.folder for job in jobs}:
        folder.mkdir(parents=True, exist_ok=True)
        sweep_temporaries(folder)
    sound = [
        (job.slide.slide_id, job) for job in jobs if job.slide.path is None
    ]  # told as a failure of its own
    with_file = [(job, job.slide.path) for job in jobs if job.slide.path is not None]
    probed = probe_each([path for _, path in with_file], Prober.refusal, workers=workers)
    for (job, _), (_, reason) in zip(with_file, probed):
        if reason is None:
            sound.append((job.slide.slide_id, job))
        else:
            failures[job.slide.slide_id] = by_id(reason, job.slide.slide_id, job.slide.path)
            on_slide(job.slide.slide_id)
    path_of = {job.slide.slide_id: job.slide.path for job in jobs}
    for slide_id, result in load_plugin("pathoml.engines", engine, "map_items").map_items(
        tile_one, sound, workers=workers
    ):
        if isinstance(result, Exception):
            reason = (
                str(result)
                if isinstance(result, SlideError | WorkerDied)
                else f"{type(result).__name__}: {result}"
            )
            failures[slide_id] = by_id(reason, slide_id, path_of[slide_id])
        else:
            counts.append(result)
        on_slide(slide_id)
    for folder in {job.folder for job in jobs}:
        write_failures(folder, failures, shard.suffix if shard else "")
        if shard is None:
            write_quality(folder, failures)
    return counts, failures


def sheet_is_behind(folder: Path) -> bool:
    """Return whether a slide was tiled after quality.csv and index.html were written, as shards do,
    or one of them was not.
    """
    sheets = [folder / name for name in ("quality.csv", "index.html")]
    written = min(sheet.stat().st_mtime_ns if sheet.exists() else 0 for sheet in sheets)
    return any(path.stat().st_mtime_ns > written for path in folder.glob("*.h5"))


def tile_one(job: TileJob) -> TileCount:
    """Tile one slide and write tiles/GRID/SLIDE.h5 and SLIDE.png.

    Raises:
        SlideError: unreadable, without scale, coarser than the tiles asked for, or without a tile
            of tissue.
    """
    if job.slide.path is None:
        raise SlideError(
            f"Slide {job.slide.slide_id} has no path in slides.csv, and no imported embeddings."
        )
    keep_freed_memory()
    with open_in_colour(job.slide.path, job.slide.slide_id, icc=job.tiles.icc) as reader:
        info = describe_slide(reader, job.slide.path, job)
        mask, overview = look_at(reader, info.mpp, info.slide_id)
        if job.regions:
            drawn = excluded_mask(
                read_regions(job.regions),
                mask.mask.shape,
                mask.downsample,
                offset_l0=reader.bounds_l0,
            )
            mask = replace(mask, flags={**mask.flags, "excluded_region": drawn})
        grid = tile_grid(info, mask, job, overview=overview)
    tissue, um_per_px = mask.mask, mask.downsample * info.mpp
    with atomic_path(job.folder / f"{info.slide_id}.png") as path:
        path.write_bytes(png_bytes(draw_overview(overview, mask, grid)))
    if not len(grid.xy_l0):
        raise SlideError(
            f"Slide {info.slide_id} has no tile of {grid.tile_um:.0f} micrometres with "
            f"{job.tiles.min_tissue:.0%} tissue ({tissue.sum() * um_per_px**2 / 1e6:.2f} mm2 of "
            "tissue found). Look at its picture, lower tiles.min_tissue, or leave it out."
        )
    about = {"scanner": info.vendor, "mpp_source": info.mpp_source, **stains_text(overview, tissue)}
    write_tiles(
        job.folder / f"{info.slide_id}.h5",
        grid,
        mask,
        recipe=tile_recipe(job, info.sha256),
        about=about,
    )
    return TileCount(
        slide_id=info.slide_id,
        tiles=len(grid.xy_l0),
        flagged=int((flags_of(grid) > 0).sum()),
        tissue_mm2=float(tissue.sum() * um_per_px**2 / 1e6),
    )
