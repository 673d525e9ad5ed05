"""Tiles have one physical side on every scanner; a broken slide costs one row; what is up to date
is not done again.
"""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from pathoml.cli import guarded, main
from pathoml.config import TilesConfig
from pathoml.errors import SlideError
from pathoml.store.tiles import kept_tiles, read_tiles
from pathoml.tiling.grid import box_means
from pathoml.tiling.jobs import TileJob, stale_jobs
from pathoml.tiling.step import tile_one, tile_slides
from pathoml.types import FLAGS, Slide

MPP = 2.0  # of the slides drawn here, so that they stay small


@pytest.fixture
def make_job(tmp_path, write_slide, pink_tissue):
    """Draw a slide of `side_um` with pink tissue in the middle half, and return the job that tiles
    it.
    """

    def make(
        slide_id: str = "B1",
        *,
        slide_mpp: float | None = MPP,
        side_um: float = 4096,
        ink=None,
        **changes,
    ) -> TileJob:
        side_px = round(side_um / (slide_mpp or MPP))
        picture = pink_tissue(side_px)
        if ink is not None:
            cv2.rectangle(picture, (0, side_px // 2), (side_px, side_px // 2 + 64), ink, -1)
        path = write_slide(tmp_path / f"{slide_id}.tif", picture, mpp=slide_mpp)
        slide = Slide(
            slide_id=slide_id, patient_id="P1", path=path, mpp=changes.pop("row_mpp", None)
        )
        fields = {
            "study_mpp": None,
            "tile_px": 64,
            "mpp": MPP,
            "tiles": TilesConfig(),
            "folder": tmp_path / "tiles",
        }
        return TileJob(slide=slide, **{**fields, **changes})

    return make


def tiles_of(job: TileJob):
    tile_one(job)
    return read_tiles(job.folder / f"{job.slide.slide_id}.h5")


@pytest.mark.parametrize("slide_mpp", [0.2209, 0.2309, 0.2525, 0.2738, 0.325, 0.499])
def test_a_tile_has_the_same_physical_side_on_every_scanner(make_job, slide_mpp):
    grid, _ = tiles_of(make_job(slide_mpp=slide_mpp, side_um=500, mpp=0.5, tile_px=224))
    assert grid.tile_l0 == round(224 * 0.5 / slide_mpp)
    assert grid.tile_l0 * slide_mpp == pytest.approx(112, rel=0.01)


@pytest.mark.parametrize("slide_mpp", [1.0, 1.3, 2.0])
def test_tiles_cover_the_same_area_of_tissue_whatever_the_scanner(make_job, slide_mpp):
    grid, _ = tiles_of(make_job(slide_mpp=slide_mpp))
    area_mm2 = (grid.tissue_fraction * (grid.tile_l0 * slide_mpp / 1000) ** 2).sum()
    assert area_mm2 == pytest.approx(2.048**2, rel=0.1)


def test_tiles_lie_on_the_tissue_inside_the_slide_and_do_not_overlap(make_job):
    grid, mask = tiles_of(make_job())
    assert len(grid.xy_l0) > 100
    assert (grid.xy_l0 % grid.tile_l0 == 0).all()
    assert len(np.unique(grid.xy_l0, axis=0)) == len(grid.xy_l0)
    assert (grid.xy_l0 + grid.tile_l0 <= grid.size_l0).all()
    centre_um = (grid.xy_l0 + grid.tile_l0 / 2) * MPP
    assert (np.abs(centre_um - 2048) < 1024 + 64).all()
    assert mask.mask.sum() * (mask.downsample * MPP) ** 2 == pytest.approx(2048**2, rel=0.1)


def test_a_higher_share_of_tissue_keeps_fewer_tiles(make_job):
    fractions = [
        tiles_of(make_job(side_um=4000, tiles=TilesConfig(min_tissue=share)))[0].tissue_fraction
        for share in (0.1, 0.9)
    ]
    assert len(fractions[0]) > len(fractions[1])
    assert [f.min() >= share for f, share in zip(fractions, (0.1, 0.9))] == [True, True]


@pytest.mark.parametrize("ink", [(30, 140, 60), (40, 60, 170)], ids=["green", "blue"])
def test_pen_on_the_tissue_flags_its_tiles_and_no_others(make_job, ink):
    grid, _ = tiles_of(make_job(ink=ink))
    under_pen = (grid.xy_l0[:, 1] < 1024 + 64) & (grid.xy_l0[:, 1] + grid.tile_l0 > 1024)
    far = (grid.xy_l0[:, 1] + grid.tile_l0 < 1024 - 64) | (grid.xy_l0[:, 1] > 1024 + 128)
    pen = (grid.flags >> FLAGS.index("pen")) & 1
    assert pen[under_pen].all()
    assert not pen[far].any()
    assert len(kept_tiles(grid, ["pen"]).xy_l0) == (pen == 0).sum()


def test_clean_tissue_has_no_flag_and_nothing_is_left_out(make_job):
    grid, _ = tiles_of(make_job())
    assert not grid.flags.any()
    assert (kept_tiles(grid, FLAGS).xy_l0 == grid.xy_l0).all()


@given(st.integers(0, 2**32 - 1), st.floats(0.3, 6))
@settings(max_examples=40, deadline=None)
def test_means_over_boxes_equal_brute_force(seed, side):
    rng = np.random.default_rng(seed)
    mask, xy = rng.random((7, 9)) < 0.5, rng.uniform(0, 5, (5, 2))
    expected = []
    for x, y in xy:  # the share of each pixel that lies inside the box, summed pixel by pixel
        columns = [max(0.0, min(j + 1, x + side) - max(j, x)) for j in range(9)]
        rows = [max(0.0, min(i + 1, y + side) - max(i, y)) for i in range(7)]
        expected.append(
            sum(rows[i] * columns[j] * mask[i, j] for i in range(7) for j in range(9)) / side**2
        )
    np.testing.assert_allclose(box_means(mask, xy, side), expected, atol=1e-9)


def test_a_slide_coarser_than_the_tiles_is_refused_unless_asked_for(make_job):
    with pytest.raises(
        SlideError,
        match=(
            r"B1 has 2 micrometres per pixel, coarser than the tiles' 0\.5\. Set tiles\.mpp to 2 or"
            r" more"
        ),
    ):
        tile_one(make_job(mpp=0.5))
    assert tile_one(make_job(mpp=0.5, tiles=TilesConfig(upsample=True))).tiles > 0


def test_a_slide_a_hair_coarser_than_the_tiles_is_taken(make_job):
    assert tile_one(make_job(slide_mpp=2.02, mpp=2.0)).tiles > 0


def test_a_slide_without_tissue_says_what_was_found_and_what_to_do(make_job, write_slide):
    job = make_job()
    write_slide(job.slide.path, np.full((2048, 2048, 3), 243, np.uint8), mpp=MPP)
    with pytest.raises(
        SlideError, match=r"B1 has no tile of 128 micrometres .*0\.00 mm2.*lower tiles\.min_tissue"
    ):
        tile_one(job)


@pytest.mark.parametrize("workers", [1, 2])
def test_one_broken_slide_costs_one_row_of_failures(make_job, workers):
    jobs = [make_job(name, side_um=2048) for name in ("A", "B", "C")]
    jobs[1].slide.path.write_bytes(jobs[1].slide.path.read_bytes()[:300])
    done = []
    counts, failures = tile_slides(jobs, workers=workers, on_slide=done.append)
    assert sorted(c.slide_id for c in counts) == ["A", "C"]
    assert sorted(done) == ["A", "B", "C"]
    with (jobs[0].folder / "failures.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["slide_id", "reason"], ["B", failures["B"]]]
    assert "Slide B " in failures["B"]
    assert sorted(p.name for p in jobs[0].folder.iterdir()) == [
        "A.geojson",
        "A.h5",
        "A.png",
        "C.geojson",
        "C.h5",
        "C.png",
        "failures.csv",
        "index.html",
        "quality.csv",
    ]


def test_a_slide_that_was_repaired_leaves_the_failures(make_job):
    job = make_job(side_um=2048)
    content = job.slide.path.read_bytes()
    job.slide.path.write_bytes(content[:300])
    assert tile_slides([job], workers=1, on_slide=str)[1].keys() == {"B1"}
    job.slide.path.write_bytes(content)
    assert tile_slides(stale_jobs([job]), workers=1, on_slide=str)[1] == {}
    assert (job.folder / "failures.csv").read_text() == "slide_id,reason\n"


def touch(path: Path) -> None:
    later = path.stat().st_mtime + 100
    os.utime(path, (later, later))


def test_an_unchanged_or_merely_touched_slide_is_not_stale(make_job):
    job = make_job()
    assert stale_jobs([job]) == [job]
    tile_one(job)
    assert stale_jobs([job]) == []
    touch(job.slide.path)
    assert stale_jobs([job]) == []


def test_a_slide_whose_content_changed_is_stale(make_job):
    job = make_job()
    tile_one(job)
    job.slide.path.write_bytes(job.slide.path.read_bytes() + b"\x00")
    touch(job.slide.path)
    assert stale_jobs([job]) == [job]


@pytest.mark.parametrize(
    "change",
    [
        {"mpp": 4.0},
        {"tile_px": 96},
        {"tiles": TilesConfig(min_tissue=0.5)},
        {"row_mpp": 1.9},
        {"study_mpp": 1.0},
    ],
    ids=str,
)
def test_a_changed_configuration_makes_a_slide_stale(make_job, change):
    tile_one(make_job())
    assert len(stale_jobs([make_job(**change)])) == 1


def test_what_does_not_decide_the_tiles_makes_nothing_stale(make_job):
    tile_one(make_job())
    touch(make_job().folder / "B1.h5")
    assert stale_jobs([make_job(tiles=TilesConfig(exclude=()))]) == []


def test_torn_tiles_are_stale(make_job):
    job = make_job()
    tile_one(job)
    path = job.folder / "B1.h5"
    path.write_bytes(path.read_bytes()[:500])
    assert stale_jobs([job]) == [job]


def test_tiling_twice_gives_the_same_content(make_job):
    job = make_job()
    first, second = tiles_of(job), tiles_of(job)
    for name, value in vars(first[0]).items():
        np.testing.assert_array_equal(value, getattr(second[0], name))


def test_the_picture_for_people_is_written(make_job):
    job = make_job()
    tile_one(job)
    picture = cv2.imread(str(job.folder / "B1.png"))
    assert max(picture.shape[:2]) <= 1600
    assert picture.std() > 5


def test_a_needle_biopsy_of_a_few_tiles_is_kept_and_said(tmp_path, capsys):
    picture = np.full((1536, 1536, 3), 243, np.uint8)
    picture[232:440, 232:888] = (
        np.random.default_rng(0).normal((170, 90, 150), 14, (208, 656, 3)).clip(0, 255)
    )
    tifffile.imwrite(
        tmp_path / "biopsy.tiff",
        picture,
        photometric="rgb",
        compression="jpeg",
        tile=(256, 256),
        resolution=(2e4, 2e4),
        resolutionunit=3,
    )
    (tmp_path / "study.yaml").write_text("endpoint: {name: x, time_zero: x, time: t, event: e}\n")
    (tmp_path / "slides.csv").write_text("slide_id,patient_id,path\nB1,P1,biopsy.tiff\n")
    (tmp_path / "patients.csv").write_text("patient_id,centre,t,e\nP1,A,3,1\n")
    assert guarded(lambda: main(["tile", str(tmp_path)])) == 0
    said = " ".join(capsys.readouterr().out.split())
    [tiles] = re.findall(
        r"FEW TILES B1: (\d) tiles, 0\.\d+ mm2 of tissue; kept, as a needle biopsy is", said
    )
    assert tiles == "3", "one row of tiles of 224 px, from 224 to 896"


def test_slides_whose_drive_is_away_stay_finished_and_come_back_unchanged(
    tmp_path, write_slide, pink_tissue, capsys
):
    (tmp_path / "share").mkdir()
    for k in range(3):
        write_slide(tmp_path / "share" / f"{k}.tif", pink_tissue(512 + 64 * k), mpp=2.0)
    (tmp_path / "slides.csv").write_text(
        "slide_id,patient_id,path\n" + "".join(f"S{k},P{k},share/{k}.tif\n" for k in range(3))
    )
    (tmp_path / "patients.csv").write_text(
        "patient_id,centre,pfs_months,pfs_event\nP0,A,1,0\nP1,A,2,1\nP2,A,3,1\n"
    )
    (tmp_path / "study.yaml").write_text(
        "endpoint: {name: pfs, time_zero: surgery, time: pfs_months, event: pfs_event}\n"
        "tiles: {mpp: 2.0, tile_px: 64}\ncompute: {workers: 1}\n"
    )

    def tile(*more: str) -> tuple[int, str]:
        code = guarded(lambda: main(["tile", str(tmp_path), *more]))
        return code, capsys.readouterr().out

    assert tile()[0] == 0
    before = {p.name: p.read_bytes() for p in (tmp_path / "tiles").rglob("*.h5")}
    (tmp_path / "share").rename(tmp_path / "unmounted")
    code, said = tile()
    assert (code, "0 of 3 slides to do" in said, "AWAY the files of 3 slides" in said) == (
        0,
        True,
        True,
    )
    assert guarded(lambda: main(["status", str(tmp_path)])) == 0
    code, said = tile("--set", "tiles.min_tissue=0.5")  # other tiles cannot be had now
    assert (code, "FAILED S0" in said, "drive is not mounted" in said) == (1, True, True)
    (tmp_path / "unmounted").rename(tmp_path / "share")
    code, said = tile()
    assert (code, "AWAY" in said, "0 of 3" in said) == (0, False, True)
    assert {p.name: p.read_bytes() for p in (tmp_path / "tiles").rglob("*.h5")} == before
    assert guarded(lambda: main(["status", str(tmp_path)])) == 0
