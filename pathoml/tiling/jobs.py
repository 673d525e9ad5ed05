"""What there is to tile, what decides a slide's tiles, and whether they were made already."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pathoml.config import Study, TilesConfig
from pathoml.errors import SlideError
from pathoml.slides.contents import SlideContents, bytes_of
from pathoml.slides.whereabouts import whereabouts
from pathoml.store.hdf5 import stored_attrs
from pathoml.store.provenance import recipe_sha256
from pathoml.store.tables import parse_number
from pathoml.study.feature_recipes import stated_settings, tiling_recipe
from pathoml.study.layout import (
    contents_folder,
    drawn_regions,
    embeddings_folder,
    is_imported,
    tile_size,
    tiles_folder,
)
from pathoml.tiling.staining import Staining, stated_staining
from pathoml.types import Cohort, Recipe, Slide

READ_BYTES = 2**31  # of slide files in all, to say how a study stands; more is left to `tile`
GREY_LEVELS, DENSITIES = (50.0, 255.0), (0.003, 0.5)


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

    @property
    def tiles_path(self) -> Path:
        """tiles/GRID/SLIDE.h5."""
        return self.folder / f"{self.slide.slide_id}.h5"


@dataclass(frozen=True, kw_only=True)
class Stated:
    """What people say of a slide, for what nothing finds."""

    glass: float | None = None  # grey level
    density: float | None = None  # optical density from which on there is tissue
    staining: Staining | None = None


def stated_of(job: TileJob) -> Stated:
    """Return what slides.csv, else study.yaml, says of a slide's glass, tissue and stain.

    Raises:
        SlideError: a cell that is no such number.
    """
    glass = _number(job, "glass", *GREY_LEVELS, "a grey level")
    density = _number(job, "density", *DENSITIES, "an optical density")
    return Stated(
        glass=job.tiles.glass if glass is None else glass,
        density=job.tiles.density if density is None else density,
        staining=stated_staining(job.slide.extras.get("stain", "")),
    )


def _number(job: TileJob, column: str, least: float, most: float, what: str) -> float | None:
    text = job.slide.extras.get(column, "")
    if not text:
        return None
    value = parse_number(text)
    if value is None or not least <= value <= most:
        raise SlideError(
            f"Slide {job.slide.slide_id}: slides.csv says {column} {text!r}, expected {what} from "
            f"{least:g} to {most:g}. Correct it, or leave the cell empty."
        )
    return value


def tile_recipe(job: TileJob, slide_sha256: str) -> Recipe:
    """Return everything that decides the tiles of a slide."""
    return tiling_recipe(
        job.tiles,
        slide_sha256=slide_sha256,
        row_mpp=job.slide.mpp,
        study_mpp=job.study_mpp,
        tile_px=job.tile_px,
        mpp=job.mpp,
        regions=job.regions,
        stated=stated_settings(job.tiles, job.slide.extras),
    )


def stale_jobs(jobs: Sequence[TileJob], contents: SlideContents | None = None) -> list[TileJob]:
    """Return the jobs whose tiles are missing or were made from another recipe or another file. A
    slide that is out of reach is taken for the one that was tiled.

    Args:
        contents: what slides were found to hold before; without it each is read.
    """
    contents = contents or SlideContents()
    return [job for job in jobs if not _is_fresh(job, contents)]


def unread_slides(jobs: Sequence[TileJob], contents: SlideContents) -> list[Path]:
    """Return the slide files that have to be read to know whether they are those that were tiled:
    they were moved or touched since.
    """
    return [
        job.slide.path
        for job in jobs
        if job.slide.path is not None
        and whereabouts(job.slide.path) == "there"
        and job.tiles_path.exists()
        and not contents.is_known(job.slide.path)
    ]


def is_away(job: TileJob) -> bool:
    """Return whether the slide of a job is out of reach for the moment."""
    return job.slide.path is not None and whereabouts(job.slide.path) == "away"


def tiled_otherwise(study: Study, cohort: Cohort) -> list[TileJob]:
    """Return the jobs, at one of the study's `scales`, whose tiles were made by other settings or
    of another slide file, or whose file is gone. Where much would have to be read to know whether
    files are the same, they are taken to be.

    Raises:
        ConfigError: tiles.regions is not a folder.
    """
    found, contents, left = [], SlideContents(contents_folder(study)), READ_BYTES
    for job in tile_jobs(study, cohort):
        stored, slide = stored_attrs(job.tiles_path, ("recipe_sha256", "slide_sha256")).values()
        path = job.slide.path
        if not stored or path is None:
            continue
        place = whereabouts(path)
        if place == "there":
            with suppress(OSError):
                left -= 0 if contents.is_known(path) else bytes_of(path)
                slide = contents.sha256(path) if left >= 0 else slide
        if place == "gone" or stored != recipe_sha256(tile_recipe(job, slide)):
            found.append(job)
    return found


def _is_fresh(job: TileJob, contents: SlideContents) -> bool:
    stored, slide = stored_attrs(job.tiles_path, ("recipe_sha256", "slide_sha256")).values()
    if not stored or job.slide.path is None:
        return False
    place = whereabouts(job.slide.path)
    if place == "there":
        try:
            slide = contents.sha256(job.slide.path)
        except OSError:  # `tile` tries it and says why
            return False
    return place != "gone" and stored == recipe_sha256(tile_recipe(job, slide))
