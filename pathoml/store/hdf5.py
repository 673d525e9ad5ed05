"""HDF5 as the store writes it: named arrays with hashes, contiguous so that they can be
memory-mapped, from a pack too (packs.py).

`content_sha256` covers every array and is verified when a file is first opened; the room's other
files know what the arrays mean.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from pathoml.errors import StoreError
from pathoml.store.files import proved_path, sha256_of_json
from pathoml.store.mapping import map_array
from pathoml.store.packs import find_packed
from pathoml.store.refusals import raise_refusal

MAX_ARRAY_BYTES = 64 * 2**30  # a larger declared array is an attack or an error, not a slide
HDF5_FAULTS = (
    OSError,
    RuntimeError,
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    OverflowError,
    MemoryError,
)  # of a damaged file
INTERRUPTIONS = 20  # of one call, before it is given up
AGAIN = "Delete it and rerun the step that writes it."
ATTRS_SHA256 = "attrs_sha256"


def sha256_of_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    """Return the SHA-256 over named arrays: names, dtypes, shapes, bytes, in order of names."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(
            array.tobytes()
            if array.ndim == 0 or not array.size
            else array.reshape(-1).view(np.uint8).data
        )
    return digest.hexdigest()


def stored_attr(path: Path, name: str) -> str:
    """Return a root attribute of a file as text, or "" if the file is absent, torn or lacks it."""
    return stored_attrs(path, (name,))[name]


def stored_attrs(path: Path, names: Sequence[str]) -> dict[str, str]:
    """Return root attributes of a file as text, each "" if the file is absent, torn or lacks it.

    Raises:
        StoreError: the machine does not let it be read now, which says nothing of the file.
    """
    try:
        with opened(path) as (file, _, _):
            return {name: _text(file.attrs.get(name, "")) for name in names}
    except HDF5_FAULTS as error:
        raise_refusal(error, path)
        return dict.fromkeys(names, "")


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def open_h5(path: Path) -> h5py.File:
    """Open an HDF5 file to read; where the system was interrupted while it did, again, as HDF5 does
    for every other call.
    """
    for _ in range(INTERRUPTIONS):
        with suppress(InterruptedError):
            return h5py.File(path, "r", locking=False)
    return h5py.File(path, "r", locking=False)


@contextmanager
def opened(path: Path) -> Iterator[tuple[h5py.File, Path, int]]:
    """Yield the HDF5 file, the file on disk that holds it (itself, or a pack), and the byte at
    which it begins there.
    """
    packed = None if path.exists() else find_packed(path)
    if packed is None:
        with open_h5(path) as file:
            yield file, path, 0
    else:
        with packed.open() as section, h5py.File(section, "r") as file:
            yield file, packed.pack, packed.offset


def write_h5(
    path: Path,
    arrays: Mapping[str, npt.NDArray[Any]],
    root: Mapping[str, Any],
    *,
    attrs: Mapping[str, Mapping[str, Any]],
) -> None:
    root = {**root, "content_sha256": sha256_of_arrays(arrays)}
    with written_h5(path, arrays) as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array)
            file[name].attrs.update(attrs.get(name, {}))
        file.attrs.update(
            {
                **root,
                ATTRS_SHA256: _sha256_of_attrs(
                    root, {name: attrs.get(name, {}) for name in arrays}
                ),
            }
        )


