"""Levels that are padded to whole tiles lie where level 0 says."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from pathoml.slides.readers._levels import true_downsamples
from pathoml.slides.reading import open_slide

TILE = 64


def write_padded(path: Path, picture: np.ndarray, factors, *, compression: str) -> None:
    """Write a pyramid whose levels are filled up with glass to whole tiles."""
    with tifffile.TiffWriter(path) as file:
        for factor in factors:
            size = (picture.shape[1] // factor, picture.shape[0] // factor)
            level = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
            filled = [(0, -side % TILE) for side in level.shape[:2]]
            file.write(
                np.pad(level, [*filled, (0, 0)], constant_values=243),
                tile=(TILE, TILE),
                photometric="rgb",
                compression=compression,
                metadata=None,
                subfiletype=int(factor > 1),
            )


@pytest.mark.parametrize("compression", ["jpeg", "zlib"])  # the fast reader, and OpenSlide's pixels
@pytest.mark.parametrize("shape", [(13 * TILE, 21 * TILE), (15 * TILE, 15 * TILE)])
def test_a_dot_is_at_its_place_on_every_padded_level(tmp_path, compression, shape):
    picture = np.full((*shape, 3), 243, np.uint8)
    y, x = shape[0] - 160, shape[1] - 96
    picture[y - 48 : y + 48, x - 48 : x + 48] = (120, 60, 120)
    write_padded(tmp_path / "a.tif", picture, (1, 2, 4, 8), compression=compression)
    with open_slide(tmp_path / "a.tif") as reader:
        for level, downsample in enumerate(reader.level_downsamples):
            corner = (x - 96, y - 96)
            side = round(192 / downsample)
            seen = reader.read_region(corner, level, (side, side))[:, :, 1] < 150
            middle = np.argwhere(seen).mean(axis=0) + 0.5
            assert np.abs(middle * downsample - 96).max() <= downsample


def test_padding_to_whole_tiles_is_told_from_another_downsample():
    tiles = [(256, 256)] * 3
    padded = [(104 * 256, 56 * 256), (13 * 256, 7 * 256), (4 * 256, 2 * 256)]
    assert true_downsamples(padded, tiles=tiles, stated=[None] * 3) == (1.0, 8.0, 32.0)
    other = [(10_000, 8000), (2564, 2051), (1000, 800)]  # 3.9 and 10, as some scanners have
    found = true_downsamples(other, tiles=tiles, stated=[None] * 3)
    assert found == pytest.approx((1.0, 3.9, 10.0), rel=1e-3)


def test_a_pages_own_scale_wins_over_what_its_size_suggests():
    sizes = [(26_624, 14_336), (1024, 512)]
    stated = [(1.0, 1.0), (32.0, 32.0)]
    assert true_downsamples(sizes, tiles=[(512, 512)] * 2, stated=stated)[1] == 32.0


def test_a_level_that_nothing_explains_is_not_used():
    sizes = [(10_000, 8000), (2500, 1300)]
    assert true_downsamples(sizes, tiles=[(240, 240)] * 2, stated=[None] * 2) == (1.0, None)
