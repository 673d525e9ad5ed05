"""A fold is a long band that is denser than what lies on both its sides; dense tissue, strips of
tissue and seams are none.
"""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pathoml.tiling.tissue_folds import (
    GRID,
    PIXEL_UM,
    STEP,
    TAPS,
    TURNS,
    UNIT,
    edge_steps,
    evidence_along,
    fold_courses,
    fold_mask,
)

UM_PER_PX = 8.0
SIDE = 400  # pixels, 3.2 mm
LAYER = 0.15  # optical density of one layer of a section


@pytest.fixture
def section() -> np.ndarray:
    """Return (SIDE, SIDE) the density of one layer with the grain of tissue, glass around it."""
    grain = cv2.GaussianBlur(
        np.random.default_rng(0).normal(0, 1, (SIDE, SIDE)).astype(np.float32), (0, 0), 1.5
    )
    density = LAYER * (1 + grain)
    density[:20] = density[-20:] = density[:, :20] = density[:, -20:] = 0
    return np.maximum(density, 0).astype(np.float32)


def band(points: list[tuple[int, int]], width_um: float) -> np.ndarray:
    where = np.zeros((SIDE, SIDE), np.uint8)
    cv2.polylines(
        where, [np.array(points, np.int32)[:, None]], False, 1, round(width_um / UM_PER_PX)
    )
    return where.astype(bool)


BENT = [(60 + 2 * i, 200 + round(60 * np.sin(i / 45))) for i in range(140)]  # x, y


@pytest.mark.parametrize("width_um", [64, 112, 200])
def test_three_layers_along_a_bent_course_are_a_fold_where_they_lie(section, width_um):
    fold = band(BENT, width_um)
    section[fold] *= 3
    mask = fold_mask(section, UM_PER_PX)
    middle = band(BENT[5:-5], 24)
    assert mask[middle].mean() > 0.9
    assert not mask[~band(BENT, width_um + 400)].any()


def test_a_section_of_one_layer_has_no_fold(section):
    assert fold_courses(section, UM_PER_PX) == []


def test_one_edge_however_steep_is_no_fold():
    halves = np.full((SIDE, SIDE), LAYER, np.float32)
    halves[:200] *= 3
    assert fold_courses(halves, UM_PER_PX) == []


def test_a_dense_nest_is_no_fold(section):
    nest = np.hypot(*np.mgrid[-200:200, -200:200]) < 25  # 400 micrometres across
    section[nest] *= 3
    assert fold_courses(section, UM_PER_PX) == []


def test_a_strip_of_tissue_on_glass_is_no_fold():
    strip = np.where(band(BENT, 160), np.float32(0.3), np.float32(0))
    assert fold_courses(strip, UM_PER_PX) == []


def test_a_fold_is_followed_over_a_gap_of_a_third_of_a_millimetre(section):
    fold = band([(40, 200), (360, 200)], 120)
    fold[:, 180:220] = False  # 320 micrometres
    section[fold] *= 3
    assert fold_mask(section, UM_PER_PX)[200, 60:340].all()
    assert len(fold_courses(section, UM_PER_PX)) == 1


def test_a_fold_of_a_section_stained_three_times_paler_is_found_as_well(section):
    section[band(BENT, 120)] *= 3
    courses = [fold_courses(s, UM_PER_PX) for s in (section, section / 3)]
    assert [len(c) for c in courses] == [1, 1]


@pytest.mark.parametrize("um_per_px", [4.0, 8.0, 12.0])
def test_folds_are_found_at_any_scale_of_the_overview(section, um_per_px):
    section[band(BENT, 120)] *= 3
    resized = cv2.resize(
        section,
        None,
        fx=UM_PER_PX / um_per_px,
        fy=UM_PER_PX / um_per_px,
        interpolation=cv2.INTER_AREA,
    )
    [course] = fold_courses(resized, um_per_px)
    x, y = (course.xy * um_per_px / UM_PER_PX).T
    on_course = np.interp(x, [p[0] for p in BENT], [p[1] for p in BENT])
    assert np.median(np.abs(y - on_course)) < 32 / UM_PER_PX


def test_turning_the_slide_turns_its_folds(section):
    section[band(BENT, 120)] *= 3
    turned = fold_mask(np.ascontiguousarray(np.rot90(section)), UM_PER_PX)
    both, either = (
        op(np.rot90(fold_mask(section, UM_PER_PX)), turned).sum()
        for op in (np.logical_and, np.logical_or)
    )
    assert both / either > 0.7


def test_a_step_is_the_lesser_of_those_at_the_two_edges_of_a_band():
    density = np.full((64, 64), 0.1, np.float32)
    density[29:36] = 0.3  # 112 micrometres wide, along x, which is direction 0
    density[36:] = 0.2
    steps = edge_steps(density)
    assert steps.shape == (TURNS, 64 // GRID, 64 // GRID)
    assert PIXEL_UM * 7 == 112
    # 0.3 - 0.1 at one edge, 0.3 - 0.2 at the other, the lesser counts
    assert steps[0, 16, 16] / (UNIT * TAPS) == pytest.approx(0.1, abs=1 / UNIT)


STRAIGHT = np.array(
    [(16, 6 + 3 * i, 0) for i in range(20)]
)  # places from left to right, 96 micrometres apart


def test_evidence_is_density_over_the_threshold_times_the_length_of_the_course():
    density = np.full((64, 200), 0.1, np.float32)
    density[29:36] = 0.3  # 112 micrometres wide
    assert evidence_along(density, STRAIGHT) == pytest.approx(
        20 * 96 * (0.3 - 0.1 - STEP), rel=1e-5
    )


def test_a_band_whose_width_jumps_tells_less_than_a_steady_one():
    density = np.full((64, 200), 0.1, np.float32)
    for place, (_, x, _) in enumerate(STRAIGHT):
        half = 2 if place % 2 else 6  # 80 and 208 micrometres
        density[32 - half : 33 + half, GRID * x - 3 : GRID * x + 3] = 0.3
    # the best width sees every second place, the others cost STEP each
    assert evidence_along(density, STRAIGHT) < 0.6 * 20 * 96 * (0.3 - 0.1 - STEP)


def test_glass_alone_has_no_fold():
    assert not fold_mask(np.zeros((50, 70), np.float32), UM_PER_PX).any()
    assert not fold_mask(np.zeros((3, 1), np.float32), UM_PER_PX).any()
