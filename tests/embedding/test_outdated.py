"""Features of slides that fail now are read by nobody, and come back when the slides do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.made_features import ENCODER, WEIGHTS, made_study

from pathoml.config import Study, load_study
from pathoml.embedding.jobs import embed_jobs, stale_jobs
from pathoml.embedding.outdated import (
    restamp_current,
    set_aside_failed,
    set_aside_untiled,
    take_back_current,
)
from pathoml.store.embeddings import TILE_RECIPE, read_embeddings
from pathoml.store.failures import failed_slides
from pathoml.store.hdf5 import stored_attr
from pathoml.store.packs import is_stored, pack_folder
from pathoml.store.tiles import RECIPE
from pathoml.study.cohort import read_cohort
from pathoml.study.inputs import stored_content
from pathoml.study.layout import embeddings_folder, tiles_folder
from pathoml.tiling.step import tile_study


@pytest.fixture
def study(
    tmp_path: Path, write_slide: Callable[..., Path], pink_tissue: Callable[..., np.ndarray]
) -> Study:
    return made_study(tmp_path / "study", write_slide, pink_tissue)


def content(study: Study) -> dict[str, str]:
    return stored_content(embeddings_folder(study), read_cohort(study))


def stale(study: Study) -> list[str]:
    jobs = stale_jobs(embed_jobs(study, read_cohort(study)), ENCODER, WEIGHTS)
    return [job.slide_id for job in take_back_current(jobs, ENCODER, WEIGHTS)]


@pytest.mark.parametrize("packed", [False, True])
def test_a_damaged_slide_has_no_features_and_its_mended_file_has_them_back(
    study: Study, packed: bool
) -> None:
    folder, before = embeddings_folder(study), content(study)
    if packed:
        list(pack_folder(folder, 10**9))
    path = study.folder / "slides" / "A1.tif"
    whole = path.read_bytes()
    path.write_bytes(whole[:2000])
    assert tile_study(study).failures.keys() == {"A1"}
    assert not (tiles_folder(study) / "A1.h5").exists()
    assert set_aside_untiled(study, read_cohort(study)) == ["A1"]
    assert set_aside_untiled(study, read_cohort(study)) == []  # twice
    assert content(study) == {**before, "A1": ""}
    path.write_bytes(whole)
    assert not tile_study(study).failures
    assert failed_slides(tiles_folder(study)) == {}
    assert stale(study) == []
    assert content(study) == before
    assert not (folder / "set_aside").exists()


def test_a_slide_that_is_drawn_out_and_drawn_in_again_is_as_it_was(study: Study) -> None:
    before = content(study)
    square = [[0, 0], [9000, 0], [9000, 9000], [0, 9000], [0, 0]]
    area = '{"type": "Feature", "properties": {"classification": {"name": "exclude"}}, "geometry":'
    area += f' {{"type": "Polygon", "coordinates": [{square}]}}}}'
    (study.folder / "drawn").mkdir()
    drawn = study.folder / "drawn" / "B1.geojson"
    drawn.write_text(area)
    asked = load_study(study.folder, ["tiles.regions=drawn"])
    tiled = tile_study(asked)
    set_aside_untiled(asked, read_cohort(asked))
    jobs = embed_jobs(asked, read_cohort(asked))
    if "B1" not in tiled.failures:  # every tile is flagged, which `embed` finds
        set_aside_failed([j for j in jobs if j.slide_id == "B1"], {"B1": "every tile is flagged"})
    assert content(asked)["B1"] == ""
    drawn.unlink()
    assert not tile_study(asked).failures
    assert stale(asked) == []
    assert content(asked) == before


def test_features_of_a_slide_that_is_out_of_reach_stay(study: Study) -> None:
    before, jobs = content(study), embed_jobs(study, read_cohort(study))
    (study.folder / "slides").rename(study.folder / "unmounted")
    said = tile_study(study)
    assert (said.failures, said.grids[0].away) == ({}, ("A1", "A2", "B1"))
    set_aside_untiled(study, read_cohort(study))
    set_aside_failed(jobs, {"A1": "no such file"})
    assert content(study) == before


def test_other_settings_do_not_touch_the_tiles_of_a_slide_that_is_out_of_reach(
    study: Study,
) -> None:
    (study.folder / "slides").rename(study.folder / "unmounted")
    other = load_study(study.folder, ["tiles.min_tissue=0.5"])
    assert "out of reach" in tile_study(other).failures["A1"]
    assert set_aside_untiled(other, read_cohort(other)) == []
    assert is_stored(tiles_folder(study) / "A1.h5")


def test_the_same_tiles_of_another_slide_are_embedded_again(study: Study) -> None:
    path = study.folder / "slides" / "A1.tif"
    path.write_bytes(path.read_bytes() + b"\0")  # as if its pixels were others
    tile_study(study)
    assert stale(study) == ["A1"]


def test_the_same_tiles_by_another_recipe_are_not_embedded_again_but_say_so(study: Study) -> None:
    other = load_study(study.folder, ["tiles.min_tissue=0.26"])
    tile_study(other)
    jobs = embed_jobs(other, read_cohort(other))
    same = [j for j in jobs if j.slide_id not in stale(other)]
    before = read_embeddings(same[0].embeddings_path)
    restamp_current(same)
    after = read_embeddings(same[0].embeddings_path)
    assert stored_attr(same[0].embeddings_path, TILE_RECIPE) == stored_attr(
        same[0].tiles_path, RECIPE
    )
    assert '"min_tissue": 0.26' in stored_attr(same[0].embeddings_path, TILE_RECIPE)
    assert after.content_sha256 == before.content_sha256
    assert (after.encoder, after.recipe_sha256) == (before.encoder, before.recipe_sha256)
    assert np.array_equal(after.features, before.features)
