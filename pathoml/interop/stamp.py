"""STAMP: <extractor>-<hash>/SLIDE.h5 with `feats` and `coords` in micrometres; and what its
encoders of slides and patients write.

    <encoder>-slide-<hash>/SLIDE.h5      feats (1, D) or (D,), attributes feat_type and encoder
    <encoder>-pat-<hash>/PATIENT.h5
    <encoder>-slide-<hash>.h5            of older versions: an array for each slide or patient

Three generations of attributes are read, as STAMP itself reads them: tile_size_um, tile_size with
unit "um", and the oldest, whose coordinates have a stride of 224 for 256 micrometres. Files without
coordinates (`patch_embeddings`) do not say their scale.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pathoml.config import Study
from pathoml.errors import StoreError
from pathoml.interop._features import (
    ForeignFeatures,
    KnownSlide,
    array_of,
    import_features,
    study_embeddings,
)
from pathoml.interop._vectors import ForeignVector, encoder_word, import_vectors, joined, one_vector
from pathoml.store.foreign import (
    ForeignFile,
    read_foreign,
    refuse_deadly_hdf5,
    write_foreign,
)
from pathoml.store.hdf5 import stored_attrs
from pathoml.types import Exchange

STAMP_VERSION = "2.0.0"  # STAMP refuses files newer than itself
KINDS = {"slide": "slide", "patient": "patient"}  # feat_type of vectors
WHERE = re.compile(r"^(.+)-(?:slide|pat|patient)-[^-]*$")  # a folder or file of vectors
OLD_STRIDE_PX, OLD_STRIDE_UM = 224, 256.0  # before the scale was written


def import_into(study: Study, source: Path) -> Exchange:
    """Import every SLIDE.h5 below a folder of tile features, and the vectors of slides and patients
    there, which go into encodings of their own.
    """
    paths = [source] if source.is_file() else sorted(source.rglob("*.h5"))
    tiles: list[tuple[str, Path]] = []
    vectors: list[ForeignVector] = []
    failures: dict[str, str] = {}
    for path in paths:
        try:
            found = _vectors(path)
        except StoreError as error:
            failures[path.stem] = str(error)
            continue
        if found is None:
            tiles.append((path.stem, path))
        else:
            vectors += found
    if not vectors and not failures:
        return import_features(study, "stamp", tiles, convert=_convert)
    if not tiles:
        return import_vectors(study, "stamp", vectors, failures=failures)
    first = import_features(study, "stamp", tiles, convert=_convert)
    both = joined(first, import_vectors(study, "stamp", vectors, failures=failures))
    if not vectors:
        return both
    note = f"{len(tiles)} files hold tiles, {len(vectors)} vectors: each kind has its own encoding."
    return Exchange(files=both.files, failures=both.failures, notes=(*both.notes, note))


def _vectors(path: Path) -> list[ForeignVector] | None:
    """Return the vectors of slides or patients in a file; None where it has tiles.

    Raises:
        StoreError: it holds several rows, or names no encoder.
    """
    refuse_deadly_hdf5(path)
    said, encoder = stored_attrs(path, ("feat_type", "encoder")).values()
    if said in ("", "tile") and not encoder:
        return None  # and it need not be read twice
    content = read_foreign(path)
    kind, where = KINDS.get(said), WHERE.search(path.stem) or WHERE.search(path.parent.name)
    many = "feats" not in content.arrays and bool(encoder and content.arrays)
    if said and said != "tile" and kind is None:
        raise StoreError(f"{path}: feat_type is {said!r}; expected tile, slide or patient.")
    if "coords" in content.arrays or not (kind or many):
        return None
    encoder = encoder or (where.group(1) if where else "")
    if not encoder:
        raise StoreError(
            f"{path} holds features of a {said}, and neither its attribute encoder nor its folder"
            " (ENCODER-slide-HASH, ENCODER-pat-HASH) says which encoder made them."
        )
    arrays = content.arrays if many else {path.stem: array_of(content, path, "feats")}
    return [
        ForeignVector(
            name=name,
            of=kind or "",  # an old file's name says slide of patients too
            encoder=encoder_word(encoder),
            values=one_vector(array, path),
            source=f"{path.name} [{name}]" if many else path.name,
        )
        for name, array in arrays.items()
    ]


def export_to(study: Study, target: Path) -> Exchange:
    """Write the study's embeddings as STAMP's tile features."""
    written = []
    for slide in study_embeddings(study):
        path = (
            target
            / f"{slide.encoder}-{slide.encoder_sha256[:8]}".replace(" ", "_")
            / f"{slide.slide_id}.h5"
        )
        root = {
            "stamp_version": STAMP_VERSION,
            "extractor": slide.encoder,
            "unit": "um",
            "tile_size_um": slide.grid.tile_um,
            "tile_size_px": slide.grid.tile_px,
            "code_hash": slide.recipe_sha256[:8],
            "feat_type": "tile",
        }
        coords_um = (slide.grid.xy_l0 * slide.grid.level0_mpp).astype(np.float32)
        write_foreign(
            path,
            ForeignFile(arrays={"feats": slide.features, "coords": coords_um}, root=root, attrs={}),
        )
        written.append(path)
    return Exchange(files=tuple(written))


def _convert(path: Path, slide: KnownSlide) -> ForeignFeatures:
    content = read_foreign(path)
    if content.root.get("feat_type", "tile") != "tile":
        raise StoreError(f"{path} holds features of a {content.root['feat_type']}, not of tiles.")
    if "coords" not in content.arrays:
        raise StoreError(
            f"{path} has no coordinates, so its tiles have no place and no scale. Extract the"
            " features again."
        )
    coords = array_of(content, path, "coords").astype(np.float64)
    side_um, tile_px, coords_um = _scale(path, content, coords)
    return ForeignFeatures(
        xy_l0=np.round(coords_um / slide.level0_mpp).astype(np.int64),
        tile_l0=round(side_um / slide.level0_mpp),
        tile_px=tile_px,
        features=array_of(content, path, "feats"),
        encoder=_extractor(path, content),
    )


def _scale(
    path: Path, content: ForeignFile, coords: npt.NDArray[np.float64]
) -> tuple[float, int, npt.NDArray[np.float64]]:
    """Return (side of a tile in micrometres, in pixels, coordinates in micrometres)."""
    root = content.root
    tile_px = int(root.get("tile_size_px", OLD_STRIDE_PX))
    if "tile_size_um" in root and root.get("unit", "um") == "um":
        return float(root["tile_size_um"]), tile_px, coords
    if "tile_size" in root and root.get("unit") == "um":
        return float(root["tile_size"]), tile_px, coords
    if round(float(root.get("tile_size", _stride(coords)))) == OLD_STRIDE_PX:
        return OLD_STRIDE_UM, OLD_STRIDE_PX, coords * OLD_STRIDE_UM / OLD_STRIDE_PX
    raise StoreError(
        f"{path} does not say how many micrometres a tile is wide (tile_size_um). Extract the"
        " features again."
    )


def _stride(coords: npt.NDArray[np.float64]) -> float:
    """Return the smallest step between columns or rows of tiles; 0 if there is only one."""
    steps = [np.diff(np.unique(axis)) for axis in coords.T]
    return float(min((s.min() for s in steps if len(s)), default=0.0))


def _extractor(path: Path, content: ForeignFile) -> str:
    named = str(content.root.get("extractor", ""))
    return (named or path.parent.name).rsplit("-", 1)[0] if not named or "-" in named else named
