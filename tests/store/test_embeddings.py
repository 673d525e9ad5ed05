"""Embeddings are read back as they were written, mapped, in a layout that others read."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from support.stored import RECIPE, embed, file_behind

from pathoml.errors import StoreError
from pathoml.store.embeddings import read_embeddings
from pathoml.store.provenance import recipe_sha256


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


def test_features_are_mapped_not_read_and_writing_to_them_leaves_the_file_alone(embeddings_path):
    features = read_embeddings(embeddings_path).features
    assert file_behind(features) == str(embeddings_path)
    features[0, 0] = 9
    assert read_embeddings(embeddings_path).features[0, 0] == 0
