"""Where the tiles and embeddings of a study lie, and what has to be done to each slide."""

from __future__ import annotations

from pathlib import Path

from pathoml.config import Study
from pathoml.embedding.jobs import AS_SCANNED, EmbedJob, encoding_name
from pathoml.encoders.finding import find_encoder
from pathoml.engines.local import available_workers
from pathoml.errors import ConfigError, EncoderError
from pathoml.store._hdf5 import stored_attr
from pathoml.tiling.step import TileJob, grid_name
from pathoml.types import Cohort

SAME_SCALE = 0.05  # scales of imported tiles that differ by no more go into one folder: scanners' 0.2500 to 0.2525 for "40x"


def tile_size(study: Study) -> tuple[int, float]:
    """Return (tile_px, mpp): as study.yaml says, else what the encoder was trained on."""
    tile_px, mpp = study.config.tiles.tile_px, study.config.tiles.mpp
    if tile_px is not None and mpp is not None:  # an encoder whose features were imported needs no file of ours
        return tile_px, mpp
    encoder = find_encoder(study.config.encoder)
    return tile_px or encoder.tile_px, mpp or encoder.mpp


def tiles_folder(study: Study) -> Path:
    """Return tiles/GRID."""
    return study.folder / "tiles" / grid_name(*tile_size(study))


def scales(study: Study) -> tuple[Study, ...]:
    """Return the study at each of its magnifications: itself, or with its tiles and with those of tiles.context_mpp around them.

    Raises:
        ConfigError: the second is not the coarser one.
    """
    tiles, mpp = study.config.tiles, tile_size(study)[1]
    if tiles.context_mpp is None:
        return (study,)
    if tiles.context_mpp <= mpp:
        raise ConfigError(
            f"study.yaml: tiles: context_mpp = {tiles.context_mpp:g} is not coarser than the tiles' {mpp:g} micrometres per pixel. "
            f"Give a larger number, such as {4 * mpp:g}, or null for one magnification."
        )
    each = [tiles.model_copy(update={"mpp": scale, "context_mpp": None}) for scale in (tiles.mpp, tiles.context_mpp)]
    return tuple(study.model_copy(update={"config": study.config.model_copy(update={"tiles": one})}) for one in each)


def embeddings_folder(study: Study) -> Path:
    """Return embeddings/ENCODING, of two magnifications embeddings/ENCODING+ENCODING."""
    return study.folder / "embeddings" / "+".join(_encoding(scale) for scale in scales(study))


def _encoding(study: Study) -> str:
    name, (tile_px, mpp) = study.config.encoder, tile_size(study)
    try:
        return encoding_name(name, find_encoder(name), tile_px, mpp, study.config.stain)
    except EncoderError:
        imported = f"{name}@{grid_name(tile_px, mpp)}"
        if not (study.folder / "embeddings" / imported).is_dir():
            raise
        if study.config.stain != AS_SCANNED:
            raise ConfigError(
                f"study.yaml: stain: the features in embeddings/{imported} were imported and are as they are. Set stain.normalise to null "
                "and stain.augment to 0, or let the tool that made them normalise the slides."
            ) from None
        return imported


def is_imported(embeddings: Path, slide_id: str) -> bool:
    """Return whether a slide's features came from another tool: then it is neither tiled nor embedded here.

    Args:
        embeddings: embeddings/ENCODING of the study.
    """
    return bool(stored_attr(embeddings / f"{slide_id}.h5", "imported_from"))


def drawn_regions(study: Study) -> dict[str, Path]:
    """Return slide_id -> GeoJSON file of areas, from the folder tiles.regions.

    Raises:
        ConfigError: there is no such folder.
    """
    if not study.config.tiles.regions:
        return {}
    folder = study.folder / study.config.tiles.regions
    if not folder.is_dir():
        raise ConfigError(f"study.yaml: tiles.regions: {folder} is no folder. Put SLIDE.geojson files there, or remove the key.")
    return {path.stem: path for path in sorted(folder.glob("*.geojson"))}


def tile_jobs(study: Study, cohort: Cohort) -> list[TileJob]:
    """Return one job a slide of the cohort whose features were not imported, at one of the study's `scales`.

    Raises:
        ConfigError: tiles.regions is no folder.
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


def embed_jobs(study: Study, cohort: Cohort) -> list[EmbedJob]:
    """Return one job a slide that has tiles and whose features were not imported, at one of the study's `scales`.

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
        )
        for slide in cohort.slides
        if slide.path is not None and (tiles / f"{slide.slide_id}.h5").exists() and not is_imported(embeddings, slide.slide_id)
    ]
    if not jobs and not any(is_imported(embeddings, slide.slide_id) for slide in cohort.slides):
        raise ConfigError(f"{tiles} holds no tiles of this cohort. Run `pathoml tile` first; its failures.csv says why slides failed.")
    return jobs


def workers(study: Study) -> int:
    """Return the number of processes that read slides."""
    wanted = study.config.compute.workers
    return available_workers() if wanted == "auto" else max(1, wanted)
