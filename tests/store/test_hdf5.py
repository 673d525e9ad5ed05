"""What is on disk: verified when read, never torn, readable by others, closed to other files."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from pathoml.errors import StoreError
from pathoml.store import hdf5
from pathoml.store.embeddings import read_embeddings, write_embeddings
from pathoml.store.maps import read_attention, write_attention
from pathoml.store.provenance import recipe_sha256
from pathoml.store.tiles import read_tiles, write_tiles
from pathoml.types import AttentionMap, Recipe, TileGrid, TissueMask

RECIPE = Recipe(step="tile", inputs={"mpp": 0.5})


@pytest.fixture
def grid() -> TileGrid:
    return TileGrid(
        slide_id="B1",
        xy_l0=np.array([[0, 0], [887, 0], [0, 887]]),
        tile_l0=887,
        tile_px=224,
        mpp=1.0,
        level0_mpp=0.2525,
        size_l0=(4000, 3000),
        tissue_fraction=np.array([1.0, 0.5, 0.25], np.float32),
        flags=np.array([0, 1, 2], np.uint8),
        slide_sha256="ab",
    )


@pytest.fixture
def tiles_path(tmp_path, grid) -> Path:
    mask = TissueMask(
        slide_id="B1", mask=np.eye(6, 8, dtype=bool), downsample=32.0, method="m", flags={}
    )
    write_tiles(tmp_path / "B1.h5", grid, mask, recipe=RECIPE)
    return tmp_path / "B1.h5"


@pytest.fixture
def embeddings_path(tmp_path, grid) -> Path:
    return embed(tmp_path / "E1.h5", grid, np.arange(12, dtype=np.float16).reshape(3, 4))


def embed(path: Path, grid: TileGrid, features: np.ndarray) -> Path:
    write_embeddings(
        path, grid, features, encoder="uni", encoder_sha256="cd", precision="float32", recipe=RECIPE
    )
    return path


def test_tiles_read_back_as_they_were_written(tiles_path, grid):
    read, mask = read_tiles(tiles_path)
    for name, value in vars(grid).items():
        np.testing.assert_array_equal(getattr(read, name), value)
    assert (mask.mask == np.eye(6, 8, dtype=bool)).all()
    assert (mask.downsample, mask.method) == (32.0, "m")


def test_embeddings_read_back_as_they_were_written(embeddings_path):
    read = read_embeddings(embeddings_path)
    assert (read.features == np.arange(12).reshape(3, 4)).all()
    assert (read.slide_id, read.encoder, read.encoder_sha256, read.grid.slide_sha256) == (
        "B1",
        "uni",
        "cd",
        "ab",
    )
    assert (read.recipe_sha256, read.grid.tile_l0, read.grid.size_l0) == (
        recipe_sha256(RECIPE),
        887,
        (4000, 3000),
    )


def test_attention_reads_back_as_it_was_written(tmp_path):
    written = AttentionMap(
        slide_id="B1",
        patient_id="P1",
        xy_l0=np.array([[0, 0], [9, 0]]),
        tile_l0=9,
        size_l0=(20, 10),
        level0_mpp=0.25,
        attention=np.array([0.25, 0.75], np.float32),
        contribution=np.array([-1, 2], np.float32),
        log_risk=1.5,
        bias=0.5,
        fold="3;1",
        score_type="out-of-fold",
    )
    write_attention(tmp_path / "a.h5", written, RECIPE)
    for name, value in vars(read_attention(tmp_path / "a.h5")).items():
        np.testing.assert_array_equal(value, getattr(written, name))


def test_readers_of_tridents_layout_find_its_attributes(embeddings_path):
    with h5py.File(embeddings_path) as file:
        coords = dict(file["coords"].attrs)
        assert file["features"].shape == (3, 4)
        assert file["features"].attrs["encoder"] == "uni"
        assert file["coords"].dtype.kind == "i"
    assert coords == {
        "patch_size": 224,
        "patch_size_level0": 887,
        "level0_magnification": 40,
        "target_magnification": 10,
        "overlap": 0,
        "name": "B1",
        "level0_width": 4000,
        "level0_height": 3000,
    }


def test_arrays_are_contiguous_so_that_they_can_be_memory_mapped(embeddings_path):
    with h5py.File(embeddings_path) as file:
        offset, shape = file["features"].id.get_offset(), file["features"].shape
        assert file["features"].chunks is None
    mapped = np.memmap(embeddings_path, dtype=np.float16, mode="r", offset=offset, shape=shape)
    assert (mapped == np.arange(12).reshape(3, 4)).all()


def test_one_flipped_bit_in_an_array_is_detected(embeddings_path):
    with h5py.File(embeddings_path) as file:
        offset = file["features"].id.get_offset()
    content = bytearray(embeddings_path.read_bytes())
    content[offset + 5] ^= 1
    embeddings_path.write_bytes(content)
    with pytest.raises(StoreError, match="was changed after it was written"):
        read_embeddings(embeddings_path)


@pytest.mark.parametrize("keep", [0, 7, 600])
def test_a_torn_file_is_refused(embeddings_path, keep):
    embeddings_path.write_bytes(embeddings_path.read_bytes()[:keep])
    with pytest.raises(StoreError, match="torn or not HDF5"):
        read_embeddings(embeddings_path)


def test_a_missing_file_names_the_next_step(tmp_path):
    with pytest.raises(StoreError, match=r"is missing\. Run the step"):
        read_tiles(tmp_path / "nothing.h5")


def replace_features(path: Path, make) -> None:
    with h5py.File(path, "a") as file:
        del file["features"]
        make(file)


def test_a_link_to_another_file_is_refused(embeddings_path, tmp_path, grid):
    secret = embed(tmp_path / "secret.h5", grid, np.zeros((3, 4), np.float16))
    replace_features(
        embeddings_path,
        lambda file: file.__setitem__("features", h5py.ExternalLink(str(secret), "features")),
    )
    with pytest.raises(StoreError, match="links to other files are refused"):
        read_embeddings(embeddings_path)


def test_a_virtual_dataset_is_refused(embeddings_path, tmp_path, grid):
    secret = embed(tmp_path / "secret.h5", grid, np.zeros((3, 4), np.float16))
    layout = h5py.VirtualLayout((3, 4), np.float16)
    layout[:] = h5py.VirtualSource(secret, "features", (3, 4))
    replace_features(embeddings_path, lambda file: file.create_virtual_dataset("features", layout))
    with pytest.raises(StoreError, match="lies in another file"):
        read_embeddings(embeddings_path)


def test_an_array_stored_in_another_file_is_refused(embeddings_path):
    external = [("/etc/passwd", 0, 24)]
    replace_features(
        embeddings_path,
        lambda file: file.create_dataset("features", (3, 4), np.float16, external=external),
    )
    with pytest.raises(StoreError, match="lies in another file"):
        read_embeddings(embeddings_path)


@pytest.mark.parametrize("rows", [10**6, 10**12])
@pytest.mark.parametrize("chunks", [None, True])
def test_a_small_file_that_declares_a_huge_array_is_refused(embeddings_path, rows, chunks):
    replace_features(
        embeddings_path,
        lambda file: file.create_dataset("features", (rows, 1536), np.float16, chunks=chunks),
    )
    with pytest.raises(StoreError, match="more than the file holds"):
        read_embeddings(embeddings_path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused_with_slide_and_encoder(tmp_path, grid, value):
    features = np.zeros((3, 4), np.float16)
    features[1, 2] = value
    with pytest.raises(StoreError, match="B1: uni gave NaN"):
        embed(tmp_path / "x.h5", grid, features)
    assert not (tmp_path / "x.h5").exists()


def test_a_feature_too_many_is_refused(tmp_path, grid):
    with pytest.raises(StoreError, match="4 features for 3 tiles"):
        embed(tmp_path / "x.h5", grid, np.zeros((4, 4), np.float16))


def test_every_input_of_a_recipe_changes_its_hash():
    hashes = [
        recipe_sha256(r)
        for r in (RECIPE, replace(RECIPE, step="embed"), replace(RECIPE, inputs={"mpp": 1.0}))
    ]
    assert len(set(hashes)) == 3


def test_the_hash_of_arrays_sees_names_types_shapes_and_order():
    a = np.arange(6, dtype=np.int32)
    variants = [
        {"a": a},
        {"b": a},
        {"a": a.astype(np.uint32)},
        {"a": a.reshape(2, 3)},
        {"a": a[::-1]},
    ]
    assert len({hdf5.sha256_of_arrays(v) for v in variants}) == 5
    assert hdf5.sha256_of_arrays({"a": a[::-1]}) == hdf5.sha256_of_arrays({"a": a[::-1].copy()})


def test_a_stored_attribute_of_a_torn_or_absent_file_is_empty(tmp_path, embeddings_path):
    (tmp_path / "torn.h5").write_bytes(b"\x89HDF")
    assert hdf5.stored_attr(embeddings_path, "encoder_sha256") == "cd"
    assert [hdf5.stored_attr(tmp_path / n, "encoder_sha256") for n in ("torn.h5", "no.h5")] == [
        "",
        "",
    ]


def test_features_are_mapped_not_read_and_writing_to_them_leaves_the_file_alone(embeddings_path):
    features = read_embeddings(embeddings_path).features
    root = features
    while isinstance(root.base, np.ndarray):
        root = root.base
    assert isinstance(root, np.memmap)
    features[0, 0] = 9
    assert read_embeddings(embeddings_path).features[0, 0] == 0


def test_content_is_verified_when_a_file_is_first_opened_and_again_when_it_changed(
    embeddings_path, monkeypatch
):
    hashed = []
    real = hdf5.sha256_of_arrays
    monkeypatch.setattr(hdf5, "sha256_of_arrays", lambda arrays: hashed.append(1) or real(arrays))
    read_embeddings(embeddings_path)
    read_embeddings(embeddings_path)
    assert len(hashed) == 1
    os.utime(embeddings_path, ns=(1, 1))
    read_embeddings(embeddings_path)
    assert len(hashed) == 2
    hdf5.hdf5_guard.cache_clear()  # as in another process
    read_embeddings(embeddings_path)
    assert len(hashed) == 3


@pytest.mark.ci
def test_each_of_300_flipped_bits_is_found_or_changes_nothing_that_is_read(embeddings_path):
    rng, good = np.random.default_rng(1), embeddings_path.read_bytes()
    before = read_embeddings(embeddings_path)
    found = 0
    for number in range(300):
        place, bit = int(rng.integers(len(good))), int(rng.integers(8))
        bad = bytearray(good)
        bad[place] ^= 1 << bit
        embeddings_path.write_bytes(bad)
        os.utime(
            embeddings_path, ns=(number, number)
        )  # another file to the memory of verified ones
        try:
            after = read_embeddings(embeddings_path)
        except StoreError:
            found += 1
            continue
        for name, value in vars(before).items():  # a byte that HDF5 never reads
            np.testing.assert_array_equal(
                getattr(after, name), value, err_msg=f"byte {place}, bit {bit}"
            )
    assert found > 30
    embeddings_path.write_bytes(good)


def test_a_changed_scale_is_found_as_a_changed_array_is(embeddings_path):
    with h5py.File(embeddings_path, "r+") as file:
        file.attrs["mpp"] = 0.25
    with pytest.raises(StoreError, match="was changed after it was written"):
        read_embeddings(embeddings_path)
