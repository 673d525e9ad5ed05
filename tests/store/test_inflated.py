"""A small file that would fill the memory, or lead a C library beside it, is refused."""

from __future__ import annotations

import time
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from pathoml.discovery.spots import read_spots
from pathoml.errors import EncoderError, PathomlError, StoreError
from pathoml.interop._tensors import as_array, read_tensors
from pathoml.interop.vectors import _npz
from pathoml.store.inflated import refuse_inflated

anndata = pytest.importorskip("anndata")


def spots(folder: Path, *, sparse: str = "csr") -> Path:
    import scipy.sparse

    values = np.arange(12.0).reshape(3, 4)
    matrix = getattr(scipy.sparse, f"{sparse}_matrix")(values)
    data = anndata.AnnData(X=matrix, obsm={"spatial": np.zeros((3, 2))})
    data.write_h5ad(folder / "spots.h5ad")
    return folder / "spots.h5ad"


DAMAGE = {
    "a place beyond the columns": ("indices", lambda a: a + 10**6),
    "a place before the first": ("indices", lambda a: a - 5),
    "a row that begins beyond the end": ("indptr", lambda a: a * 10**6),
    "rows that go back": ("indptr", lambda a: a[::-1].copy()),
    "a row too few": ("indptr", lambda a: a[:-1]),
    "fewer values than places": ("data", lambda a: a[:5]),
}


@pytest.mark.parametrize("sparse", ["csr", "csc"])
@pytest.mark.parametrize("name", DAMAGE)
def test_a_sparse_matrix_beyond_its_shape_is_refused_and_not_followed(tmp_path, name, sparse):
    path = spots(tmp_path, sparse=sparse)
    assert read_spots(path)[0].shape == (3, 4)
    part, change = DAMAGE[name]
    with h5py.File(path, "r+") as file:
        values = change(file["X"][part][()])
        del file["X"][part]
        file["X"].create_dataset(part, data=values)
    with pytest.raises(StoreError, match=r"spots\.h5ad.*beyond its shape"):
        read_spots(path)


def test_a_sparse_matrix_that_is_huge_without_its_zeros_too_is_refused(tmp_path):
    path = spots(tmp_path)
    with h5py.File(path, "r+") as file:
        file["X"].attrs["shape"] = [3, 10**12]
    with pytest.raises(StoreError, match="3 x 1000000000000"):
        read_spots(path)


def test_parts_in_other_files_and_arrays_of_nothing_are_refused(tmp_path):
    for name, change in (
        ("link", lambda file: file.__setitem__("X", h5py.ExternalLink("other.h5", "X"))),
        ("empty", lambda file: file.create_dataset("X", (10**6, 10**5), "f4", chunks=True)),
        ("packed", lambda file: file.create_dataset("X", data=np.zeros(10**8), compression=9)),
    ):
        path = spots(tmp_path)
        with h5py.File(path, "r+") as file:
            del file["X"]
            change(file)
        with pytest.raises(PathomlError, match=r"spots\.h5ad"):
            read_spots(path)
        assert name


def bomb(path: Path, *, names: tuple[str, ...]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            with archive.open(name, "w") as entry:
                for _ in range(400):
                    entry.write(bytes(2**20))
    return path


def test_a_small_zip_that_needs_gigabytes_is_refused_before_anything_is_unpacked(tmp_path):
    for end, read in ((".npz", _npz), (".pt", lambda p: read_tensors(p, "x"))):
        path = bomb(tmp_path / f"a{end}", names=("a.npy", "archive/data.pkl"))
        begun = time.process_time()
        with pytest.raises(StoreError, match=r"bytes of it unpack to 838860800"):
            read(path)
        assert time.process_time() - begun < 1


def test_weights_that_are_a_bomb_are_refused(tmp_path):
    from pathoml.embedding.network import read_weights

    with pytest.raises((StoreError, EncoderError), match="unpack to"):
        read_weights(bomb(tmp_path / "w.pth", names=("archive/data.pkl",)))


def test_a_tensor_that_repeats_one_value_is_not_written_out(tmp_path):
    torch.save(torch.zeros(1).expand(10**6, 10**6), tmp_path / "a.pt")
    with pytest.raises(StoreError, match="cannot be read as numbers"):
        as_array(read_tensors(tmp_path / "a.pt", "x"), tmp_path / "a.pt")


def test_plain_files_pass(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros((1000, 1000)))
    torch.save(torch.zeros(10**6), tmp_path / "a.pt")
    plain = [tmp_path / "a.npz", tmp_path / "a.pt", spots(tmp_path)]
    assert [refuse_inflated(path) for path in plain] == [None] * 3
