"""Features say how they were made, and those that study.yaml or the slides that there are would not
give are refused.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.learning import planted_cohort, write_study
from support.made_features import embed_by_hand, made_study

from pathoml.bags.origin import read_origins, refuse_other_features
from pathoml.config import Study, load_study
from pathoml.embedding.jobs import embed_jobs
from pathoml.errors import StoreError
from pathoml.study import feature_recipes
from pathoml.study.cohort import read_cohort
from pathoml.study.layout import tiles_folder

Make = Callable[..., Study]


@pytest.fixture
def make(
    tmp_path: Path, write_slide: Callable[..., Path], pink_tissue: Callable[..., np.ndarray]
) -> Make:
    return lambda **how: made_study(tmp_path / "study", write_slide, pink_tissue, **how)


def refusal(study: Study, *settings: str) -> str:
    study = load_study(study.folder, settings)
    with pytest.raises(StoreError) as caught:
        refuse_other_features(study, read_cohort(study))
    return str(caught.value)


def accepted(study: Study, *settings: str) -> None:
    study = load_study(study.folder, settings)
    refuse_other_features(study, read_cohort(study))


def test_features_say_by_which_tiling_they_were_made(make: Make) -> None:
    study = make()
    [origins] = refuse_other_features(study, read_cohort(study))
    assert [one.slide_id for one in origins] == ["A1", "A2", "B1"]
    for one in origins:
        assert one.tiling == {
            "tile_px": 64,
            "mpp": 2.0,
            "min_tissue": 0.25,
            "upsample": False,
            "icc": False,
            "version": feature_recipes.TILING_VERSION,
        }


@pytest.mark.parametrize("says_how", [True, False], ids=["of now", "of an older version"])
@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("tiles.min_tissue=0.9", "min_tissue = 0.9, was 0.25"),
        ("tiles.upsample=true", "upsample = True, was"),
        ("tiles.icc=true", "icc = True, was"),
        ("tiles.exclude=[fold]", "exclude"),
    ],
)
def test_other_settings_are_refused_by_name(
    make: Make, says_how: bool, setting: str, named: str
) -> None:
    study = make(says_how=says_how)
    accepted(study)
    said = refusal(study, setting)
    assert "3 slides (A1, A2, B1)" in said
    # an older version wrote the hash alone, which tells settings of the tiles only
    if says_how or setting.startswith(("tiles.min", "tiles.up")):
        assert named in said
    assert "Run `pathoml tile` and `pathoml embed`" in said


def test_features_without_their_tiles_are_known_by_what_they_say(make: Make) -> None:
    study = make()
    shutil.rmtree(tiles_folder(study))
    accepted(study)
    assert "min_tissue = 0.9, was 0.25" in refusal(study, "tiles.min_tissue=0.9")


def test_another_version_of_the_tiling_is_refused(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make()
    version = feature_recipes.TILING_VERSION
    monkeypatch.setattr(feature_recipes, "TILING_VERSION", version + 1)
    said = refusal(study)
    assert f"version of pathoml's tiles or features = {version + 1}, was {version}" in said


def test_a_precision_that_is_asked_for_is_seen_and_auto_takes_any(make: Make) -> None:
    study = make()
    job = embed_jobs(study, read_cohort(study))[0]
    embed_by_hand(job, precision="bfloat16, compiled")
    accepted(study)
    said = refusal(study, "compute.precision=fp32")
    assert "slide A1" in said
    assert "precision = fp32, was bfloat16, compiled" in said


def test_swapped_files_are_noticed_and_renamed_ones_are_not(make: Make) -> None:
    study = make()
    table = study.folder / "slides.csv"
    text = table.read_text()
    (study.folder / "slides" / "A1.tif").rename(study.folder / "slides" / "first.tif")
    table.write_text(text.replace("slides/A1.tif", "slides/../slides/first.tif"))
    accepted(study)
    table.write_text(text.replace("slides/A1", "slides/first").replace("first", "A2", 1))
    said = refusal(study)
    assert "slide A1" in said
    assert "its file is another than the one that was embedded" in said


def test_a_file_that_is_gone_is_refused_and_a_disk_that_is_away_is_not(make: Make) -> None:
    study = make()
    (study.folder / "slides" / "B1.tif").unlink()
    assert "slide B1, but its file is gone" in refusal(study)
    (study.folder / "slides").rename(study.folder / "unmounted")
    accepted(study)
    [origins] = read_origins(study, read_cohort(study))
    assert all(one.is_away for one in origins)


def test_what_does_not_say_how_it_was_made_is_let_in(tmp_path: Path) -> None:
    study = write_study(tmp_path, *planted_cohort(6)[:2])
    [origins] = refuse_other_features(study, read_cohort(study))
    assert {len(one.tiling) for one in origins} == {0}


def test_slides_without_features_are_left_out(make: Make) -> None:
    study = make()
    cohort = read_cohort(study)
    more = replace(cohort.slides[0], slide_id="C1")
    [origins] = read_origins(study, replace(cohort, slides=(*cohort.slides, more)))
    assert [one.slide_id for one in origins] == ["A1", "A2", "B1"]
