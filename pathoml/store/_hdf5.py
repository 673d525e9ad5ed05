"""The only module that knows the on-disk format of tiles, embeddings and attention: TRIDENT's HDF5 layout with hashes.

Arrays are contiguous, so that they can be memory-mapped, from a pack too (packs.py); `content_sha256` covers every array.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

import pathoml
from pathoml.errors import StoreError
from pathoml.store.files import atomic_path, sha256_of_json
from pathoml.store.packs import find_packed
from pathoml.store.probe import Probe
from pathoml.types import Assignments, AttentionMap, Embeddings, Recipe, TileGrid, TissueMask

MAX_ARRAY_BYTES = 64 * 2**30  # a larger declared array is an attack or an error, not a slide
MOST_PACKING = 100  # a compressed array of another tool may declare this many times its bytes; features shrink by a third at most
NOMINAL_MAGNIFICATIONS = (80.0, 40.0, 20.0, 10.0, 5.0, 2.5, 1.25)  # 10 / mpp rounds to the nearest of these on a log scale
HDF5_FAULTS = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, OverflowError, MemoryError)  # of a damaged file
AGAIN = "Delete it and rerun the step that writes it."
ATTRS_SHA256 = "attrs_sha256"


def recipe_sha256(recipe: Recipe) -> str:
    """Return the hash that makes a step stale when it changes."""
    return sha256_of_json({"step": recipe.step, **recipe.inputs})


def sha256_of_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    """Return the SHA-256 over named arrays: names, dtypes, shapes and bytes, in the order of names."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(array.tobytes() if array.ndim == 0 or not array.size else array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def write_tiles(path: Path, grid: TileGrid, mask: TissueMask, recipe: Recipe, *, about: Mapping[str, str] | None = None) -> None:
    """Write tiles/GRID/SLIDE.h5: coords, tissue_fraction, flags and the tissue mask.

    Args:
        about: what else quality.csv says of the slide, kept as attributes: scanner, mpp_source, haematoxylin, eosin.
    """
    arrays: dict[str, npt.NDArray[Any]] = {
        "coords": grid.xy_l0.astype(np.int64),
        "tissue_fraction": grid.tissue_fraction.astype(np.float32),
        "flags": grid.flags.astype(np.uint8),
        "mask": mask.mask.astype(np.uint8),
    }
    look = {"mask_downsample": mask.downsample, "mask_method": mask.method, **(about or {})}
    root = {**_root_attrs(grid, grid.slide_sha256, recipe), **look}
    _write_h5(path, arrays, root, {"coords": _coord_attrs(grid)})


def read_tiles(path: Path) -> tuple[TileGrid, TissueMask]:
    """Read tiles/GRID/SLIDE.h5 and verify its content.

    Raises:
        StoreError: torn, foreign, or changed since it was written.
    """
    with _whole(path):
        return _tiles_of(*_read_h5(path, ("coords", "tissue_fraction", "flags", "mask")))


def _tiles_of(arrays: dict[str, npt.NDArray[Any]], root: dict[str, Any], coord: dict[str, Any]) -> tuple[TileGrid, TissueMask]:
    grid = TileGrid(
        slide_id=str(coord["name"]),
        xy_l0=arrays["coords"],
        tile_l0=int(coord["patch_size_level0"]),
        tile_px=int(coord["patch_size"]),
        mpp=float(root["mpp"]),
        level0_mpp=float(root["level0_mpp"]),
        size_l0=(int(coord["level0_width"]), int(coord["level0_height"])),
        tissue_fraction=arrays["tissue_fraction"],
        flags=arrays["flags"],
        slide_sha256=str(root["slide_sha256"]),
    )
    mask = TissueMask(
        slide_id=grid.slide_id,
        mask=arrays["mask"].astype(bool),
        downsample=float(root["mask_downsample"]),
        method=str(root["mask_method"]),
        flags={},
    )
    return grid, mask


