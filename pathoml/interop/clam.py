"""CLAM: patches/SLIDE.h5 say where the tiles lie, h5_files/SLIDE.h5 what the encoder saw,
pt_files/SLIDE.pt the features alone.

CLAM's files of features name neither the encoder nor the size of a tile: the size comes from
patches/, which must be there, and the encoder is taken to be study.yaml's, which the import says.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pathoml.config import Study
from pathoml.errors import StoreError
from pathoml.interop._features import (
    ForeignFeatures,
    KnownSlide,
    array_of,
    import_features,
    study_embeddings,
)
from pathoml.store.files import write_bytes
from pathoml.store.foreign import ForeignFile, read_foreign, write_foreign
from pathoml.types import Exchange, TileGrid


def import_into(study: Study, source: Path) -> Exchange:
    """Import h5_files/ with patches/ of the same slides, wherever they lie below `source`."""
    patches = {path.stem: path for path in sorted(source.rglob("patches/*.h5"))}

    def convert(path: Path, _slide: KnownSlide) -> ForeignFeatures:
        return _convert(path, patches.get(path.stem), study.config.encoder)

    done = import_features(study, "clam", _files(source), convert=convert)
    note = f"CLAM does not name its encoder; study.yaml's ({study.config.encoder}) was taken."
    return Exchange(files=done.files, failures=done.failures, notes=(*done.notes, note))


def export_to(study: Study, target: Path) -> Exchange:
    """Write the study's embeddings as CLAM's patches/, h5_files/ and pt_files/; tiles are described
    at level 0.
    """
    written = []
    for slide in study_embeddings(study):
        paths = [target / folder / f"{slide.slide_id}{suffix}" for folder, suffix in _PLACES]
        coords = slide.grid.xy_l0.astype(np.int32)
        attrs = {"coords": _coord_attrs(slide.grid, target)}
        write_foreign(
            paths[0], ForeignFile(arrays={"coords": coords.astype(np.int64)}, root={}, attrs=attrs)
        )
        write_foreign(
            paths[1],
            ForeignFile(
                arrays={"features": slide.features.astype(np.float32), "coords": coords},
                root={},
                attrs={},
            ),
        )
        made = io.BytesIO()
        torch.save(torch.from_numpy(slide.features.astype(np.float32)), made)
        write_bytes(paths[2], made.getvalue())
        written += paths
    return Exchange(files=tuple(written))


_PLACES = (("patches", ".h5"), ("h5_files", ".h5"), ("pt_files", ".pt"))


def _files(source: Path) -> Iterator[tuple[str, Path]]:
    folders = [source] if source.name == "h5_files" else sorted(source.rglob("h5_files"))
    for folder in folders:
        for path in sorted(folder.glob("*.h5")):
            yield path.stem, path


def _convert(path: Path, patches: Path | None, encoder: str) -> ForeignFeatures:
    if patches is None:
        raise StoreError(
            f"{path}: no patches/{path.name} below the folder, so the tiles have no size. Give the"
            " folder that holds both."
        )
    content, attrs = read_foreign(path), read_foreign(patches).attrs.get("coords", {})
    if "patch_size" not in attrs or "downsample" not in attrs:
        raise StoreError(
            f"{patches}: coords lack patch_size or downsample, so the tiles have no size. Cut the"
            " patches again with CLAM."
        )
    downsample = float(np.ravel(attrs["downsample"])[0])
    size = (
        tuple(round(float(side) * downsample) for side in np.ravel(attrs["level_dim"]))
        if "level_dim" in attrs
        else None
    )
    return ForeignFeatures(
        xy_l0=array_of(content, path, "coords").astype(np.int64),
        tile_l0=round(int(attrs["patch_size"]) * downsample),
        tile_px=int(attrs["patch_size"]),
        features=array_of(content, path, "features"),
        encoder=encoder,
        size_l0=(size[0], size[1]) if size else None,
    )


def _coord_attrs(grid: TileGrid, target: Path) -> dict[str, Any]:
    return {
        "patch_size": grid.tile_l0,
        "patch_level": 0,
        "downsample": (1.0, 1.0),
        "downsampled_level_dim": grid.size_l0,
        "level_dim": grid.size_l0,
        "name": grid.slide_id,
        "save_path": str(target / "patches"),
    }
