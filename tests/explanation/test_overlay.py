"""The picture of a map lies where the tiles lie and is coloured as the numbers say."""

from __future__ import annotations

import numpy as np
import pytest
from support.small_maps import small_map

from pathoml.explanation.overlay import cohort_scale, draw_map, tile_colours
from pathoml.slides.pictures import LOWERS, RAISES
from pathoml.slides.readers.plain_image import PlainImageReader


def test_colours_are_orange_above_blue_below_and_white_at_zero() -> None:
    colours = tile_colours(np.array([1.0, -1.0, 0.0]))
    assert colours.tolist() == [RAISES.tolist(), LOWERS.tolist(), [255, 255, 255]]


def test_the_drawn_map_is_orange_on_the_tile_that_raises_the_risk_and_nowhere_else() -> None:
    reader = PlainImageReader(np.full((400, 400, 3), 180, np.uint8), (0.5, 0.5))
    scale = cohort_scale([np.array([0.9, -0.9, 0.0])])
    picture = draw_map(
        reader, small_map([0.3, 0.0, 0.0]), np.array([1.0, 0.0, 0.0]), scale=scale, percentile=50
    ).astype(int)
    redness = picture[:400, :400, 0] - picture[:400, :400, 2]
    assert redness[5:195, 5:195].min() > 60
    assert abs(redness[5:195, 205:395]).max() < 5
    assert abs(redness[205:395, 205:395]).max() < 5


def test_the_scale_is_one_for_the_cohort_so_that_a_low_risk_slide_stays_low() -> None:
    scale = cohort_scale([np.full(100, 0.1), np.full(100, 2.0)])
    assert scale.fraction(np.array([0.1]))[0] == pytest.approx(0.05)
