"""What there is to tile, what decides a slide's tiles, and whether they were made already."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pathoml.config import Study, TilesConfig
from pathoml.slides.identity import sha256_of_slide
from pathoml.slides.missing import is_there
from pathoml.store.files import sha256_of_file
from pathoml.store.hdf5 import stored_attrs
from pathoml.store.provenance import recipe_sha256
from pathoml.study.layout import (
    drawn_regions,
    embeddings_folder,
    is_imported,
    tile_size,
    tiles_folder,
)
from pathoml.types import Cohort, Recipe, Slide

TILING_VERSION = 6  # raise it when tiles of the same slide and configuration come out otherwise
CLOCK_SECONDS = 60.0  # by which the clocks of machines that share a disk may differ


def tile_jobs(study: Study, cohort: Cohort) -> list[TileJob]:
    """Return one job per slide of the cohort whose features were not imported, at one of the
    study's `scales`.

    Raises:
        ConfigError: tiles.regions is not a folder.
    """
    tile_px, mpp = tile_size(study)
    drawn, folder, embeddings = drawn_regions(study), tiles_folder(study), embeddings_folder(study)
    return [
        TileJob(
            slide=slide,
            study_mpp=study.config.slides.mpp,
            tile_px=tile_px,
            mpp=mpp,
            tiles=study.config.tiles,
            folder=folder,
            regions=drawn.get(slide.slide_id),
        )
        for slide in cohort.slides
        if not is_imported(embeddings, slide.slide_id)
    ]


@dataclass(frozen=True, kw_only=True)
class TileJob:
    """One slide to tile: what a worker needs and nothing else."""

    slide: Slide
    study_mpp: float | None
    tile_px: int
    mpp: float
    tiles: TilesConfig
    folder: Path
    regions: Path | None = None  # GeoJSON of areas to let in or leave out, if there is one


def tile_recipe(job: TileJob, slide_sha256: str) -> Recipe:
    """Return everything that decides the tiles of a slide."""
    tiles = job.tiles.model_dump(include={"min_tissue", "upsample"})
    inputs = {
        "slide": slide_sha256,
        "row_mpp": job.slide.mpp,
        "study_mpp": job.study_mpp,
        "tile_px": job.tile_px,
        "mpp": job.mpp,
    }
    drawn = {"regions": sha256_of_file(job.regions)} if job.regions else {}
    colours = {"icc": True} if job.tiles.icc else {}  # as it was before there was a choice
    return Recipe(
        step="tile", inputs={**inputs, **tiles, **drawn, **colours, "version": TILING_VERSION}
    )


def stale_jobs(jobs: Sequence[TileJob]) -> list[TileJob]:
    """Return the jobs whose tiles are missing or were made from another recipe or another file."""
    return [job for job in jobs if not _is_fresh(job)]


def tiled_otherwise(study: Study, cohort: Cohort) -> list[TileJob]:
    """Return the jobs, at one of the study's `scales`, whose tiles were made by other settings; no
    slide is opened, so that a slide whose file changed is not among them.

    Raises:
        ConfigError: tiles.regions is not a folder.
    """
    found = []
    for job in tile_jobs(study, cohort):
        path = job.folder / f"{job.slide.slide_id}.h5"
        stored, slide = stored_attrs(path, ("recipe_sha256", "slide_sha256")).values()
        if stored and stored != recipe_sha256(tile_recipe(job, slide)):
            found.append(job)
    return found


def _is_fresh(job: TileJob) -> bool:
    path = job.folder / f"{job.slide.slide_id}.h5"
    stored, unchanged = stored_attrs(path, ("recipe_sha256", "slide_sha256")).values()
    if not stored or job.slide.path is None:
        return False
    if not is_there(job.slide.path):  # its drive is away: what was made of it stands
        return stored == recipe_sha256(tile_recipe(job, unchanged))
    tiled_at = path.stat().st_mtime
    if (
        _touched_at(job.slide.path) > tiled_at or tiled_at > time.time() + CLOCK_SECONDS
    ):  # touched since, or the clock jumped: bytes tell
        unchanged = sha256_of_slide(job.slide.path)
    return stored == recipe_sha256(tile_recipe(job, unchanged))


def _touched_at(path: Path) -> float:
    return max(p.stat().st_mtime for p in ([path, *path.iterdir()] if path.is_dir() else [path]))