def write_embeddings(
    path: Path,
    grid: TileGrid,
    features: npt.NDArray[np.float16],
    *,
    encoder: str,
    encoder_sha256: str,
    precision: str,
    recipe: Recipe,
    imported_from: str = "",
    stain: str = "",
) -> None:
    """Write embeddings/ENCODING/SLIDE.h5.

    Args:
        grid: the N tiles that were embedded, in this order.
        features: (N, D) float16.
        precision: what the encoder computed in; recorded, but no reason to embed again on another machine.
        imported_from: the tool that made the features, if it was not pathoml.
        stain: what was done to the tiles' colours, if anything.

    Raises:
        StoreError: the features are not finite, or not one row a tile.
    """
    if features.shape[0] != grid.xy_l0.shape[0]:
        raise StoreError(f"{grid.slide_id}: {features.shape[0]} features for {grid.xy_l0.shape[0]} tiles.")
    if not np.isfinite(features).all():
        raise StoreError(f"{grid.slide_id}: {encoder} gave NaN or infinite features. Embed in fp32, or leave the slide out.")
    arrays: dict[str, npt.NDArray[Any]] = {"coords": grid.xy_l0.astype(np.int64), "features": features}
    root = {**_root_attrs(grid, grid.slide_sha256, recipe), "encoder_sha256": encoder_sha256, "precision": precision}
    root |= {name: value for name, value in (("imported_from", imported_from), ("stain", stain)) if value}
    _write_h5(path, arrays, root, {"coords": _coord_attrs(grid), "features": {"encoder": encoder, "name": grid.slide_id}})


def read_embeddings(path: Path) -> Embeddings:
    """Open embeddings/ENCODING/SLIDE.h5: features are mapped into memory, not read, once their content is verified.

    Raises:
        StoreError: torn, foreign, or changed since it was written.
    """
    with _whole(path):
        return _embeddings_of(path, *_read_h5(path, ("coords", "features"), mapped=("features",)))


def _embeddings_of(path: Path, arrays: dict[str, npt.NDArray[Any]], root: dict[str, Any], coord: dict[str, Any]) -> Embeddings:
    coords, features = arrays["coords"], arrays["features"]
    if features.ndim != 2 or coords.shape != (len(features), 2) or features.dtype != np.float16:
        raise StoreError(f"{path}: features {features.shape} {features.dtype}, coords {coords.shape}; expected (N, D) float16, (N, 2).")
    return Embeddings(
        slide_id=str(coord["name"]),
        xy_l0=coords,
        tile_l0=int(coord["patch_size_level0"]),
        size_l0=(int(coord["level0_width"]), int(coord["level0_height"])),
        mpp=float(root["mpp"]),
        level0_mpp=float(root["level0_mpp"]),
        tile_px=int(coord["patch_size"]),
        features=features,
        encoder=str(root["features.encoder"]),
        encoder_sha256=str(root["encoder_sha256"]),
        slide_sha256=str(root["slide_sha256"]),
        recipe_sha256=str(root["recipe_sha256"]),
        content_sha256=str(root["content_sha256"]),
    )


def write_attention(path: Path, tile_map: AttentionMap, recipe: Recipe) -> None:
    """Write attention/SLIDE.h5."""
    arrays: dict[str, npt.NDArray[Any]] = {
        "coords": tile_map.xy_l0.astype(np.int64),
        "attention": tile_map.attention.astype(np.float32),
        "contribution": tile_map.contribution.astype(np.float32),
    }
    if tile_map.spread is not None:
        arrays["spread"] = tile_map.spread.astype(np.float32)
    root = {
        "method": tile_map.method,
        "log_risk": tile_map.log_risk,
        "bias": tile_map.bias,
        "fold": tile_map.fold,
        "score_type": tile_map.score_type,
        "patient_id": tile_map.patient_id,
        "level0_mpp": tile_map.level0_mpp,
        "recipe_sha256": recipe_sha256(recipe),
        "pathoml_version": pathoml.__version__,
    }
    coord = {
        "name": tile_map.slide_id,
        "patch_size_level0": tile_map.tile_l0,
        "level0_width": tile_map.size_l0[0],
        "level0_height": tile_map.size_l0[1],
    }
    _write_h5(path, arrays, root, {"coords": coord})


