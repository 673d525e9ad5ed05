"""tiles/GRID/SLIDE.h5, and grids of which nobody measured the tissue."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pathoml.store.tiles import flags_at, kept_tiles, some_tiles, write_tiles
from pathoml.types import Recipe, TileGrid, TissueMask

UNMEASURED = TileGrid(
    slide_id="S",
    xy_l0=np.array([[0, 0], [448, 0], [0, 448]]),
    tile_l0=448,
    tile_px=224,
    mpp=0.5,
    level0_mpp=0.25,
    size_l0=(900, 900),
    slide_sha256="ab",
)
MASK = TissueMask(
    slide_id="S", mask=np.ones((2, 2), bool), downsample=448.0, method="none", flags={}
)


def test_what_nobody_measured_is_stored_as_full_of_tissue_and_unflagged(tmp_path):
    measured = replace(
        UNMEASURED, tissue_fraction=np.ones(3, np.float32), flags=np.zeros(3, np.uint8)
    )
    recipe = Recipe(step="test", inputs={})
    for name, grid in (("unmeasured", UNMEASURED), ("measured", measured)):
        write_tiles(tmp_path / name, grid, MASK, recipe=recipe)
    assert (tmp_path / "unmeasured").read_bytes() == (tmp_path / "measured").read_bytes()


def test_tiles_of_an_unmeasured_grid_are_chosen_like_others():
    some = some_tiles(UNMEASURED, np.array([True, False, True]))
    assert some.xy_l0.tolist() == [[0, 0], [0, 448]]
    assert (some.tissue_fraction, some.flags) == (None, None)
    assert len(kept_tiles(UNMEASURED, ("pen",)).xy_l0) == 3
    assert flags_at(UNMEASURED, UNMEASURED.xy_l0).tolist() == [0, 0, 0]
