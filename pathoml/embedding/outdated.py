"""Features that count no more: of a slide that fails now, or that was left without tiles. They are
set aside, so that no later step reads them, and taken back where they are right again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from pathoml.config import Study
from pathoml.embedding.jobs import EmbedJob, is_current
from pathoml.slides.whereabouts import whereabouts
from pathoml.store.embeddings import TILE_RECIPE, restamp
from pathoml.store.failures import failed_slides
from pathoml.store.hdf5 import stored_attr
from pathoml.store.packs import is_stored
from pathoml.store.set_aside import forget_set_aside, set_aside, set_aside_path, take_back
from pathoml.store.tiles import RECIPE
from pathoml.study.layout import embeddings_folder, is_imported, tiles_folder
from pathoml.types import Cohort


def set_aside_untiled(study: Study, cohort: Cohort) -> list[str]:
    """Set aside the features of slides that could not be tiled, at one of the study's `scales`, and
    return the slides.
    """
    tiles, folder = tiles_folder(study), embeddings_folder(study)
    return [
        slide_id
        for slide_id in _own(folder, cohort, failed_slides(tiles))
        if not is_stored(tiles / f"{slide_id}.h5") and set_aside(folder / f"{slide_id}.h5")
    ]


def set_aside_unjoined(
    study: Study, cohort: Cohort, *, joined: Collection[str], failures: Collection[str]
) -> None:
    """Set aside joined features of slides that have none at one of two magnifications.

    Args:
        joined: slides that are to be joined.
        failures: those of them that could not be.
    """
    folder = embeddings_folder(study)
    for slide_id in _own(folder, cohort, [s.slide_id for s in cohort.slides]):
        if slide_id not in joined or slide_id in failures:
            set_aside(folder / f"{slide_id}.h5")


def set_aside_failed(jobs: Sequence[EmbedJob], failures: Mapping[str, str]) -> None:
    """Set aside what was made before of slides that could not be embedded now, but for those that
    are out of reach.
    """
    for job in jobs:
        if job.slide_id not in failures:
            forget_set_aside(job.embeddings_path)
        elif whereabouts(job.slide_path) != "away":
            set_aside(job.embeddings_path)


def take_back_current(
    jobs: Sequence[EmbedJob], encoder_name: str, encoder_sha256: str
) -> list[EmbedJob]:
    """Take back what was set aside of these jobs and is right again; return the other jobs."""
    left = []
    for job in jobs:
        aside = set_aside_path(job.embeddings_path)
        if is_current(job, aside, encoder_name, encoder_sha256=encoder_sha256):
            take_back(job.embeddings_path)
        else:
            left.append(job)
    return left


def restamp_current(jobs: Sequence[EmbedJob]) -> None:
    """Write into features that are up to date by which recipe their tiles are laid now, where
    another recipe came to the same tiles.
    """
    for job in jobs:
        now = stored_attr(job.tiles_path, RECIPE)
        if now and stored_attr(job.embeddings_path, TILE_RECIPE) != now:
            restamp(job.embeddings_path, now)


def _own(folder: Path, cohort: Cohort, slides: Collection[str]) -> list[str]:
    """Return those of the slides that are of the cohort and have features that were made here."""
    return [
        slide.slide_id
        for slide in cohort.slides
        if slide.slide_id in slides
        and is_stored(folder / f"{slide.slide_id}.h5")
        and not is_imported(folder, slide.slide_id)
    ]
