"""Areas that people drew decide which tiles count: rasterised as shapely measures them, holes
included.
"""

from __future__ import annotations

import json
import time
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
import shapely
from shapely.geometry import box, shape

from pathoml.config import TilesConfig
from pathoml.errors import SlideError
from pathoml.store.tiles import kept_tiles, read_tiles
from pathoml.tiling.jobs import TileJob, stale_jobs
from pathoml.tiling.regions import Region, excluded_mask, read_regions
from pathoml.tiling.step import tile_one
from pathoml.types import FLAGS, Slide

SQUARE = [[0, 0], [1024, 0], [1024, 1024], [0, 1024], [0, 0]]
HOLE = [[256, 256], [512, 256], [512, 512], [256, 512], [256, 256]]
REGION_BIT = 1 << FLAGS.index("excluded_region")


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def feature(rings: list, name: str = "Tumor") -> dict:
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": rings},
        "properties": {"classification": {"name": name}},
    }


@pytest.mark.parametrize(
    "name", ["histoqc_holed", "large_image_sample", "qupath_bare_multipolygon"]
)
def test_areas_of_real_files_are_those_of_shapely(shared_data: Path, name: str) -> None:
    path = shared_data / "annotations" / f"{name}.geojson"
    content = json.loads(path.read_text())
    parts = content["features"] if content["type"] == "FeatureCollection" else [content]
    geometry = shapely.union_all(
        [shapely.make_valid(shapely.force_2d(shape(part.get("geometry", part)))) for part in parts]
    )
    left, top, right, bottom = geometry.bounds
    downsample = max(right - left, bottom - top) / 1500
    size = int((bottom - top) / downsample) + 8, int((right - left) / downsample) + 8
    drawn = ~excluded_mask(read_regions(path), size, downsample, offset_l0=(-int(left), -int(top)))
    a_pixel_of_outline = downsample * geometry.length  # the pixels on an outline belong to the area
    assert drawn.sum() * downsample**2 == pytest.approx(geometry.area, abs=a_pixel_of_outline)


@pytest.fixture
def job(tmp_path, write_slide):
    path = write_slide(
        tmp_path / "S.tif", np.full((2048, 2048, 3), (190, 90, 150), np.uint8), mpp=0.5
    )

    def make(content: object | None) -> TileJob:
        regions = None if content is None else write(tmp_path / "regions" / "S.geojson", content)
        slide = Slide(slide_id="S", patient_id="P", path=path)
        return TileJob(
            slide=slide,
            study_mpp=None,
            tile_px=256,
            mpp=0.5,
            tiles=TilesConfig(),
            folder=tmp_path / "tiles",
            regions=regions,
        )

    (tmp_path / "tiles").mkdir()
    return make


def kept_corners(job: TileJob) -> set[tuple[int, int]]:
    tile_one(job)
    return {(int(x), int(y)) for x, y in kept_tiles(read_tiles(job.folder / "S.h5")[0], ()).xy_l0}


def corners_in(geometry: shapely.Geometry) -> set[tuple[int, int]]:
    return {
        (x, y)
        for x in range(0, 2048, 256)
        for y in range(0, 2048, 256)
        if geometry.intersection(box(x, y, x + 256, y + 256)).area > 2**15
    }


def test_tiles_outside_an_area_and_in_its_hole_are_flagged_and_left_out(job):
    drawn = job({"type": "FeatureCollection", "features": [feature([SQUARE, HOLE])]})
    assert kept_corners(drawn) == corners_in(shapely.Polygon(SQUARE, [HOLE]))
    grid, _ = read_tiles(drawn.folder / "S.h5")
    assert len(grid.xy_l0) == 64, "what was left out stays visible"
    assert ((grid.flags & REGION_BIT) > 0).sum() == 64 - 15


@pytest.mark.parametrize("name", ["Ignore*", "exclude"])
def test_an_area_of_an_ignored_class_is_left_out_and_the_rest_stays(job, name):
    assert kept_corners(job([feature([SQUARE], name)])) == corners_in(
        box(0, 0, 2048, 2048) - box(0, 0, 1024, 1024)
    )


def test_changed_regions_make_the_tiles_of_their_slide_stale(job):
    plain = job(None)
    tile_one(plain)
    assert stale_jobs([plain]) == []
    drawn = job(feature([SQUARE]))
    assert stale_jobs([drawn]) == [drawn]
    tile_one(drawn)
    assert stale_jobs([drawn]) == []
    assert stale_jobs([job(feature([SQUARE, HOLE]))]) != []


@pytest.mark.parametrize(
    "content",
    [
        {"type": "Point", "coordinates": [1, 2]},
        {"type": "Polygon", "coordinates": [[[0, 0], [1, float("nan")], [1, 1]]]},
        {"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]},
        {"type": "Polygon", "coordinates": [[[0, 0], ["a", 1], [1, 1]]]},
        {"type": "Polygon", "coordinates": [[[0, 0], [1e300, 1], [1, 1]]]},
        {"type": "Feature"},
        ["x"],
        7,
        None,
    ],
)
def test_what_is_no_area_is_refused_with_the_file_and_what_to_do(tmp_path, content):
    with pytest.raises(SlideError, match=r"S\.geojson .*(Draw one|Export the annotations again)"):
        read_regions(write(tmp_path / "S.geojson", content))
    deep = tmp_path / "S.geojson"
    deep.write_text("[" * 100_000)
    with pytest.raises(SlideError, match="not GeoJSON"):
        read_regions(deep)


def test_thousands_of_small_areas_are_painted_within_seconds_and_little_memory():
    rng = np.random.default_rng(1)
    middles = rng.uniform(500, 59_500, (20_000, 2))
    corners = 100 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    regions = [Region(is_excluded=True, rings=(middle + corners,)) for middle in middles]
    begun = time.process_time()
    tracemalloc.start()
    painted = excluded_mask(regions, (4000, 4000), 15.0)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert time.process_time() - begun < 20
    assert most < 100e6
    there = np.floor(middles / 15).astype(int)
    assert painted[there[:, 1], there[:, 0]].all()


def test_an_area_painted_where_it_lies_is_the_area_painted_on_the_whole_picture():
    rng = np.random.default_rng(2)
    for _ in range(200):
        middle = rng.uniform(-100, 800, 2)
        rings = tuple(middle + rng.normal(0, 150 / k, (rng.integers(3, 9), 2)) for k in (1, 3))
        whole = np.zeros((130, 170), np.uint8)
        for number, ring in enumerate(rings):
            cv2.fillPoly(whole, [np.round(ring / 4 - 0.5).astype(np.int32)], 0 if number else 1)
        painted = excluded_mask([Region(is_excluded=True, rings=rings)], (130, 170), 4.0)
        np.testing.assert_array_equal(painted, whole == 1)
