"""A map says in QuPath what has to be known of it, whichever verb wrote the file, and both files
are one set of tiles.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shapely.geometry import shape
from support.small_maps import small_map
from support.viewing import SLIDES, STUDY_YAML, trained, trained_study, write_study

from pathoml.config import Study, load_study
from pathoml.explanation.marks import NOT_CHECKED, UNFAITHFUL_SENTENCE, map_marks
from pathoml.explanation.overlay import tile_colours
from pathoml.interop import qupath
from pathoml.store.geojson import tile_collection, write_geojson


@pytest.fixture(scope="module")
def explained(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return trained_study(tmp_path_factory.mktemp("explained") / "study")


@pytest.fixture(scope="module")
def unchecked(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A study with one repeat and one seed of a trained head: no second model could judge a map."""
    folder = write_study(tmp_path_factory.mktemp("unchecked") / "study").folder
    (folder / "study.yaml").write_text(
        STUDY_YAML.replace("repeats: 2", "repeats: 1").replace("train: {", "train: {head: abmil, "),
        encoding="utf-8",
    )
    return trained(load_study(folder))


def content(path: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return read


def of_explain(study: Study, slide_id: str) -> dict[str, Any]:
    return content(study.run_folder / "attention" / f"{slide_id}.geojson")


def of_export(study: Study, slide_id: str, target: Path) -> dict[str, Any]:
    qupath.export_to(study, target)
    return content(target / f"{slide_id}.geojson")


def tiles(collection: dict[str, Any]) -> list[dict[str, Any]]:
    return [f for f in collection["features"] if f["properties"]["objectType"] == "tile"]


def test_a_tile_has_one_id_whether_explain_or_export_wrote_it(
    explained: Study, tmp_path: Path
) -> None:
    mine, exported = tiles(of_explain(explained, "S0")), tiles(of_export(explained, "S0", tmp_path))
    assert len(mine) == 144
    assert [f["id"] for f in mine] == [f["id"] for f in exported]
    assert [f["geometry"] for f in mine] == [f["geometry"] for f in exported]


@pytest.mark.parametrize("which", ["explained", "unchecked"])
def test_explain_and_export_write_the_same_mark_on_every_slide_and_tile(
    which: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    study = request.getfixturevalue(which)
    for slide_id in SLIDES:
        mine, exported = of_explain(study, slide_id), of_export(study, slide_id, tmp_path)
        assert mine["pathoml"] == exported["pathoml"]
        assert mine["pathoml"]["mark"] == map_marks(study.run_folder).get(slide_id, NOT_CHECKED)
        names = [
            [f["properties"]["classification"]["name"] for f in tiles(one)]
            for one in (mine, exported)
        ]
        assert names[0] == names[1]


def test_a_map_that_nobody_could_check_says_so_on_every_tile(
    unchecked: Study, tmp_path: Path
) -> None:
    mine = of_explain(unchecked, "S0")
    assert mine["pathoml"]["mark"] == NOT_CHECKED
    names = {f["properties"]["classification"]["name"] for f in mine["features"]}
    assert names == {"raises risk (not checked)", "lowers risk (not checked)"}
    spots = [
        f["properties"]
        for f in of_export(unchecked, "S0", tmp_path)["features"]
        if f["properties"]["objectType"] != "tile"
    ]
    assert {spot["name"] for spot in spots} == {"hot spot (not checked)"}


def test_a_map_that_is_not_faithful_says_so_on_every_tile_and_is_grey(explained: Study) -> None:
    marks = map_marks(explained.run_folder)
    slide_id = next(s for s in SLIDES if marks[s] == UNFAITHFUL_SENTENCE)
    classes = [
        f["properties"]["classification"] for f in of_explain(explained, slide_id)["features"]
    ]
    assert all(c["name"].endswith(" (NOT FAITHFUL)") for c in classes)
    assert all(max(c["color"]) - min(c["color"]) <= 1 for c in classes), "no orange and no blue"


def test_both_files_measure_the_same(explained: Study, tmp_path: Path) -> None:
    measured = [
        tiles(one)[7]["properties"]["measurements"]
        for one in (of_explain(explained, "S3"), of_export(explained, "S3", tmp_path))
    ]
    assert set(measured[0]) == {"contribution", "attention", "contribution spread"}
    assert measured[0] == pytest.approx(measured[1], rel=1e-6), (
        "the stored map is rounded to float32"
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
