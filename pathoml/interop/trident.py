"""TRIDENT: JOB/<mag>x_<px>px_<overlap>px_overlap/features_<encoder>/SLIDE.h5, which is also what
torchmil and Patho-Bench read; and slide_features_<encoder>/SLIDE.h5 beside it, one vector a slide.

Its tiles are a number of pixels at a binned magnification, so their side in micrometres differs
between scanners; the import keeps each slide's side and says what it is
(github.com/mahmoodlab/TRIDENT, issue 119).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pathoml.config import Study
from pathoml.errors import StoreError
from pathoml.interop._features import (
    ForeignFeatures,
    KnownSlide,
    array_of,
    import_features,
    study_embeddings,
)
from pathoml.interop._vectors import (
    ForeignVector,
    encoder_word,
    import_vectors,
    joined,
    one_vector,
)
from pathoml.store.foreign import ForeignFile, read_foreign, write_foreign
from pathoml.store.tiles import nominal_magnification
from pathoml.types import Exchange, TileGrid

FEATURES = "features_"
SLIDE_FEATURES = "slide_features_"


def import_into(study: Study, source: Path) -> Exchange:
    """Import features_<encoder>/SLIDE.h5 and slide_features_<encoder>/SLIDE.h5 of a job, or one
    such folder. Vectors of slides go into encodings of their own.
    """
    tiles, failures = list(_files(source, FEATURES)), dict[str, str]()
    vectors = list(_vectors(source, failures))
    if not vectors and not failures:
        return import_features(study, "trident", tiles, convert=_convert)
    if not tiles:
        return import_vectors(study, "trident", vectors, failures=failures)
    first = import_features(study, "trident", tiles, convert=_convert)
    return joined(first, import_vectors(study, "trident", vectors, failures=failures))


def export_to(study: Study, target: Path) -> Exchange:
    """Write the study's embeddings as a TRIDENT job: patches and features."""
    written = []
    for slide in study_embeddings(study):
        job = (
            target / f"{nominal_magnification(slide.grid.mpp)}x_{slide.grid.tile_px}px_0px_overlap"
        )
        attrs = _coord_attrs(slide.grid, job)
        coords = slide.grid.xy_l0.astype(np.int64)
        patches = job / "patches" / f"{slide.slide_id}_patches.h5"
        features = job / f"{FEATURES}{slide.encoder}" / f"{slide.slide_id}.h5"
        named = {
            "encoder": slide.encoder,
            "name": slide.slide_id,
            "savetodir": str(features.parent),
        }
        write_foreign(
            patches, ForeignFile(arrays={"coords": coords}, root={}, attrs={"coords": attrs})
        )
        write_foreign(
            features,
            ForeignFile(
                arrays={"features": slide.features, "coords": coords},
                root={},
                attrs={"features": named, "coords": attrs},
            ),
        )
        written += [patches, features]
    return Exchange(
        files=tuple(written),
        notes=("Magnifications are nominal; the tiles' true side stands in embeddings/.",),
    )


def _vectors(source: Path, failures: dict[str, str]) -> Iterator[ForeignVector]:
    """Yield the vectors of slides. The coordinates beside them are those of the slide's tiles, not
    of the vector.
    """
    for name, path in _files(source, SLIDE_FEATURES):
        try:
            content = read_foreign(path)
            values = one_vector(array_of(content, path, "features"), path)
        except StoreError as error:
            failures[name] = str(error)
            continue
        yield ForeignVector(
            name=name,
            of="slide",
            encoder=encoder_word(
                content.attrs["features"].get("encoder")
                or path.parent.name.removeprefix(SLIDE_FEATURES)
            ),
            values=values,
            source=f"{path.parent.name}/{path.name}",
        )


def _files(source: Path, start: str) -> Iterator[tuple[str, Path]]:
    folders = (
        [source]
        if source.name.startswith(start)
        else sorted(p for p in source.rglob(f"{start}*") if p.is_dir())
    )
    for folder in folders:
        for path in sorted(folder.glob("*.h5")):
            yield path.stem, path


def _convert(path: Path, _slide: KnownSlide) -> ForeignFeatures:
    content = read_foreign(path)
    features, coords = array_of(content, path, "features"), array_of(content, path, "coords")
    attrs = content.attrs["coords"]
    if "patch_size_level0" not in attrs or "patch_size" not in attrs:
        raise StoreError(
            f"{path}: coords lack patch_size_level0 or patch_size, so the tiles have no size."
            " Extract with a newer TRIDENT."
        )
    size = (int(attrs.get("level0_width", 0)), int(attrs.get("level0_height", 0)))
    return ForeignFeatures(
        xy_l0=coords,
        tile_l0=int(attrs["patch_size_level0"]),
        tile_px=int(attrs["patch_size"]),
        features=features,
        encoder=str(
            content.attrs["features"].get("encoder") or path.parent.name.removeprefix(FEATURES)
        ),
        size_l0=size if all(size) else None,
        said_name=str(attrs.get("name", "")),
    )


def _coord_attrs(grid: TileGrid, job: Path) -> dict[str, Any]:
    return {
        "patch_size": grid.tile_px,
        "patch_size_level0": grid.tile_l0,
        "level0_magnification": nominal_magnification(grid.level0_mpp),
        "target_magnification": nominal_magnification(grid.mpp),
        "overlap": 0,
        "name": grid.slide_id,
        "savetodir": str(job),
        "level0_width": grid.size_l0[0],
        "level0_height": grid.size_l0[1],
    }
