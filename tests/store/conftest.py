"""A grid of three tiles, and the files of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.stored import RECIPE, embed

from pathoml.store.tiles import write_tiles
from pathoml.types import TileGrid, TissueMask


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
