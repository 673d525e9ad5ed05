"""Pictures and exports of a map lie where the tiles lie and say what the numbers say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from shapely.geometry import shape

from pathoml.explanation.overlay import cohort_scale, draw_map, tile_colours
from pathoml.slides.pictures import LOWERS, RAISES
from pathoml.slides.readers.plain_image import PlainImageReader
from pathoml.store.geojson import tile_collection, write_geojson
from pathoml.synthetic.truth import class_shares, map_agreement, roc_auc
from pathoml.types import AttentionMap


def small_map(contribution: list[float]) -> AttentionMap:
    return AttentionMap(
        slide_id="S1",
        patient_id="P1",
        xy_l0=np.array([[0, 0], [200, 0], [0, 200]]),
        tile_l0=200,
        size_l0=(400, 400),
        level0_mpp=0.5,
        attention=np.full(3, 1 / 3),
        contribution=np.array(contribution),
        log_risk=sum(contribution),
        bias=0.0,
        fold="1",
        score_type="oof",
    )


def test_geojson_has_one_square_a_tile_with_the_bounds_subtracted(tmp_path: Path) -> None:
    tile_map = small_map([0.3, -0.2, 0.0])
    colours = tile_colours(np.array([1.0, -1.0, 0.0]))
    write_geojson(
        tmp_path / "s.geojson", tile_collection(tile_map, (50, 30), colours, mark="", class_mark="")
    )
    features = json.loads((tmp_path / "s.geojson").read_text())["features"]
    assert [shape(f["geometry"]).bounds for f in features] == [
        (-50, -30, 150, 170),
        (150, -30, 350, 170),
        (-50, 170, 150, 370),
    ]
    assert [f["properties"]["classification"]["name"] for f in features] == [
        "raises risk",
        "lowers risk",
        "lowers risk",
    ]
    assert features[0]["properties"]["measurements"]["contribution"] == 0.3
    assert len({f["id"] for f in features}) == 3


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


def test_roc_auc_counts_ties_a_half() -> None:
    assert roc_auc(np.array([True, True, False, False]), np.array([2.0, 1.0, 1.0, 0.0])) == 0.875


def test_class_shares_are_those_of_the_cells_under_the_tile() -> None:
    classes = np.array([[1, 1], [2, 0]], np.uint8)
    assert class_shares(classes, 10.0, np.array([[0, 0]]), tile_l0=20, n_classes=2).tolist() == [
        [0.25, 0.5, 0.25]
    ]


def test_a_map_that_marks_the_driver_has_an_area_of_one_and_its_opposite_zero(
    tmp_path: Path,
) -> None:
    np.savez(tmp_path / "S1.npz", classes=np.array([[2, 1], [1, 1]], np.uint8), cell_l0=200)
    for sign, area in ((1, 1.0), (-1, 0.0)):
        agreement = map_agreement(
            [small_map([0.5 * sign, 0.1 * sign, 0.0])], tmp_path, driver=2, n_classes=2
        )
        assert (agreement.contribution, agreement.tiles) == (area, 3)
