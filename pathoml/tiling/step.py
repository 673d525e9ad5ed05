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
from pathoml.slides.contents import SlideContents, mark_of
from pathoml.slides.identity import by_id
from pathoml.slides.missing import why_missing
from pathoml.slides.pictures import png_bytes
from pathoml.slides.probing import Prober, probe_each
from pathoml.store.failures import settle_failures, write_failures
from pathoml.store.files import atomic_path, sweep_temporaries, write_text
from pathoml.store.hdf5 import stored_attr
from pathoml.store.locks import at_work
from pathoml.store.tiles import flags_of, write_tiles
from pathoml.study.cohort import read_cohort
from pathoml.study.inputs import named
from pathoml.study.layout import (
    contents_folder,
    drawn_regions,
    scales,
    tiles_folder,
    vectors_encoding,
)
from pathoml.tiling.grid import (
    Look,
    describe_slide,
    draw_overview,
    look_at,
    notes_of,
    stains_text,
    tile_grid,
)
from pathoml.tiling.jobs import (
    TileJob,
    is_away,
    stale_jobs,
    stated_of,
    tile_jobs,
    tile_recipe,
    unread_slides,
)
from pathoml.tiling.outline import tissue_geojson
from pathoml.tiling.quality import write_quality
from pathoml.tiling.regions import drawn_tissue, excluded_mask, read_regions
from pathoml.types import SILENT, Cohort, Progress

AWAY = (
    "AWAY the files of {count} slides ({slides}): their folders cannot be reached, or are empty;"
    " what was made of them before is used"
)
OUT_OF_REACH = (
    "Slide {slide} is out of reach: {why}. Mount its disk, or correct the column 'path' in"
    " slides.csv."
)
EMPTY_PLACE = "the folder of its file is not there, or empty, as where a drive is not mounted"


@dataclass(frozen=True, kw_only=True)
class TileCount:
    """What one slide gave."""

    slide_id: str
    tiles: int
    flagged: int
    tissue_mm2: float  # without ink and darkness
    notes: tuple[str, ...] = ()  # what a person should know of it, each a sentence's end


@dataclass(frozen=True, kw_only=True)
class TiledGrid:
    """What `tile` did at one magnification."""

    folder: Path  # tiles/GRID
    fresh: bool = False  # nothing was to be done
    counts: tuple[TileCount, ...] = ()  # of the slides that were tiled now
    failures: Mapping[str, str] = field(default_factory=dict)  # slide_id -> reason
    away: tuple[str, ...] = ()  # slides whose files are out of reach for the moment


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
    contents, cohort = SlideContents(contents_folder(study)), read_cohort(study)
    with at_work(study.folder, "tile", shared=True):
        grids = [
            _tile_grid(scale, cohort, contents, shard=shard, progress=progress)
            for scale in scales(study)
        ]
        contents.write(
            part=shard.suffix if shard else "", whole=not shard and not any(g.away for g in grids)
        )
    return Tiled(grids=tuple(grids))


def _tile_grid(
    study: Study,
    cohort: Cohort,
    contents: SlideContents,
    *,
    shard: Shard | None,
    progress: Progress,
) -> TiledGrid:
    folder = tiles_folder(study)
    jobs = every = tile_jobs(study, cohort)
    if shard:
        jobs = shard.of(jobs)
    if unread := unread_slides(jobs, contents):
        progress.say(
            f"  {len(unread)} slide files were moved or touched since they were tiled: they are"
            " read, and those with the same content are not tiled again"
        )
        contents.read_all(unread, workers=reading_processes(study))
    stale = stale_jobs(jobs, contents)
    away = tuple(job.slide.slide_id for job in jobs if is_away(job))
    progress.heading(
        f"tile   {folder.relative_to(study.folder)}: {len(stale)} of"
        f" {len(jobs)} slides to do{in_part(shard)}"
    )
    for slide_id in sorted(drawn_regions(study).keys() - {job.slide.slide_id for job in every}):
        progress.say(
            f"  UNUSED {study.config.tiles.regions}/{slide_id}.geojson: no slide to tile has this "
            "slide_id. Rename it as in slides.csv."
        )
    lost = {job.slide.slide_id for job in stale}
    if kept := [slide_id for slide_id in away if slide_id not in lost]:
        progress.say(f"  {AWAY.format(slides=named(kept), count=len(kept))}")
    if not stale:
        if jobs and shard is None:
            mended = settle_failures(folder, mended=[job.slide.slide_id for job in jobs])
            if mended or sheet_is_behind(folder):  # shards did it
                write_quality(folder, {})
        return TiledGrid(folder=folder, fresh=True, away=away)
    marks = {job.slide.slide_id: _mark(job) for job in stale}
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
    for job in stale:
        if job.slide.path is not None and job.slide.slide_id not in failures:
            found = stored_attr(job.tiles_path, "slide_sha256")
            contents.note(job.slide.path, marks[job.slide.slide_id], found)
    return TiledGrid(folder=folder, counts=tuple(counts), failures=failures, away=away)