def read_attention(path: Path) -> AttentionMap:
    """Read attention/SLIDE.h5 and verify its content.

    Raises:
        StoreError: torn, foreign, or changed since it was written.
    """
    with _whole(path):
        return _map_of(*_read_h5(path, ("coords", "attention", "contribution"), optional=("spread",)))


def _map_of(arrays: dict[str, npt.NDArray[Any]], root: dict[str, Any], coord: dict[str, Any]) -> AttentionMap:
    return AttentionMap(
        slide_id=str(coord["name"]),
        patient_id=str(root["patient_id"]),
        xy_l0=arrays["coords"],
        tile_l0=int(coord["patch_size_level0"]),
        size_l0=(int(coord["level0_width"]), int(coord["level0_height"])),
        level0_mpp=float(root["level0_mpp"]),
        attention=arrays["attention"],
        contribution=arrays["contribution"],
        log_risk=float(root["log_risk"]),
        bias=float(root["bias"]),
        fold=str(root["fold"]),
        score_type=str(root["score_type"]),
        spread=arrays.get("spread"),
        method=str(root.get("method", "exact")),
    )


def write_assignments(path: Path, assignments: Assignments) -> None:
    """Write features/assignments/SLIDE.h5: the phenotype of each tile, and its membership in every phenotype."""
    arrays: dict[str, npt.NDArray[Any]] = {
        "coords": assignments.xy_l0.astype(np.int64),
        "phenotype": assignments.phenotype.astype(np.int16),
    }
    if assignments.membership is not None:
        arrays["membership"] = assignments.membership.astype(np.float16)  # of cosines: the fourth decimal says nothing
    coord = {"name": assignments.slide_id, "patch_size_level0": assignments.tile_l0}
    _write_h5(path, arrays, {"pathoml_version": pathoml.__version__}, {"coords": coord})


def read_assignments(path: Path) -> Assignments:
    """Read features/assignments/SLIDE.h5 and verify its content.

    Raises:
        StoreError: torn, foreign, or changed since it was written.
    """
    with _whole(path):
        arrays, _, coord = _read_h5(path, ("coords", "phenotype"), optional=("membership",))
        return Assignments(
            slide_id=str(coord["name"]),
            xy_l0=arrays["coords"],
            tile_l0=int(coord["patch_size_level0"]),
            phenotype=arrays["phenotype"],
            membership=arrays.get("membership"),
        )


@dataclass(frozen=True, kw_only=True)
class ForeignFile:
    """An HDF5 file of another tool: what it holds, by name."""

    arrays: Mapping[str, npt.NDArray[Any]]
    root: Mapping[str, Any]  # attributes of the file
    attrs: Mapping[str, Mapping[str, Any]]  # attributes of each array


def refuse_deadly_hdf5(path: Path) -> None:
    """Raise StoreError if HDF5 hangs or aborts on a file; a child process walks through its groups and attributes first."""
    global _probe
    if _probe is None:
        _probe = Probe(walk_hdf5, HDF5_SECONDS)
    end, _ = _probe.ask(path)  # ordinary errors come again where the file is read
    if end != "answered":
        raise StoreError(f"{path} makes the HDF5 library {'hang' if end == 'hung' else 'abort'} (damaged or hostile). Copy it again.")


_probe: Probe | None = None  # one for all files of a process; the child ends with it
HDF5_SECONDS = 20.0


