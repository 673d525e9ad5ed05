"""Where the tiles and embeddings of a study lie, and what has to be done to each slide."""

from __future__ import annotations

from pathlib import Path

from pathoml.config import StainConfig, Study
from pathoml.encoders.finding import find_encoder
from pathoml.errors import ConfigError, EncoderError, nearest
from pathoml.store.hdf5 import stored_attr
from pathoml.types import Encoder

# scales of imported tiles that differ by no more go into one folder: scanners' 0.2500 to 0.2525 for
# "40x"
SAME_SCALE = 0.05
AS_SCANNED = StainConfig()
# ends of encodings that have one vector of a whole slide, or of all slides of a patient, and which
# were made elsewhere
VECTORS = {"@slide": "slide", "@patient": "patient"}
PLACELESS = (1, 1.0)  # tile_px and mpp of a vector, which has no tile


def tile_size(study: Study) -> tuple[int, float]:
    """Return (tile_px, mpp): as study.yaml says, else what the encoder was trained on."""
    if vectors_encoding(study):
        return PLACELESS
    tile_px, mpp = study.config.tiles.tile_px, study.config.tiles.mpp
    if (
        tile_px is not None and mpp is not None
    ):  # an encoder whose features were imported needs no file of ours
        return tile_px, mpp
    encoder = find_encoder(study.config.encoder)
    return tile_px or encoder.tile_px, mpp or encoder.mpp


def vector_of(encoding: str) -> str:
    """Return what an encoding has one vector of: "slide", "patient", or "" where it has tiles.

    >>> vector_of("titan@slide"), vector_of("hif@patient"), vector_of("uni@224px_1.0mpp")
    ('slide', 'patient', '')
    """
    return next((of for end, of in VECTORS.items() if encoding.endswith(end)), "")


def vectors_encoding(study: Study) -> str:
    """Return the encoding of the study if it has vectors of slides or patients: as study.yaml
    names it, or of an encoder that is named without its end; "" where it has tiles.

    Raises:
        EncoderError: the encoder is known only by two kinds of vectors.
    """
    name = study.config.encoder
    if vector_of(name):
        return name
    found = [f"{name}{end}" for end in VECTORS if (study.all_embeddings / f"{name}{end}").is_dir()]
    if not found or _has_tiles(study):
        return ""
    if len(found) > 1:
        raise EncoderError(
            f"study.yaml: encoder: {name} has vectors of slides and of patients in"
            f" {study.all_embeddings}. Write {' or '.join(found)}."
        )
    return found[0]


def _has_tiles(study: Study) -> bool:
    """Whether the encoder makes features of tiles here, or some were imported."""
    name = study.config.encoder
    try:
        find_encoder(name)
    except EncoderError:
        return any(study.all_embeddings.glob(f"{name}@*px_*mpp"))
    return True


def contents_folder(study: Study) -> Path:
    """Return where it is remembered what slide files hold; it names no slide and no patient."""
    return study.folder / ".slide_files"


def tiles_folder(study: Study) -> Path:
    """Return tiles/GRID."""
    return study.all_tiles / grid_name(*tile_size(study))


def scales(study: Study) -> tuple[Study, ...]:
    """Return the study at each of its magnifications: itself, or with its tiles and with those of
    tiles.context_mpp around them.

    Raises:
        ConfigError: the second is not the coarser one.
    """
    tiles, mpp = study.config.tiles, tile_size(study)[1]
    if tiles.context_mpp is None:
        return (study,)
    if vectors := vectors_encoding(study):
        raise ConfigError(
            f"study.yaml: tiles: context_mpp: embeddings/{vectors} has one vector a"
            f" {vector_of(vectors)}, without tiles around it. Remove the key."
        )
    if tiles.context_mpp <= mpp:
        raise ConfigError(
            f"study.yaml: tiles: context_mpp = {tiles.context_mpp:g} is not coarser than the "
            f"tiles' {mpp:g} micrometres per pixel. Give a larger number, such as {4 * mpp:g}, or "
            "null for one magnification."
        )
    each = [
        tiles.model_copy(update={"mpp": scale, "context_mpp": None})
        for scale in (tiles.mpp, tiles.context_mpp)
    ]
    return tuple(
        study.model_copy(update={"config": study.config.model_copy(update={"tiles": one})})
        for one in each
    )


def embeddings_folder(study: Study) -> Path:
    """Return embeddings/ENCODING, of two magnifications embeddings/ENCODING+ENCODING."""
    return study.all_embeddings / "+".join(_encoding(scale) for scale in scales(study))


