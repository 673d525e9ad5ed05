"""Tiles painted on a slide look the same wherever they are painted."""

from __future__ import annotations

import numpy as np

from pathoml.explanation.overlay import colour_tiles
from pathoml.slides.pictures import LOWERS, RAISES, paint_tiles
from pathoml.types import AttentionMap, Image
from pathoml.viewer.mini_map import draw_mini_map

WHITE: Image = np.full((8, 8, 3), 255, np.uint8)
CORNERS = np.array([[0, 0], [40, 0], [0, 40]])
MAP = AttentionMap(
    slide_id="S",
    patient_id="P",
    xy_l0=CORNERS,
    tile_l0=40,
    size_l0=(80, 80),
    level0_mpp=0.25,
    attention=np.full(3, 1 / 3, np.float32),
    contribution=np.array([0.5, -0.25, 0.0], np.float32),
    log_risk=0.25,
    bias=0.0,
    fold="1",
    score_type="oof",
)


def test_a_tile_looks_the_same_in_the_viewer_and_in_the_pictures_of_explain():
    stamp = draw_mini_map(WHITE, 10.0, MAP, bag_tiles=1, limit=0.5)
    picture = colour_tiles(WHITE, 10.0, MAP, fraction=np.array([1.0, -0.5, 0.0]))
    np.testing.assert_array_equal(stamp, picture)


def test_a_tile_is_painted_inside_its_borders_and_a_fraction_of_zero_leaves_the_tissue():
    hues = np.stack([RAISES, LOWERS, LOWERS])
    painted = paint_tiles(
        WHITE, 10.0, CORNERS, tile_l0=40, hues=hues, alphas=np.array([1.0, 1.0, 0.0])
    )
    assert (painted[:4, :4] == RAISES).all()
    assert (painted[:4, 4:] == LOWERS).all()
    assert (painted[4:] == 255).all()


def test_a_tile_smaller_than_a_pixel_is_still_seen():
    painted = paint_tiles(
        WHITE, 1000.0, np.array([[3000, 5000]]), tile_l0=40, hues=RAISES[None], alphas=np.ones(1)
    )
    assert (painted[5, 3] == RAISES).all()
    assert (painted != 255).any(axis=2).sum() == 1
