"""Tiles are read back as they were written."""

from __future__ import annotations

import numpy as np
import pytest

from pathoml.errors import StoreError
from pathoml.store.tiles import read_tiles


def test_tiles_read_back_as_they_were_written(tiles_path, grid):
    read, mask = read_tiles(tiles_path)
    for name, value in vars(grid).items():
        np.testing.assert_array_equal(getattr(read, name), value)
    assert (mask.mask == np.eye(6, 8, dtype=bool)).all()
    assert (mask.downsample, mask.method) == (32.0, "m")


def test_a_missing_file_names_the_next_step(tmp_path):
    with pytest.raises(StoreError, match=r"is missing\. Run the step"):
        read_tiles(tmp_path / "nothing.h5")