def _mark(job: TileJob) -> str:
    """Return what tells whether a slide's files are written to while they are tiled."""
    try:
        return "" if job.slide.path is None else mark_of(job.slide.path)
    except OSError:
        return ""


def tile_slides(
    jobs: Sequence[TileJob],
    *,
    workers: int,
    on_slide: Callable[[str], None],
    shard: Shard | None = None,
    engine: str = "local",
) -> tuple[list[TileCount], dict[str, str]]:
    """Tile slides in parallel; a slide that fails is recorded, its tiles of before go, and the
    others go on. One that is out of reach keeps them.

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
    paths = {job.slide.slide_id: job.slide.path for job in jobs if is_away(job)}
    away = {slide_id: path for slide_id, path in paths.items() if path is not None}
    for slide_id, path in away.items():
        failures[slide_id] = OUT_OF_REACH.format(
            slide=slide_id, why=why_missing(path) or EMPTY_PLACE
        )
        on_slide(slide_id)
    reached = [job for job in jobs if job.slide.slide_id not in away]
    sound = [
        (job.slide.slide_id, job) for job in reached if job.slide.path is None
    ]  # told as a failure of its own
    with_file = [(job, job.slide.path) for job in reached if job.slide.path is not None]
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
    for job in reached:  # tiles of another file or by other settings, which nobody is to use
        if job.slide.slide_id in failures:
            job.tiles_path.unlink(missing_ok=True)
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
    """Tile one slide and write tiles/GRID/SLIDE.h5, SLIDE.png and the tissue's outline,
    SLIDE.geojson.

    Raises:
        SlideError: unreadable, without scale, coarser than the tiles asked for, or without a tile
            of tissue.
    """
    if job.slide.path is None:
        raise SlideError(
            f"Slide {job.slide.slide_id} has no path in slides.csv, and no imported embeddings."
        )
    keep_freed_memory()
    stated = stated_of(job)
    with open_in_colour(job.slide.path, job.slide.slide_id, icc=job.tiles.icc) as reader:
        info = describe_slide(reader, job.slide.path, job)
        look = look_at(reader, info.mpp, info.slide_id, stated=stated)
        if job.regions:
            look = _as_drawn(look, job.regions, reader.bounds_l0)
        grid = tile_grid(info, look, job)
        outline = tissue_geojson(look.mask.mask, look.mask.downsample, offset_l0=reader.bounds_l0)
        notes = tuple(getattr(reader, "notes", ()))
    mask, um_per_px = look.mask, look.mask.downsample * info.mpp
    tissue_mm2 = float(look.judged.sum() * um_per_px**2 / 1e6)
    with atomic_path(job.folder / f"{info.slide_id}.png") as path:
        path.write_bytes(png_bytes(draw_overview(look.shown, mask, grid)))
    if not (job.regions and job.regions.parent.resolve() == job.folder.resolve()):
        write_text(job.folder / f"{info.slide_id}.geojson", outline)  # never over a corrected one
    if not len(grid.xy_l0):
        raise SlideError(
            f"Slide {info.slide_id} has no tile of {grid.tile_um:.0f} micrometres with "
            f"{job.tiles.min_tissue:.0%} tissue ({tissue_mm2:.2f} mm2 of tissue found). Look at its"
            " picture, lower tiles.min_tissue, or leave it out."
        )
    notes += tuple(notes_of(look, grid, is_stated=stated.glass is not None))
    about = {
        "scanner": info.vendor,
        "mpp_source": info.mpp_source,
        "tissue_mm2": f"{tissue_mm2:.4f}",
        "glass": " ".join(f"{level:.0f}" for level in look.glass.level),
        "stain": look.staining.name,
        "notes": "; ".join(notes),
        **stains_text(look),
    }
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
        tissue_mm2=tissue_mm2,
        notes=notes,
    )


def _as_drawn(look: Look, path: Path, offset_l0: tuple[int, int]) -> Look:
    """Return a look with the tissue that a person drew, and what they drew out."""
    mask, regions = look.mask, read_regions(path)
    shape, downsample = mask.mask.shape, mask.downsample
    drawn = drawn_tissue(regions, shape, downsample, offset_l0=offset_l0)
    excluded = excluded_mask(regions, shape, downsample, offset_l0=offset_l0)
    return replace(
        look,
        mask=replace(
            mask,
            mask=mask.mask if drawn is None else drawn,
            flags={**mask.flags, "excluded_region": excluded},
        ),
    )