def _encoding(study: Study) -> str:
    if vectors := vectors_encoding(study):
        return _of_vectors(study, vectors)
    name, (tile_px, mpp) = study.config.encoder, tile_size(study)
    try:
        return encoding_name(name, find_encoder(name), tile_px, mpp=mpp, stain=study.config.stain)
    except EncoderError:
        imported = f"{name}@{grid_name(tile_px, mpp)}"
        if not (study.all_embeddings / imported).is_dir():
            raise
        if study.config.stain != AS_SCANNED:
            raise ConfigError(
                f"study.yaml: stain: the features in embeddings/{imported} were imported and are "
                "as they are. Set stain.normalise to null and stain.augment to 0, or let the tool "
                "that made them normalise the slides."
            ) from None
        return imported


def _of_vectors(study: Study, encoding: str) -> str:
    if not (study.all_embeddings / encoding).is_dir():
        others = sorted(p.name for p in study.all_embeddings.glob("*") if vector_of(p.name))
        raise EncoderError(
            f"study.yaml: encoder: {study.all_embeddings / encoding} is not there."
            f"{nearest(encoding, others)} Vectors of slides and patients are made elsewhere:"
            f" `pathoml import {study.folder} FILE --from vectors` (or trident, or stamp)."
        )
    if study.config.stain != AS_SCANNED:
        raise ConfigError(
            f"study.yaml: stain: the vectors in embeddings/{encoding} were imported and are as"
            " they are. Set stain.normalise to null and stain.augment to 0."
        )
    return encoding


def is_imported(embeddings: Path, slide_id: str) -> bool:
    """Return whether a slide's features came from another tool: then it is neither tiled nor
    embedded here.

    Args:
        embeddings: embeddings/ENCODING of the study. Nothing of an encoding of vectors is made
            here.
    """
    return bool(vector_of(embeddings.name)) or bool(
        stored_attr(embeddings / f"{slide_id}.h5", "imported_from")
    )


def drawn_regions(study: Study) -> dict[str, Path]:
    """Return slide_id -> GeoJSON file of areas, from the folder tiles.regions.

    Raises:
        ConfigError: there is no such folder.
    """
    if not study.config.tiles.regions:
        return {}
    folder = study.folder / study.config.tiles.regions
    if not folder.is_dir():
        raise ConfigError(
            f"study.yaml: tiles.regions: {folder} is not a folder. Put SLIDE.geojson files there, "
            "or remove the key."
        )
    return {path.stem: path for path in sorted(folder.glob("*.geojson"))}


def stain_name(stain: StainConfig) -> str:
    """Return what is done to the stain in one word, "" for nothing.

    >>> stain_name(StainConfig(normalise="macenko", augment=0.05)), stain_name(StainConfig())
    ('macenko-hed0.05', '')
    """
    jitter = f"hed{stain.augment:g}" if stain.augment else ""
    return "-".join(part for part in (stain.normalise, jitter) if part)


def encoding_name(
    name: str, encoder: Encoder, tile_px: int, *, mpp: float, stain: StainConfig = AS_SCANNED
) -> str:
    """Return the folder of an encoding: the encoder's name on its own grid, else ENCODER@GRID, else
    ENCODER@GRID-STAIN.

    >>> from pathoml.encoders.finding import find_encoder
    >>> lite0 = find_encoder("efficientnet_lite0")
    >>> encoding_name("efficientnet_lite0", lite0, 224, mpp=0.5)
    'efficientnet_lite0'
    >>> encoding_name("efficientnet_lite0", lite0, 224, mpp=1.0)
    'efficientnet_lite0@224px_1.0mpp'
    >>> stain = StainConfig(normalise="reinhard")
    >>> encoding_name("efficientnet_lite0", lite0, 224, mpp=0.5, stain=stain)
    'efficientnet_lite0@224px_0.5mpp-reinhard'
    """
    own = (tile_px, mpp) == (encoder.tile_px, encoder.mpp)
    if stain == AS_SCANNED:
        return name if own else f"{name}@{grid_name(tile_px, mpp)}"
    return f"{name}@{grid_name(tile_px, mpp)}-{stain_name(stain)}"


def grid_name(tile_px: int, mpp: float) -> str:
    """Return the name of a tile grid's folder.

    >>> grid_name(224, 0.5)
    '224px_0.5mpp'
    """
    return f"{tile_px}px_{float(mpp):g}mpp" if mpp != int(mpp) else f"{tile_px}px_{mpp:.1f}mpp"
