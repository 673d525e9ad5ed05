"""CLAM: patches/SLIDE.h5 say where the tiles lie, h5_files/SLIDE.h5 what the encoder saw,
pt_files/SLIDE.pt the features alone.

CLAM's files of features name neither the encoder nor the size of a tile: the size comes from
patches/, which must be there, and the encoder is taken to be study.yaml's, which the import says.
Where h5_files/ were deleted, the features of pt_files/ lie in the order of patches/.

Of a tile, `patch_size` are the pixels that the encoder saw, `downsample` that of the level that
they were read from, and `custom_downsample`, where it stands, what they were shrunk by after that
(TRIDENT, IO.read_coords_legacy, reads it so).
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
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
from pathoml.interop._tensors import as_array, read_tensors
from pathoml.store.files import write_bytes
from pathoml.store.foreign import ForeignFile, read_foreign, write_foreign
from pathoml.types import Exchange, TileGrid


def import_into(study: Study, source: Path) -> Exchange:
    """Import h5_files/ with patches/ of the same slides, wherever they lie below `source`."""
    patches: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(source.rglob("patches/*.h5")):
        patches[path.stem].append(path)

    def convert(path: Path, _slide: KnownSlide) -> ForeignFeatures:
        return _convert(path, _patches_of(path, patches), study.config.encoder)

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
    """Yield the files of features: of h5_files/, and of pt_files/ what has none there."""
    in_h5: set[str] = set()
    for folder in _folders(source, "h5_files"):
        for path in sorted(folder.glob("*.h5")):
            in_h5.add(path.stem)
            yield path.stem, path
    for folder in _folders(source, "pt_files"):
        for path in sorted(folder.glob("*.pt")):
            if path.stem not in in_h5:
                yield path.stem, path


def _folders(source: Path, name: str) -> list[Path]:
    return [source] if source.name == name else sorted(p for p in source.rglob(name) if p.is_dir())


def _patches_of(path: Path, patches: Mapping[str, Sequence[Path]]) -> Path:
    """Return the file that says where the tiles of a file of features lie: of several, that with
    which it shares a folder.

    Raises:
        StoreError: there is none, or which it is cannot be told.
    """
    found = patches.get(path.stem, ())
    if not found:
        raise StoreError(
            f"{path}: no patches/{path.stem}.h5 below the folder, so the tiles have no size. Give"
            " the folder that holds both."
        )
    nearest = [p for p in found if p.parent.parent == path.parent.parent] or list(found)
    if len(nearest) > 1:
        raise StoreError(
            f"{path}: its tiles may lie where {' or '.join(map(str, nearest))} says. Give a folder"
            " that holds one of them."
        )
    return nearest[0]


def _convert(path: Path, patches: Path, encoder: str) -> ForeignFeatures:
    cut = read_foreign(patches)
    attrs = cut.attrs.get("coords", {})
    if "patch_size" not in attrs or "downsample" not in attrs:
        raise StoreError(
            f"{patches}: coords lack patch_size or downsample, so the tiles have no size. Cut the"
            " patches again with CLAM."
        )
    places = array_of(cut, patches, "coords")
    features, xy = _features(path, places, patches)
    of_level = float(np.ravel(attrs["downsample"])[0])
    downsample = of_level * float(np.ravel(attrs.get("custom_downsample", 1))[0])
    size = (
        tuple(round(float(side) * of_level) for side in np.ravel(attrs["level_dim"]))
        if "level_dim" in attrs
        else None
    )
    return ForeignFeatures(
        xy_l0=xy,
        tile_l0=round(int(attrs["patch_size"]) * downsample),
        tile_px=int(attrs["patch_size"]),
        features=features,
        encoder=encoder,
        size_l0=(size[0], size[1]) if size else None,
        said_name=str(attrs.get("name", attrs.get("wsi_name", ""))),
    )


def _features(
    path: Path, places: npt.NDArray[Any], patches: Path
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return features and places of tiles, which must be those of patches/."""
    if path.suffix == ".h5":
        content = read_foreign(path)
        features, xy = array_of(content, path, "features"), array_of(content, path, "coords")
        if not _among(xy, places):
            raise StoreError(
                f"{path}: its tiles lie elsewhere than {patches} says, so they were cut anew since"
                " and have no size. Extract the features again."
            )
        return features, xy
    content = read_tensors(path, "a tensor of features")
    if not isinstance(content, torch.Tensor):
        raise StoreError(f"{path} holds {type(content).__name__}, not a tensor of features.")
    features = as_array(content, path)
    tiles = features.shape[-2] if features.ndim > 1 else 0
    if tiles != places.shape[-2]:
        raise StoreError(
            f"{path} has features of {tiles} tiles, {patches} has {places.shape[-2]}: which lie"
            " where cannot be told. Extract them again, and keep h5_files/, which say it."
        )
    return features, places


def _among(xy: npt.NDArray[Any], places: npt.NDArray[Any]) -> bool:
    try:
        cut, used = (np.nan_to_num(p.reshape(-1, 2), nan=-1.0) for p in (places, xy))
    except ValueError:  # not pairs, which is told by its shape
        return True
    known = set(map(tuple, cut.tolist()))
    return all(place in known for place in map(tuple, used.tolist()))


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
