"""Exports of maps, read back by others' readers: shapely, anndata, tifffile's OME parser."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace

import anndata
import numpy as np
import pytest
import tifffile
from shapely.geometry import Polygon, box, shape
from shapely.ops import unary_union

from pathoml.errors import ConfigError
from pathoml.explanation.marks import UNFAITHFUL_SENTENCE, map_marks
from pathoml.interop import qupath
from pathoml.interop.h5ad import as_anndata
from pathoml.interop.ome_tiff import write_ome
from pathoml.interop.qupath import geojson
from pathoml.types import Assignments, AttentionMap


def ten_by_ten(bad: float = 0.1) -> AttentionMap:
    """Return a map of 10 x 10 tiles of 100 px at 0.5 um that begins at (300, 200); an L of five
    tiles and one alone are hot.
    """
    rows, columns = np.divmod(np.arange(100), 10)
    contribution = np.full(100, -0.01)
    for row, column in ((0, 0), (1, 0), (2, 0), (2, 1), (2, 2), (7, 7)):
        contribution[row * 10 + column] = 0.5
    spread = np.full(100, 0.1)
    spread[5] = bad
    return AttentionMap(
        slide_id="S1",
        patient_id="P1",
        xy_l0=np.stack([300 + columns * 100, 200 + rows * 100], axis=1),
        tile_l0=100,
        size_l0=(2000, 1500),
        level0_mpp=0.5,
        attention=np.full(100, 0.01),
        contribution=contribution,
        log_risk=1.0,
        bias=0.0,
        fold="1",
        score_type="oof",
        spread=spread,
    )


def three_phenotypes() -> Assignments:
    """Return phenotypes 0, 1, 2, 0, ...; a tile is 0.25 nearer to its own than to the one before
    and 0.5 than to the one after.
    """
    own = np.arange(100) % 3
    membership = np.full((100, 3), -0.5)
    membership[np.arange(100), own], membership[np.arange(100), own - 1] = 0.25, -0.25
    return Assignments(
        slide_id="S1", xy_l0=ten_by_ten().xy_l0, tile_l0=100, phenotype=own, membership=membership
    )


def test_qupath_measures_each_tiles_phenotype_and_its_membership_in_every_one() -> None:
    tile = geojson(ten_by_ten(), (0, 0), three_phenotypes(), mark="")["features"][1]
    measured = {
        name: value
        for name, value in tile["properties"]["measurements"].items()
        if "phenotype" in name
    }
    names = [f"membership in phenotype {k}" for k in range(3)]
    assert measured == {"phenotype": 1.0, names[0]: -0.25, names[1]: 0.25, names[2]: -0.5}


def test_qupath_gets_tiles_and_hot_spots_with_the_bounds_subtracted_to_the_pixel() -> None:
    content = json.loads(json.dumps(geojson(ten_by_ten(), (50, 30), mark=""), allow_nan=False))
    tiles = [f for f in content["features"] if f["properties"]["objectType"] == "tile"]
    assert shape(tiles[0]["geometry"]).bounds == (250, 170, 350, 270)
    assert tiles[0]["properties"]["measurements"]["contribution"] == 0.5
    assert tiles[0]["properties"]["classification"] == {
        "name": "raises risk",
        "color": [230, 138, 0],
    }
    assert content["pathoml"]["bounds_subtracted"] == [50, 30]
    spots = [
        shape(f["geometry"])
        for f in content["features"]
        if f["properties"]["objectType"] == "annotation"
    ]
    hot = [
        box(250 + c * 100, 170 + r * 100, 350 + c * 100, 270 + r * 100)
        for r, c in ((0, 0), (1, 0), (2, 0), (2, 1), (2, 2), (7, 7))
    ]
    assert len(spots) == 2
    assert unary_union(spots).symmetric_difference(unary_union(hot)).area == 0


def test_a_hot_spot_may_have_a_hole() -> None:
    ring = {(c, r) for c in range(3) for r in range(3)} - {(1, 1)}
    shapes = sorted((Polygon(points) for points in qupath.outlines(ring)), key=lambda p: -p.area)
    assert [p.area for p in shapes] == [9, 1]
    assert shapes[0].contains(shapes[1])


def test_ids_in_qupath_are_unique_and_the_same_each_time() -> None:
    first, again = (
        [f["id"] for f in geojson(ten_by_ten(), (0, 0), mark="")["features"]] for _ in range(2)
    )
    assert first == again
    assert len(set(first)) == len(first)


def test_what_is_not_a_number_is_left_out_of_qupath() -> None:
    tile = geojson(ten_by_ten(float("nan")), (0, 0), mark="")["features"][5]
    assert set(tile["properties"]["measurements"]) == {"contribution", "attention"}


def test_a_slide_with_bounds_lands_where_qupath_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mrxs(SimpleNamespace):
        def __enter__(self) -> Mrxs:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(qupath, "open_slide", lambda _: Mrxs(bounds_l0=(300, 200)))
    offset = qupath._bounds(Path("slide.mrxs"))
    assert shape(geojson(ten_by_ten(), offset, mark="")["features"][0]["geometry"]).bounds == (
        0,
        0,
        100,
        100,
    )


def test_anndata_reads_scores_boxes_and_centres(tmp_path: Path) -> None:
    features = np.random.default_rng(1).normal(size=(100, 4)).astype(np.float32)
    as_anndata(ten_by_ten(), features, three_phenotypes()).write_h5ad(tmp_path / "S1.h5ad")
    read = anndata.read_h5ad(tmp_path / "S1.h5ad")
    assert np.array_equal(read.X, features)
    assert read.obsm["spatial"][0].tolist() == [350, 250]
    assert read.obsm["membership"][1].tolist() == [-0.25, 0.25, -0.5]
    assert read.obs["x2"].iloc[0] - read.obs["x1"].iloc[0] == 100
    assert read.obs["contribution"].iloc[77] == pytest.approx(0.5)
    assert read.uns["spatial"]["S1"]["scalefactors"]["spot_diameter_fullres"] == 100
    assert read.obs["phenotype"].cat.categories.tolist() == ["0", "1", "2"]


def test_ome_tiff_has_float32_channels_and_the_size_of_a_tile(tmp_path: Path) -> None:
    write_ome(tmp_path / "S1.ome.tif", ten_by_ten(float("nan")))
    with tifffile.TiffFile(tmp_path / "S1.ome.tif") as file:
        assert file.is_ome
        series = file.series[0]
        assert (series.axes, series.shape, series.dtype) == ("CYX", (4, 10, 10), np.float32)
        values = series.asarray()
        xml = ET.fromstring(file.ome_metadata)
    assert values[0, 2, 1] == np.float32(0.5)
    assert np.isfinite(values).all()
    pixels = xml.find(".//{*}Pixels")
    assert pixels is not None
    assert (float(pixels.attrib["PhysicalSizeX"]), pixels.attrib["PhysicalSizeXUnit"]) == (
        50.0,
        "µm",
    )
    assert [c.attrib["Name"] for c in xml.findall(".//{*}Channel")] == [
        "contribution",
        "attention",
        "tile",
        "contribution spread",
    ]
    assert xml.findall(".//{*}Plane")[0].attrib["PositionX"] == "150.0"


def test_a_map_that_is_not_faithful_says_so_in_every_export(tmp_path: Path) -> None:
    content = geojson(ten_by_ten(), (0, 0), mark=UNFAITHFUL_SENTENCE)
    assert content["pathoml"]["mark"] == UNFAITHFUL_SENTENCE
    names = {
        f["properties"]["name"]
        for f in content["features"]
        if f["properties"]["objectType"] == "annotation"
    }
    assert names == {"hot spot (NOT FAITHFUL)"}
    as_anndata(ten_by_ten(), np.zeros((100, 2), np.float32), mark=UNFAITHFUL_SENTENCE).write_h5ad(
        tmp_path / "S1.h5ad"
    )
    assert anndata.read_h5ad(tmp_path / "S1.h5ad").uns["pathoml"]["mark"] == UNFAITHFUL_SENTENCE
    write_ome(tmp_path / "S1.ome.tif", ten_by_ten(), mark=UNFAITHFUL_SENTENCE)
    with tifffile.TiffFile(tmp_path / "S1.ome.tif") as file:
        description = ET.fromstring(file.ome_metadata).find(".//{*}Image/{*}Description")
    assert description is not None
    assert UNFAITHFUL_SENTENCE in str(description.text)


def test_the_marks_are_those_of_faithfulness_json(tmp_path: Path) -> None:
    slides = {
        "good": {"faithful": True, "flagged_share": 0.02, "flagged_warning": False},
        "inked": {"faithful": True, "flagged_share": 0.31, "flagged_warning": True},
        "bad": {"faithful": False, "flagged_share": 0.31, "flagged_warning": True},
    }
    (tmp_path / "faithfulness.json").write_text(json.dumps({"slides": slides}), encoding="utf-8")
    marks = map_marks(tmp_path)
    assert marks == {
        "good": "",
        "inked": "31% of the contribution comes from flagged tiles.",
        "bad": UNFAITHFUL_SENTENCE,
    }
    assert map_marks(tmp_path / "nothing") == {}


def test_areas_that_somebody_drew_are_not_written_over(tmp_path: Path) -> None:
    ours = tmp_path / "S2.geojson"
    ours.write_text(json.dumps({"type": "FeatureCollection", "pathoml": {"slide_id": "S2"}}))
    qupath._refuse_drawn_by_hand(tmp_path, ["S1", "S2"])
    (tmp_path / "S1.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    with pytest.raises(ConfigError, match="may be drawn by hand"):
        qupath._refuse_drawn_by_hand(tmp_path, ["S1", "S2"])
