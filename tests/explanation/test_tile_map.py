"""A patient's map in a notebook: slide and map side by side, with the mark it must carry."""

from __future__ import annotations

import numpy as np
import pytest
from support.viewing import trained_study

from pathoml.errors import StoreError
from pathoml.explanation.marks import NOT_CHECKED
from pathoml.explanation.tile_map import read_map
from pathoml.store.files import read_json, write_json
from pathoml.store.maps import read_attention


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return trained_study(tmp_path_factory.mktemp("map") / "study")


@pytest.fixture
def unchecked(study):
    path = study.run_folder / "faithfulness.json"
    kept = read_json(path)
    write_json(path, {**kept, "slides": {}})
    yield study
    write_json(path, kept)


def test_a_patients_map_holds_every_slide_and_sums_to_the_risk(study):
    found = read_map(study, "P1")
    assert [*found.marks] == ["S1", "S1-met"]
    bias = found.slides[0].tile_map.bias
    assert found.contribution.sum() + bias == pytest.approx(found.log_risk, abs=1e-4)


def test_a_slides_map_is_as_explain_wrote_it_and_on_the_scale_of_the_patients_whole_bag(study):
    found = read_map(str(study.folder), "S1")
    written = read_attention(study.run_folder / "attention" / "S1.h5")
    assert np.array_equal(found.contribution, written.contribution)
    assert found.bag_tiles == read_map(study, "P1").bag_tiles > len(written.contribution)


def test_tiles_are_a_table_of_places_and_contributions(study):
    found = read_map(study, "P1")
    assert [*found.tiles.columns] == ["slide_id", "x_l0", "y_l0", "attention", "contribution"]
    assert len(found.tiles) == len(found.contribution) == found.bag_tiles


def test_slide_and_map_are_of_one_size_and_not_the_same_picture(study):
    [(slide, drawn)] = read_map(study, "S2").pictures()
    assert slide.shape == drawn.shape
    assert not np.array_equal(slide, drawn)


def test_a_map_that_was_not_checked_says_so_wherever_it_is_shown(unchecked):
    found = read_map(unchecked, "S2")
    assert found.marks == {"S2": NOT_CHECKED}
    assert "not checked" in repr(found)
    assert NOT_CHECKED in found._repr_html_()


def test_a_notebook_shows_two_pictures_a_slide(study):
    shown = read_map(study, "P1")._repr_html_()
    assert shown.count("<img") == 4
    assert len(shown) < 4 * 200_000  # a notebook is kept in git and sent by mail


def test_without_the_slide_the_numbers_are_shown_and_why_there_is_no_picture(study):
    found = read_map(study, "S3")
    [one] = found.slides
    one.path.rename(one.path.with_suffix(".away"))
    try:
        shown = found._repr_html_()
    finally:
        one.path.with_suffix(".away").rename(one.path)
    assert "<img" not in shown
    assert "S3" in shown
    assert str(study.folder) not in shown


def test_a_typo_names_the_nearest_slide(study):
    with pytest.raises(StoreError, match="Did you mean 'S1-met'"):
        read_map(study, "S1_met")


def test_a_map_that_is_not_there_yet_names_command_and_function(study):
    path = study.run_folder / "attention" / "S4.h5"
    path.rename(path.with_suffix(".away"))
    try:
        with pytest.raises(StoreError, match=r"`pathoml explain`, or pathoml.explain\(study\)"):
            read_map(study, "S4")
    finally:
        path.with_suffix(".away").rename(path)
