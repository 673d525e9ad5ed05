"""Two magnifications as one encoding: each tile has the features around it, and training, maps and
viewer read it as any other.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.viewing import asking

from pathoml.cli import guarded, main
from pathoml.config import Study, load_study
from pathoml.embedding.magnifications import Joined, JoinJob, join_slide, partners, stale_jobs
from pathoml.errors import ConfigError, StoreError
from pathoml.store.embeddings import read_embeddings, write_embeddings
from pathoml.store.hdf5 import stored_attr
from pathoml.store.maps import read_attention
from pathoml.store.tiles import read_tiles
from pathoml.study.layout import embeddings_folder, scales
from pathoml.study.run_folder import run_tiles_folder
from pathoml.synthetic.cohort import write_cohort
from pathoml.types import Embeddings, Recipe, TileGrid

COARSE_L0, FINE_L0 = 400, 100


def grid_of(
    xy: list[tuple[int, int]], tile_l0: int, mpp: float, sha256: str = "a" * 64
) -> TileGrid:
    corners = np.array(xy, np.int64)
    return TileGrid(
        slide_id="S1", xy_l0=corners, tile_l0=tile_l0, tile_px=64, mpp=mpp, level0_mpp=0.25,
        size_l0=(1200, 1200), tissue_fraction=np.ones(len(xy), np.float32),
        flags=np.zeros(len(xy), np.uint8), slide_sha256=sha256,
    )  # fmt: skip


def written(path: Path, grid: TileGrid, features: np.ndarray, weights: str = "w") -> Embeddings:
    recipe = Recipe(step="embed", inputs={"first": float(features[0, 0])})
    write_embeddings(
        path,
        grid,
        features.astype(np.float16),
        encoder="tiny",
        encoder_sha256=weights,
        precision="float32",
        recipe=recipe,
    )
    return read_embeddings(path)


@pytest.fixture
def job(tmp_path) -> JoinJob:
    """A slide of 12 x 12 fine tiles, with features that are their numbers, and 3 x 3 coarse ones
    without the middle and the last.
    """
    fine = [(x * FINE_L0, y * FINE_L0) for y in range(12) for x in range(12)]
    coarse = [
        (x * COARSE_L0, y * COARSE_L0)
        for y in range(3)
        for x in range(3)
        if (x, y) not in ((1, 1), (2, 2))
    ]
    names = {name: tmp_path / name / "S1.h5" for name in ("fine", "coarse")}
    written(names["fine"], grid_of(fine, FINE_L0, 0.5), np.arange(144.0)[:, None])
    written(
        names["coarse"],
        grid_of(coarse, COARSE_L0, 2.0),
        np.array([[x, y] for x, y in coarse], float),
    )
    return JoinJob(slide_id="S1", **names, joined=tmp_path / "fine+coarse" / "S1.h5")


def around(job: JoinJob, x: int, y: int) -> list[float]:
    """Return the corner of the coarse tile whose features stand behind those of the fine tile at
    (x, y).
    """
    slide = read_embeddings(job.joined)
    return slide.features[(slide.grid.xy_l0 == (x, y)).all(axis=1)][0, 1:].tolist()


def test_each_tile_keeps_its_own_and_gets_the_features_of_the_coarse_tile_around_its_centre(job):
    assert join_slide(job) == Joined(tiles=144, beside=32, left_out=0)
    fine, slide = read_embeddings(job.fine), read_embeddings(job.joined)
    assert (slide.grid.xy_l0 == fine.grid.xy_l0).all()
    assert slide.features.shape == (144, 3)
    assert (slide.features[:, :1] == fine.features).all()
    # the same scale and slide
    assert replace(slide.grid, xy_l0=fine.grid.xy_l0) == fine.grid
    assert (slide.encoder, slide.encoder_sha256) == ("fine+coarse", "w")
    assert around(job, 0, 0) == around(job, 300, 300) == [0, 0]
    assert around(job, 400, 300) == [400, 0]
    assert around(job, 1100, 0) == [800, 0]
    assert around(job, 0, 1100) == [0, 800]


def test_for_a_missing_tile_around_the_nearest_beside_it_stands_in_of_two_as_near_the_first(job):
    join_slide(job)
    assert around(job, 500, 400) == [400, 0]  # the middle is missing: above is nearer than left
    assert around(job, 400, 500) == [0, 400]
    assert around(job, 700, 600) == [800, 400]
    assert around(job, 400, 400) == [400, 0]  # above and left are as near; above comes first
    assert around(job, 1100, 1100) == [
        800,
        400,
    ]  # of the last corner's neighbours the middle is missing too


def test_a_tile_with_no_coarse_tile_around_or_beside_it_is_left_out(job):
    one = grid_of([(0, 0)], COARSE_L0, 2.0)
    written(job.coarse, one, np.array([[7.0, 7.0]]))
    assert join_slide(job) == Joined(
        tiles=64, beside=48, left_out=80
    )  # within 800 pixels in both directions
    assert read_embeddings(job.joined).grid.xy_l0.max() == 700


def test_how_near_the_coarse_tile_is_does_not_depend_on_the_order_in_which_they_are_stored(job):
    fine, coarse = read_embeddings(job.fine).grid, read_embeddings(job.coarse).grid
    shuffled = replace(coarse, xy_l0=coarse.xy_l0[[3, 1, 6, 0, 5, 2, 4]])
    away = [
        np.hypot(*(slide.xy_l0[partners(fine, slide)[0]] + 150 - fine.xy_l0).T)
        for slide in (coarse, shuffled)
    ]
    np.testing.assert_array_equal(*away)


def test_a_slide_is_joined_once_and_again_when_either_part_changes(job):
    assert stale_jobs([job]) == [job]
    join_slide(job)
    assert stale_jobs([job]) == []
    coarse = read_embeddings(job.coarse)
    written(
        job.coarse,
        grid_of(coarse.grid.xy_l0.tolist(), COARSE_L0, 2.0),
        np.array(coarse.features) + 1,
    )
    assert stale_jobs([job]) == [job]
    join_slide(job)
    assert around(job, 0, 0) == [1, 1]


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (
            lambda job: job.coarse.unlink(),
            "Slide S1 is embedded in fine, not in coarse. The failures.csv",
        ),
        (lambda job: job.fine.unlink(), "Slide S1 is embedded in coarse, not in fine"),
        (
            lambda job: written(
                job.coarse, grid_of([(0, 0)], 400, 2.0), np.ones((1, 2)), weights="other"
            ),
            "of two files or weights",
        ),
        (
            lambda job: written(job.coarse, grid_of([(0, 0)], 400, 2.0, "b" * 64), np.ones((1, 2))),
            "of two files or weights",
        ),
        (
            lambda job: written(job.coarse, grid_of([(4000, 0)], 400, 2.0), np.ones((1, 2))),
            "none of its 144 tiles has a coarse tile",
        ),
    ],
)
def test_what_cannot_be_joined_is_refused_by_name(job, spoil, sentence):
    spoil(job)
    with pytest.raises(StoreError, match="Slide S1") as error:
        join_slide(job)
    assert sentence in str(error.value)
    assert not job.joined.exists()


SETTINGS = {
    "tiles": {"tile_px": 64, "mpp": 0.5, "context_mpp": 2.0},
    "splits": {"folds": 2, "repeats": 2},
    "train": {"epochs": 2, "seeds": 1, "projection": 8, "hidden": 8, "nested": False},
    "significance": {"permutations": 2, "bootstraps": 200},
}
JOINED = "efficientnet_lite0@64px_0.5mpp+efficientnet_lite0@64px_2.0mpp"


def pathoml(*arguments: str) -> int:
    return guarded(lambda: main(list(arguments)))


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Study:
    folder = tmp_path_factory.mktemp("two") / "study"
    write_cohort(
        folder, patients=8, seed=4, workers=1, side_um=420.0, textures=1, settings=SETTINGS
    )
    assert pathoml("run", str(folder)) == 0
    return load_study(folder)


def test_run_tiles_and_embeds_at_both_magnifications_and_trains_on_what_is_joined(study):
    assert {path.name for path in (study.folder / "tiles").iterdir()} == {
        "64px_0.5mpp",
        "64px_2.0mpp",
    }
    assert {path.name for path in (study.folder / "embeddings").iterdir()} == {
        *JOINED.split("+"),
        JOINED,
    }
    assert embeddings_folder(study).name == JOINED
    widths = {
        read_embeddings(path).features.shape[1] for path in embeddings_folder(study).glob("*.h5")
    }
    assert widths == {2 * 1280}
    rows = list(csv.DictReader((study.run_folder / "scores.csv").read_text().splitlines()))
    assert len(rows) == 8


def test_maps_lie_on_the_finer_grid_and_sum_to_the_score(study):
    scores = {
        r["patient_id"]: float(r["log_risk"])
        for r in csv.DictReader((study.run_folder / "scores.csv").read_text().splitlines())
    }
    maps = [read_attention(path) for path in sorted((study.run_folder / "attention").glob("*.h5"))]
    for one in maps:
        fine = read_embeddings(
            study.folder / "embeddings" / JOINED.split("+")[0] / f"{one.slide_id}.h5"
        ).grid
        tiles, _ = read_tiles(study.folder / "tiles" / "64px_0.5mpp" / f"{one.slide_id}.h5")
        assert set(map(tuple, one.xy_l0.tolist())) <= set(map(tuple, fine.xy_l0.tolist()))
        assert len(one.xy_l0) > 0.9 * len(fine.xy_l0)
        assert one.tile_l0 == tiles.tile_l0
    for patient, score in scores.items():
        mine = [one for one in maps if one.patient_id == patient]
        assert sum(one.contribution.astype(float).sum() for one in mine) + mine[
            0
        ].bias == pytest.approx(score, abs=1e-4)


def test_the_viewer_shows_the_map_and_answers_what_if_without_some_tiles(study):
    slide_id = next((study.run_folder / "attention").glob("*.h5")).stem
    headers = {"x-pathoml": "1", "origin": "http://localhost", "sec-fetch-site": "same-origin"}
    with asking(study) as client:
        assert client.get(f"/api/slides/{slide_id}").json()["has_map"]
        layers = client.get(f"/api/slides/{slide_id}/layers").content
        answer = client.post(
            "/api/what-if", json={"slide": slide_id, "tiles": [0, 1]}, headers=headers
        )
    about = json.loads(layers[4 : 4 + int.from_bytes(layers[:4], "little")])
    assert about["tile_um"] == pytest.approx(32, rel=0.01)  # of the finer grid
    assert answer.status_code == 200, answer.text


def test_before_training_the_viewer_takes_the_finer_tiles_though_the_coarser_ones_are_newer(study):
    untrained = load_study(study.folder, ["run=none", "tiles.tile_px=null", "tiles.mpp=null"])
    tiles = study.folder / "tiles"
    os.utime(tiles / "64px_2.0mpp")
    assert run_tiles_folder(untrained) == tiles / "64px_0.5mpp"


def test_a_second_run_has_nothing_to_do_and_status_names_every_magnification(study, capsys):
    capsys.readouterr()
    assert pathoml("run", str(study.folder)) == 0
    said = capsys.readouterr().out
    assert said.count(": 0 of ") == 5
    assert said.count("up to date") == 5
    assert pathoml("status", str(study.folder)) == 0
    said = capsys.readouterr().out
    assert [
        said.count(f"{step} ") > 0
        for step in ("tile 64px_2.0mpp", "embed efficientnet_lite0@64px_2.0mpp", "join")
    ] == [True] * 3


def test_the_report_says_that_there_are_two_magnifications(study):
    assert (
        "Behind it stands the vector of the tile around it at 2 micrometres per pixel."
        in (study.run_folder / "report.html").read_text()
    )


def test_one_magnification_reads_its_own_encoding_beside_the_joined_one(study):
    alone = load_study(study.folder, ["tiles.context_mpp=null"])
    assert embeddings_folder(alone).name == JOINED.split("+")[0]
    assert scales(alone) == (alone,)
    before = {
        path.name: stored_attr(path, "recipe_sha256")
        for path in embeddings_folder(alone).glob("*.h5")
    }
    assert pathoml("embed", str(study.folder), "--set", "tiles.context_mpp=null") == 0
    assert before == {
        path.name: stored_attr(path, "recipe_sha256")
        for path in embeddings_folder(alone).glob("*.h5")
    }


@pytest.mark.parametrize("context", ["0.5", "0.25"])
def test_a_context_that_is_not_coarser_is_a_mistake_of_study_yaml(study, capsys, context):
    with pytest.raises(
        ConfigError,
        match=rf"context_mpp = {context} is not coarser than the tiles' 0\.5 micrometres per pixel",
    ):
        scales(load_study(study.folder, [f"tiles.context_mpp={context}"]))
    assert pathoml("check", str(study.folder), "--set", f"tiles.context_mpp={context}") == 2
    assert "Give a larger number, such as 2" in " ".join(capsys.readouterr().err.split())


def test_parts_of_a_batch_leave_the_joining_to_the_verb_and_packed_files_are_joined_as_plain_ones(
    study, capsys
):
    assert pathoml("pack", str(study.folder)) == 0
    assert [path.name for path in (study.folder / "embeddings").rglob("*.h5")] == []
    shutil.rmtree(embeddings_folder(study))
    assert pathoml("embed", str(study.folder), "--shard", "1/1") == 0
    assert not embeddings_folder(study).exists()
    assert pathoml("embed", str(study.folder)) == 0
    assert len(list(embeddings_folder(study).glob("*.h5"))) == len(
        list((study.run_folder / "attention").glob("*.h5"))
    )
    capsys.readouterr()
    assert pathoml("run", str(study.folder)) == 0
    assert capsys.readouterr().out.count("up to date") == 5


def test_a_locked_bundle_scores_slides_that_are_joined_alike_and_refuses_those_of_one_magnification(
    study, capsys
):
    assert pathoml("lock", str(study.folder), "--name", "both") == 0
    assert (
        pathoml("predict", str(study.folder), "--bundle", str(study.folder / "bundles" / "both"))
        == 0
    )
    capsys.readouterr()
    alone = (
        "predict",
        str(study.folder),
        "--bundle",
        str(study.folder / "bundles" / "both"),
        "--set",
        "tiles.context_mpp=null",
    )
    assert pathoml(*alone) == 2
    assert f"trained with encoder = '{JOINED}'" in " ".join(capsys.readouterr().err.split())
