"""Files of other tools that are small on disk and would fill the memory, or that lead beyond
themselves: found out from what they say of their parts, before a value is read.

Source: the on-disk format of anndata for sparse matrices; scipy.sparse, check_format.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import h5py
import numpy as np

from pathoml.errors import StoreError
from pathoml.store.foreign import MOST_PACKING
from pathoml.store.hdf5 import HDF5_FAULTS, MAX_ARRAY_BYTES, open_h5
from pathoml.store.refusals import raise_refusal

HARMLESS_BYTES = 2**28  # whatever the packing
DEEPEST_GROUP = 20
SPARSE = ("csr_matrix", "csc_matrix")
MOST_DENSE = 2**31  # values of a sparse matrix with its zeros: 60,000 spots by 36,000 genes


def refuse_inflated(path: Path) -> None:
    """Raise StoreError if a zip (.npz, .pt) or an HDF5 file (.h5ad) would take memory out of all
    proportion to its size on disk, if a part of it lies in another file, or if a sparse matrix
    reaches beyond its shape, where SciPy would write beside its memory.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                unpacked = sum(part.file_size for part in archive.infolist())
            _refuse_packing(unpacked, path.stat().st_size)
        else:
            with open_h5(path) as file:
                _refuse_group(file)
    except (zipfile.BadZipFile, NotImplementedError, *HDF5_FAULTS) as error:
        raise_refusal(error, path)
        raise StoreError(
            f"{path} cannot be read ({str(error)[:120]}). Write it again, or copy it again."
        ) from error


def _refuse_packing(unpacked: int, on_disk: int) -> None:
    if unpacked > min(MAX_ARRAY_BYTES, max(HARMLESS_BYTES, MOST_PACKING * on_disk)):
        raise ValueError(f"{on_disk} bytes of it unpack to {unpacked}")


def _refuse_group(group: h5py.Group, depth: int = 0) -> None:
    if depth > DEEPEST_GROUP:
        raise ValueError("groups within groups without end")
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{name} is a link to another place")
        node = group[name]
        if isinstance(node, h5py.Group):
            _refuse_group(node, depth + 1)
        elif isinstance(node, h5py.Dataset):
            if node.is_virtual or node.external:
                raise ValueError(f"{name} lies in another file")
            _refuse_packing((node.size or 0) * node.dtype.itemsize, node.id.get_storage_size())
    if str(group.attrs.get("encoding-type", "")) in SPARSE:
        _refuse_sparse(group)


def _refuse_sparse(group: h5py.Group) -> None:
    rows, columns = (int(side) for side in group.attrs["shape"])
    if str(group.attrs["encoding-type"]) == "csc_matrix":
        rows, columns = columns, rows
    if rows < 0 or columns < 0 or rows * columns > MOST_DENSE:
        raise ValueError(f"its matrix has {rows} x {columns} values")
    starts, places, held = group["indptr"][()], group["indices"][()], len(group["data"])
    if (
        starts.shape != (rows + 1,)
        or places.shape != (held,)
        or (int(starts[0]), int(starts[-1])) != (0, held)
        or (np.diff(starts.astype(np.int64)) < 0).any()
        or (held and (int(places.min()) < 0 or int(places.max()) >= columns))
    ):
        raise ValueError("its sparse matrix reaches beyond its shape")
