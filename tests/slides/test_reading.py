"""The scale of a slide and the pixels of a tile, against OpenSlide's own pixels."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import openslide
import pytest
import tifffile

from pathoml.errors import SlideError
from pathoml.slides.readers.openslide import OpenSlideReader, on_white
from pathoml.slides.readers.plain_image import PlainImageReader
from pathoml.slides.reading import (
    PLAUSIBLE_MPP,
    open_slide,
    read_overview,
    read_tile,
    resample,
    slide_mpp,
)


def scale(
    stated: tuple[float, float] | None, *, row: float | None = None, study: float | None = None
) -> tuple[float, str]:
    reader = PlainImageReader(np.zeros((4, 4, 3), np.uint8), stated)
    return slide_mpp(reader, "B1", row_mpp=row, study_mpp=study)


def test_slides_csv_wins_over_the_slide_and_the_slide_over_study_yaml():
    assert scale((0.5, 0.5), row=0.25, study=1.0) == (0.25, "slides.csv")
    assert scale((0.5, 0.5), study=1.0) == (0.5, "slide")
    assert scale(None, study=1.0) == (1.0, "study.yaml")


def test_a_slide_without_scale_says_where_to_state_it():
    with pytest.raises(
        SlideError,
        match=r"Slide B1 has no micrometres per pixel\. Add a column 'mpp' to slides\.csv",
    ):
        scale(None)


@pytest.mark.parametrize("mpp", [0.0, -0.5, 0.005, 499.0, float("nan"), float("inf")])
def test_an_implausible_scale_is_refused_with_the_value(mpp):
    with pytest.raises(SlideError, match=rf"B1 says {mpp:g} micrometres"):
        scale((mpp, mpp))
    with pytest.raises(SlideError, match=rf"slides\.csv says {mpp:g} micrometres"):
        scale((0.5, 0.5), row=mpp)


def test_study_yaml_stands_in_for_an_implausible_scale():
    assert scale((0.00499, 0.00499), study=0.5) == (0.5, "study.yaml")


def test_pixels_that_are_not_square_are_refused():
    with pytest.raises(SlideError, match=r"0\.25 x 0\.5 micrometres, which are not square"):
        scale((0.25, 0.5))
    assert scale((0.25, 0.2505))[0] == pytest.approx(0.25025, abs=1e-6)


@pytest.mark.parametrize("mpp", [0.2209, 0.499])
def test_the_scale_of_a_tiff_is_read_from_its_resolution(tmp_path, write_slide, mpp):
    path = write_slide(tmp_path / "a.tif", np.zeros((512, 512, 3), np.uint8), mpp=mpp)
    with open_slide(path) as reader:
        assert reader.vendor == "generic-tiff"
        assert slide_mpp(reader, "a", row_mpp=None, study_mpp=None)[0] == pytest.approx(
            mpp, rel=1e-4
        )


@pytest.fixture
def noise_slide(tmp_path, write_slide) -> Path:
    smooth = cv2.GaussianBlur(
        np.random.default_rng(1).integers(0, 256, (1024, 1024, 3)).astype(np.float32), (0, 0), 2
    )
    return write_slide(
        tmp_path / "noise.tif", np.clip((smooth - 128) * 8 + 128, 0, 255).astype(np.uint8), mpp=0.25
    )


@pytest.mark.parametrize("xy_l0", [(0, 0), (301, 77), (900, 900)])
def test_a_tile_is_openslides_region_averaged_over_areas(noise_slide, xy_l0):
    rgba = np.asarray(openslide.OpenSlide(noise_slide).read_region(xy_l0, 0, (448, 448))).astype(
        float
    )
    on_white = rgba[..., :3] * rgba[..., 3:] / 255 + 255 - rgba[..., 3:]
    expected = on_white.reshape(224, 2, 224, 2, 3).mean(axis=(1, 3))
    with open_slide(noise_slide) as reader:
        assert np.abs(read_tile(reader, xy_l0, 448, tile_px=224) - expected).max() <= 1


def test_a_tile_of_a_coarser_level_covers_the_same_place(noise_slide):
    rgb = np.asarray(openslide.OpenSlide(noise_slide).read_region((100, 200), 0, (512, 512)))[
        ..., :3
    ].astype(float)
    with open_slide(noise_slide) as reader:
        tile = read_tile(
            reader, (100, 200), 512, tile_px=128
        )  # read from the level that is four times coarser
    assert np.abs(tile - rgb.reshape(128, 4, 128, 4, 3).mean(axis=(1, 3))).max() <= 1


def test_a_tile_at_the_slides_own_scale_is_its_pixels(noise_slide):
    rgb = np.asarray(openslide.OpenSlide(noise_slide).read_region((37, 41), 0, (224, 224)))[..., :3]
    with open_slide(noise_slide) as reader:
        assert (read_tile(reader, (37, 41), 224, tile_px=224) == rgb).all()


@pytest.mark.parametrize(("alpha", "grey"), [(0, 255), (255, 40), (51, 212)])
def test_transparent_is_white_and_half_transparent_lies_on_white(alpha, grey):
    premultiplied = round(40 * alpha / 255)
    assert (on_white(np.full((2, 2, 4), (*[premultiplied] * 3, alpha), np.uint8)) == grey).all()


def test_shrinking_is_the_mean_over_areas_even_for_odd_factors():
    image = np.random.default_rng(1).integers(0, 256, (30, 60, 3), dtype=np.uint8)
    assert (
        np.abs(resample(image, (20, 10)) - image.reshape(10, 3, 20, 3, 3).mean(axis=(1, 3))).max()
        <= 1
    )


@pytest.mark.parametrize("downsample", [4.0, 8.0, 31.7])
def test_the_overview_is_in_register_with_the_slide(tmp_path, write_slide, monkeypatch, downsample):
    monkeypatch.setattr(
        "pathoml.slides.reading.STRIP_ROWS", 100
    )  # so that it is read in several strips
    picture = np.full((3000, 2000, 3), 255, np.uint8)
    picture[1280:1920, 640:1280] = 0
    with open_slide(write_slide(tmp_path / "a.tif", picture, mpp=0.5)) as reader:
        overview, exact = read_overview(reader, downsample)
    assert exact == pytest.approx(downsample, rel=0.15)
    rows, columns = (np.flatnonzero((overview[..., 0] < 128).any(axis=axis)) for axis in (1, 0))
    edges_l0 = np.array([columns[0], columns[-1] + 1, rows[0], rows[-1] + 1]) * exact
    assert np.abs(edges_l0 - [640, 1280, 1280, 1920]).max() <= exact


def test_a_plain_image_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path):
    tifffile.memmap(
        tmp_path / "bomb.tif", shape=(1, 1, 3), dtype=np.uint8, photometric="rgb"
    ).flush()
    content = bytearray((tmp_path / "bomb.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "bomb.tif") as file:
        for tag in ("ImageWidth", "ImageLength"):
            entry = file.pages.first.tags[tag].valueoffset
            content[entry : entry + 2] = (60_000).to_bytes(2, "little")
    (tmp_path / "bomb.tif").write_bytes(content)
    with pytest.raises(SlideError, match=r"[Cc]onvert it"):
        open_slide(tmp_path / "bomb.tif")


def test_every_real_slide_opens_with_a_plausible_scale_or_says_what_to_do(shared_data):
    refusals: dict[str, str] = {}
    for path in sorted((shared_data / "wsi").iterdir()):
        try:
            with open_slide(path) as reader:
                mpp, _ = slide_mpp(reader, path.name, row_mpp=None, study_mpp=None)
                tile = read_tile(reader, (0, 0), 64, tile_px=32)
        except SlideError as error:
            refusals[path.name] = str(error)
        else:
            assert PLAUSIBLE_MPP[0] <= mpp <= PLAUSIBLE_MPP[1]
            assert tile.shape == (32, 32, 3)
    assert refusals
    for name, sentence in refusals.items():
        assert name in sentence
        assert any(
            step in sentence for step in ("Copy it again", "Convert it", "convert it", "slides.csv")
        ), sentence


@pytest.mark.parametrize("name", ["CMU-1-Small-Region.svs", "CMU-1-Small-Region_dicom"])
def test_the_small_aperio_slide_and_its_dicom_copy_have_0_499_micrometres(shared_data, name):
    with open_slide(shared_data / "wsi" / name) as reader:
        assert reader.size_l0 == (2220, 2967)
        assert slide_mpp(reader, name, row_mpp=None, study_mpp=None) == (
            pytest.approx(0.499, abs=1e-6),
            "slide",
        )


def test_a_wrong_scale_of_a_real_slide_is_refused_with_the_value(shared_data):
    with (
        open_slide(shared_data / "wsi" / "CMU-1-Small-Region.jpeg.tiff") as reader,
        pytest.raises(SlideError, match=r"says 0\.00499 "),
    ):
        slide_mpp(reader, "CMU", row_mpp=None, study_mpp=None)


def test_the_bounds_of_a_scan_are_read_for_exports_and_are_zero_where_there_are_none() -> None:
    from types import SimpleNamespace

    def handle(properties):
        return SimpleNamespace(
            properties=properties, level_dimensions=((9, 9),), level_downsamples=(1.0,)
        )

    assert OpenSlideReader(
        handle({"openslide.bounds-x": "1500", "openslide.bounds-y": "320"}), "a.mrxs"
    ).bounds_l0 == (1500, 320)
    assert OpenSlideReader(handle({}), "a.svs").bounds_l0 == (0, 0)