@contextmanager
def written_h5(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> Iterator[h5py.File]:
    """Yield an HDF5 file to fill with arrays and attributes; it is made in memory and then written
    as a whole, for HDF5 on a full disk tells of it late, to nobody, or not at all.
    """
    made = io.BytesIO()
    with h5py.File(made, "w") as file:
        yield file
    with proved_path(path, lambda temporary: refuse_torn(temporary, arrays)) as temporary:
        temporary.write_bytes(made.getbuffer())


def refuse_torn(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Raise an error if a file that was just written ends too early, or lacks one of the arrays."""
    with open_h5(path) as file:  # refuses one that ends too early
        for name, array in arrays.items():
            if file[name].shape != np.shape(array):
                raise ValueError(f"the array {name!r} is not whole")


def _sha256_of_attrs(root: Mapping[str, Any], attrs: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the SHA-256 of every attribute of a file but itself: a scale is worth as much as an
    array.
    """
    plain = {
        k: v.item() if isinstance(v, np.generic) else v
        for k, v in root.items()
        if k != ATTRS_SHA256
    }
    return sha256_of_json(
        [
            plain,
            {
                n: {k: v.item() if isinstance(v, np.generic) else v for k, v in a.items()}
                for n, a in attrs.items()
            },
        ]
    )


def read_h5(
    path: Path,
    names: tuple[str, ...],
    optional: tuple[str, ...] = (),
    *,
    mapped: tuple[str, ...] = (),
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any], dict[str, Any]]:
    with opened(path) as (file, holder, begins):
        arrays = {
            name: read_dataset(holder, file, name, mapped=name in mapped, begins=begins)
            for name in (*names, *(o for o in optional if o in file))
        }
        root, attrs = dict(file.attrs), {name: dict(file[name].attrs) for name in file}
    stat = holder.stat()
    unchanged = hdf5_guard().is_verified(
        arrays,
        str(root.get("content_sha256")),
        (str(path), stat.st_ino, stat.st_mtime_ns, stat.st_size, names),
    )
    if not unchanged or root.get(ATTRS_SHA256, "") not in (
        "",
        _sha256_of_attrs(root, attrs),
    ):  # older files have no hash of attributes
        raise StoreError(f"{path} was changed after it was written (its SHA-256 differs). {AGAIN}")
    root["features.encoder"] = attrs.get("features", {}).get("encoder", "")
    return arrays, root, attrs["coords"]


@contextmanager
def whole(path: Path) -> Iterator[None]:
    """Say what is wrong with a file of ours that cannot be read or lacks what it should hold."""
    try:
        yield
    except FileNotFoundError:
        raise StoreError(
            f"{path} is missing. Run the step that writes it, or `pathoml run`."
        ) from None
    except HDF5_FAULTS as error:
        raise_refusal(error, path)
        raise StoreError(
            f"{path} is torn or not HDF5 ({type(error).__name__}: {str(error)[:100]}). {AGAIN}"
        ) from error


class Hdf5Guard:
    """Files whose content was found to be what they say."""

    def __init__(self) -> None:
        self._verified: set[tuple[object, ...]] = set()

    def is_verified(
        self,
        arrays: Mapping[str, npt.NDArray[Any]],
        content_sha256: str,
        identity: tuple[object, ...],
    ) -> bool:
        """Return whether the arrays have the hash; a file that was verified and has not changed
        since is not read again for it.
        """
        key = (*identity, content_sha256)
        if key not in self._verified:
            if content_sha256 != sha256_of_arrays(arrays):
                return False
            self._verified.add(key)
        return True


@cache
def hdf5_guard() -> Hdf5Guard:
    """Return the guard of this process; `hdf5_guard.cache_clear()` makes it forget."""
    return Hdf5Guard()


def read_dataset(
    path: Path,
    file: h5py.File,
    name: str,
    *,
    most_packing: int = 1,
    mapped: bool = False,
    begins: int = 0,
) -> npt.NDArray[Any]:
    link = file.get(name, getlink=True)
    if not isinstance(link, h5py.HardLink) or not isinstance(file[name], h5py.Dataset):
        raise StoreError(
            f"{path} has no array {name!r} of its own; links to other files are refused. Write it"
            " again as one file."
        )
    dataset = file[name]
    if dataset.is_virtual or dataset.external:
        raise StoreError(f"{path}: array {name!r} lies in another file, which is refused.")
    declared = dataset.size * dataset.dtype.itemsize
    if declared > min(MAX_ARRAY_BYTES, most_packing * dataset.id.get_storage_size()):
        raise StoreError(
            f"{path}: array {name!r} declares {dataset.size} values, more than the file holds or"
            " any slide has."
        )
    offset = dataset.id.get_offset()
    if (
        mapped
        and offset is not None
        and dataset.chunks is None
        and dataset.size
        and dataset.dtype.isnative
    ):
        return map_array(path, dataset.dtype, begins=begins + offset, shape=dataset.shape)
    return np.asarray(dataset[()])
