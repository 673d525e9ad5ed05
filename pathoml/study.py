"""Where the tiles and embeddings of a study lie, and what has to be done to each slide."""

from __future__ import annotations

from pathlib import Path

from pathoml.config import Study
from pathoml.embedding import EmbedJob, encoding_name
from pathoml.encoders import find_encoder
from pathoml.engines.local import available_workers
from pathoml.errors import ConfigError
from pathoml.tiling import TileJob, grid_name
from pathoml.types import Cohort


def tile_size(study: Study) -> tuple[int, float]:
    """Return (tile_px, mpp): as study.yaml says, else what the encoder was trained on."""
    encoder = find_encoder(study.config.encoder)
    return study.config.tiles.tile_px or encoder.tile_px, study.config.tiles.mpp or encoder.mpp


def tiles_folder(study: Study) -> Path:
    """Return tiles/GRID."""
    return study.folder / "tiles" / grid_name(*tile_size(study))


def embeddings_folder(study: Study) -> Path:
    """Return embeddings/ENCODING."""
    name = encoding_name(study.config.encoder, find_encoder(study.config.encoder), *tile_size(study))
    return study.folder / "embeddings" / name


def tile_jobs(study: Study, cohort: Cohort) -> list[TileJob]:
    """Return one job a slide of the cohort."""
    tile_px, mpp = tile_size(study)
    return [
        TileJob(
            slide=slide,
            study_mpp=study.config.slides.mpp,
            tile_px=tile_px,
            mpp=mpp,
            tiles=study.config.tiles,
            folder=tiles_folder(study),
        )
        for slide in cohort.slides
    ]


def embed_jobs(study: Study, cohort: Cohort) -> list[EmbedJob]:
    """Return one job a slide that has tiles.

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
        )
        for slide in cohort.slides
        if slide.path is not None and (tiles / f"{slide.slide_id}.h5").exists()
    ]
    if not jobs:
        raise ConfigError(f"{tiles} holds no tiles of this cohort. Run `pathoml tile` first; its failures.csv says why slides failed.")
    return jobs


def workers(study: Study) -> int:
    """Return the number of processes that read slides."""
    wanted = study.config.compute.workers
    return available_workers() if wanted == "auto" else max(1, wanted)
