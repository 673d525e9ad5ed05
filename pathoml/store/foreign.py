"""HDF5 files of other tools: read with bounds, after a child process has shown that they neither
hang nor abort the library.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from pathoml.errors import StoreError
from pathoml.store.hdf5 import HDF5_FAULTS, open_h5, read_dataset, written_h5
from pathoml.store.probe import Probe
from pathoml.store.refusals import raise_refusal

# a compressed array of another tool may declare this many times its bytes; features shrink by a
# third at most
MOST_PACKING = 100
HDF5_SECONDS = 20.0
# what torch.load raises of a file that holds no plain tensors, or holds code
TORCH_FAULTS = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    KeyError,
    IndexError,
    AttributeError,
    TypeError,
)


@dataclass(frozen=True, kw_only=True)
class ForeignFile:
    """An HDF5 file of another tool: what it holds, by name."""

    arrays: Mapping[str, npt.NDArray[Any]]
    root: Mapping[str, Any]  # attributes of the file
    attrs: Mapping[str, Mapping[str, Any]]  # attributes of each array


@cache
def hdf5_probe() -> Probe:
    """Return the child process that opens files first, one for all files of this process; it ends
    with it.
    """
    return Probe(walk_hdf5, HDF5_SECONDS)


def refuse_deadly_hdf5(path: Path) -> None:
    """Raise StoreError if HDF5 hangs or aborts on a file; a child process walks through its groups
    and attributes first.
    """
    end, _ = hdf5_probe().ask(path)  # ordinary errors come again where the file is read
    if end != "answered":
        raise StoreError(
            f"{path} makes the HDF5 library {'hang' if end == 'hung' else 'abort'} (damaged or"
            " hostile). Copy it again."
        )


def walk_hdf5(path: Path) -> str | None:
    """Open every group and array of an HDF5 file and read their attributes; return the error, or
    None.
    """
    try:
        with open_h5(path) as file:
            dict(file.attrs)
            file.visititems(lambda _, node: dict(node.attrs) and None)
    except HDF5_FAULTS as error:
        return str(error)
    return None


def is_whole_hdf5(path: Path) -> None:
    """Walk through a file that was just written; raise an error if it ends too early."""
    if (fault := walk_hdf5(path)) is not None:
        raise ValueError(fault)


def read_foreign(path: Path) -> ForeignFile:
    """Read every array at the root of another tool's HDF5 file.

    Raises:
        StoreError: torn, not HDF5, with links to other files, or with a shape that the file cannot
            fill.
    """
    refuse_deadly_hdf5(path)
    try:
        with open_h5(path) as file:
            names = [
                name
                for name in file
                if not isinstance(file.get(name, getlink=True), h5py.HardLink)
                or file.get(name, getclass=True) is h5py.Dataset
            ]
            arrays = {
                name: read_dataset(path, file, name, most_packing=MOST_PACKING) for name in names
            }
            return ForeignFile(
                arrays=arrays,
                root=_as_text(file.attrs),
                attrs={name: _as_text(file[name].attrs) for name in names},
            )
    except HDF5_FAULTS as error:
        raise_refusal(error, path)
        raise StoreError(
            f"{path} is torn or not HDF5. Copy it again, or let the tool that wrote it write it"
            " again."
        ) from error


def _as_text(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes with bytes as text, as tools of other languages write names."""
    found = {}
    for name, value in attrs.items():
        if isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind in "SOU":
            value = value.item()
        found[name] = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return found


def write_foreign(path: Path, content: ForeignFile) -> None:
    """Write an HDF5 file in another tool's layout, atomically."""
    with written_h5(path, content.arrays) as file:
        for name, array in content.arrays.items():
            file.create_dataset(name, data=array)
            file[name].attrs.update(content.attrs.get(name, {}))
        file.attrs.update(content.root)