def walk_hdf5(path: Path) -> str | None:
    """Open every group and array of an HDF5 file and read their attributes; return the error, or None."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            dict(file.attrs)
            file.visititems(lambda _, node: dict(node.attrs) and None)
    except HDF5_FAULTS as error:
        return str(error)
    return None


def read_foreign(path: Path) -> ForeignFile:
    """Read every array at the root of another tool's HDF5 file.

    Raises:
        StoreError: torn, not HDF5, with links to other files, or with a shape that the file cannot fill.
    """
    refuse_deadly_hdf5(path)
    try:
        with h5py.File(path, "r", locking=False) as file:
            names = [
                name
                for name in file
                if not isinstance(file.get(name, getlink=True), h5py.HardLink) or file.get(name, getclass=True) is h5py.Dataset
            ]
            arrays = {name: _read_dataset(path, file, name, most_packing=MOST_PACKING) for name in names}
            return ForeignFile(arrays=arrays, root=dict(file.attrs), attrs={name: dict(file[name].attrs) for name in names})
    except HDF5_FAULTS as error:
        raise StoreError(f"{path} is torn or not HDF5. Copy it again, or let the tool that wrote it write it again.") from error


def write_foreign(path: Path, content: ForeignFile) -> None:
    """Write an HDF5 file in another tool's layout, atomically."""
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        for name, array in content.arrays.items():
            file.create_dataset(name, data=array)
            file[name].attrs.update(content.attrs.get(name, {}))
        file.attrs.update(content.root)


def stored_attr(path: Path, name: str) -> str:
    """Return one root attribute of a file as text, or "" if the file is absent, torn or lacks it."""
    return stored_attrs(path, (name,))[name]


def stored_attrs(path: Path, names: Sequence[str]) -> dict[str, str]:
    """Return root attributes of a file as text, each "" if the file is absent, torn or lacks it."""
    try:
        with _opened(path) as (file, _, _):
            return {name: str(file.attrs.get(name, "")) for name in names}
    except HDF5_FAULTS:
        return dict.fromkeys(names, "")


def _root_attrs(grid: TileGrid, slide_sha256: str, recipe: Recipe) -> dict[str, Any]:
    return {
        "mpp": grid.mpp,
        "level0_mpp": grid.level0_mpp,
        "tile_um": grid.tile_um,
        "slide_sha256": slide_sha256,
        "recipe_sha256": recipe_sha256(recipe),
        "pathoml_version": pathoml.__version__,
    }


def _coord_attrs(grid: TileGrid) -> dict[str, Any]:
    return {
        "patch_size": grid.tile_px,
        "patch_size_level0": grid.tile_l0,
        "level0_magnification": nominal_magnification(grid.level0_mpp),
        "target_magnification": nominal_magnification(grid.mpp),
        "overlap": 0,
        "name": grid.slide_id,
        "level0_width": grid.size_l0[0],
        "level0_height": grid.size_l0[1],
    }


def nominal_magnification(mpp: float) -> int | float:
    """Return the objective's power that a resolution goes by, for readers of TRIDENT's layout; pathoml itself never uses it.

    >>> nominal_magnification(0.2525), nominal_magnification(1.0)
    (40, 10)
    """
    power = min(NOMINAL_MAGNIFICATIONS, key=lambda m: abs(np.log2(m * mpp / 10)))
    return int(power) if power == int(power) else power


@contextmanager
def _opened(path: Path) -> Iterator[tuple[h5py.File, Path, int]]:
    """Yield the HDF5 file, the file on disk that holds it (itself, or a pack), and the byte at which it begins there."""
    packed = None if path.exists() else find_packed(path)
    if packed is None:
        with h5py.File(path, "r", locking=False) as file:
            yield file, path, 0
    else:
        with packed.open() as section, h5py.File(section, "r") as file:
            yield file, packed.pack, packed.offset


