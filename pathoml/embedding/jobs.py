"""What there is to embed, and whether it was done: no network is loaded to find that nothing is to
do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pathoml.config import StainConfig, Study
from pathoml.errors import ConfigError, StoreError
from pathoml.store.hdf5 import stored_attr, stored_attrs
from pathoml.store.provenance import recipe_sha256
from pathoml.store.tiles import kept_tiles, read_tiles
from pathoml.study.feature_recipes import embedding_recipe, is_in_precision
from pathoml.study.layout import AS_SCANNED, embeddings_folder, is_imported, tiles_folder
from pathoml.types import Cohort, Recipe


@dataclass(frozen=True, kw_only=True)
class EmbedJob:
    """One slide to embed."""

    slide_id: str
    slide_path: Path
    tiles_path: Path
    embeddings_path: Path
    exclude: tuple[str, ...]
    icc: bool = False  # colours by the slide's profile
    stain: StainConfig = AS_SCANNED
    precision: str = "auto"  # in which the encoder is to compute; auto: any that it computed in


def embed_recipe(encoder_name: str, encoder_sha256: str, job: EmbedJob) -> Recipe:
    """Return everything that decides the features of a slide."""
    return embedding_recipe(
        job.exclude,
        icc=job.icc,
        stain=job.stain,
        encoder=encoder_name,
        weights=encoder_sha256,
        tiles_sha256=stored_attr(job.tiles_path, "content_sha256"),
    )


def stale_jobs(jobs: Sequence[EmbedJob], encoder_name: str, encoder_sha256: str) -> list[EmbedJob]:
    """Return the jobs whose embeddings are missing or were made from other tiles, another slide,
    by other weights, or in another precision than study.yaml names.
    """
    return [
        job
        for job in jobs
        if not is_current(job, job.embeddings_path, encoder_name, encoder_sha256=encoder_sha256)
    ]


def is_current(job: EmbedJob, path: Path, encoder_name: str, *, encoder_sha256: str) -> bool:
    """Return whether a file holds what embedding a slide would give now."""
    stored, slide, precision = stored_attrs(
        path, ("recipe_sha256", "slide_sha256", "precision")
    ).values()
    return (
        stored == recipe_sha256(embed_recipe(encoder_name, encoder_sha256, job))
        # two slides may have the same tiles, and other pixels in them
        and slide == stored_attr(job.tiles_path, "slide_sha256")
        and is_in_precision(job.precision, precision)
    )


def embedded_otherwise(study: Study, cohort: Cohort) -> list[EmbedJob]:
    """Return the jobs, at one of the study's `scales`, whose embeddings were made of other tiles or
    by other settings; the weights are taken to be the same, since no network is loaded.
    """
    try:
        jobs = embed_jobs(study, cohort)
    except ConfigError:  # there are no tiles yet
        return []
    found = []
    for job in jobs:
        path, encoder = job.embeddings_path, study.config.encoder
        weights = stored_attr(path, "encoder_sha256")
        if weights and not is_current(job, path, encoder, encoder_sha256=weights):
            found.append(job)
    return found


def tiles_of(jobs: Sequence[EmbedJob], *, enough: float = math.inf) -> int:
    """Return how many tiles the jobs have in all, without flagged ones; a torn file counts none and
    fails when it is embedded.

    Args:
        enough: nobody asks for more; files are opened until there are as many.
    """
    count = 0
    for job in jobs:
        if count >= enough:
            break
        with suppress(StoreError):
            count += len(kept_tiles(read_tiles(job.tiles_path)[0], job.exclude).xy_l0)
    return count


def embed_jobs(study: Study, cohort: Cohort) -> list[EmbedJob]:
    """Return one job per slide that has tiles and whose features were not imported, at one of the
    study's `scales`.

    Raises:
        ConfigError: no slide has tiles yet.
    """
    tiles, embeddings = tiles_folder(study), embeddings_folder(study)
    jobs = [
        EmbedJob(
            slide_id=slide.slide_id,
            slide_path=slide.path,
            tiles_path=tiles / f"{slide.slide_id}.h5",
            embeddings_path=embeddings / f"{slide.slide_id}.h5",
            exclude=study.config.tiles.exclude,
            icc=study.config.tiles.icc,
            stain=study.config.stain,
            precision=study.config.compute.precision,
        )
        for slide in cohort.slides
        if slide.path is not None
        and (tiles / f"{slide.slide_id}.h5").exists()
        and not is_imported(embeddings, slide.slide_id)
    ]
    if not jobs and not any(is_imported(embeddings, slide.slide_id) for slide in cohort.slides):
        raise ConfigError(
            f"{tiles} holds no tiles of this cohort. Run `pathoml tile`, or"
            " pathoml.tile(study), first; its failures.csv says why slides failed."
        )
    return jobs