def _write_h5(path: Path, arrays: Mapping[str, npt.NDArray[Any]], root: Mapping[str, Any], attrs: Mapping[str, Mapping[str, Any]]) -> None:
    root = {**root, "content_sha256": sha256_of_arrays(arrays)}
    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array)
            file[name].attrs.update(attrs.get(name, {}))
        file.attrs.update({**root, ATTRS_SHA256: _sha256_of_attrs(root, {name: attrs.get(name, {}) for name in arrays})})


def _sha256_of_attrs(root: Mapping[str, Any], attrs: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the SHA-256 of every attribute of a file but itself: a scale is worth as much as an array."""
    plain = {k: v.item() if isinstance(v, np.generic) else v for k, v in root.items() if k != ATTRS_SHA256}
    return sha256_of_json([plain, {n: {k: v.item() if isinstance(v, np.generic) else v for k, v in a.items()} for n, a in attrs.items()}])


def _read_h5(
    path: Path, names: tuple[str, ...], optional: tuple[str, ...] = (), mapped: tuple[str, ...] = ()
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any], dict[str, Any]]:
    with _opened(path) as (file, holder, begins):
        arrays = {
            name: _read_dataset(holder, file, name, mapped=name in mapped, begins=begins)
            for name in (*names, *(o for o in optional if o in file))
        }
        root, attrs = dict(file.attrs), {name: dict(file[name].attrs) for name in file}
    stat = holder.stat()
    unchanged = _is_verified(arrays, str(root.get("content_sha256")), (str(path), stat.st_ino, stat.st_mtime_ns, stat.st_size, names))
    if not unchanged or root.get(ATTRS_SHA256, "") not in ("", _sha256_of_attrs(root, attrs)):  # older files have no hash of attributes
        raise StoreError(f"{path} was changed after it was written (its SHA-256 differs). {AGAIN}")
    root["features.encoder"] = attrs.get("features", {}).get("encoder", "")
    return arrays, root, attrs["coords"]


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Say what is wrong with a file of ours that cannot be read, or does not hold what it should."""
    try:
        yield
    except FileNotFoundError:
        raise StoreError(f"{path} is missing. Run the step that writes it, or `pathoml run`.") from None
    except HDF5_FAULTS as error:
        raise StoreError(f"{path} is torn or not HDF5 ({type(error).__name__}: {str(error)[:100]}). {AGAIN}") from error


_verified: set[tuple[object, ...]] = set()  # files of this process whose content was found to be what it says


def _is_verified(arrays: Mapping[str, npt.NDArray[Any]], content_sha256: str, identity: tuple[object, ...]) -> bool:
    """Return whether the arrays have the hash; a file that was verified and has not changed since is not read again for it."""
    key = (*identity, content_sha256)
    if key not in _verified:
        if content_sha256 != sha256_of_arrays(arrays):
            return False
        _verified.add(key)
    return True


def _read_dataset(path: Path, file: h5py.File, name: str, most_packing: int = 1, mapped: bool = False, begins: int = 0) -> npt.NDArray[Any]:
    link = file.get(name, getlink=True)
    if not isinstance(link, h5py.HardLink) or not isinstance(file[name], h5py.Dataset):
        raise StoreError(f"{path} has no array {name!r} of its own; links to other files are refused. Write it again as one file.")
    dataset = file[name]
    if dataset.is_virtual or dataset.external:
        raise StoreError(f"{path}: array {name!r} lies in another file, which is refused.")
    declared = dataset.size * dataset.dtype.itemsize
    if declared > min(MAX_ARRAY_BYTES, most_packing * dataset.id.get_storage_size()):
        raise StoreError(f"{path}: array {name!r} declares {dataset.size} values, more than the file holds or any slide has.")
    offset = dataset.id.get_offset()
    if mapped and offset is not None and dataset.chunks is None and dataset.size and dataset.dtype.isnative:
        return np.asarray(np.memmap(path, dataset.dtype, "c", begins + offset, dataset.shape))  # copy-on-write: the file cannot be changed
    return np.asarray(dataset[()])
