"""The fast reader gives OpenSlide's pixels, on the JPEG dialects of scanners, and leaves to
OpenSlide what it does not know.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import openslide
import PIL.Image
import pytest
import tifffile

from pathoml.errors import SlideError
from pathoml.slides.readers import jpeg_tiff
from pathoml.slides.reading import open_slide, read_tile
from pathoml.synthetic.containers import write_svs, write_tiff

NATIVE = 256
CORNERS = [(0, 0), (256, 512), (37, 411), (300, 77), (-10, -20), (1400, 1200), (5000, 0)]


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    noise = cv2.GaussianBlur(
        np.random.default_rng(1).integers(0, 256, (1300, 1500, 3)).astype(np.float32), (0, 0), 2
    )
    return np.clip((noise - 128) * 8 + 128, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module", params=["ycbcr.tif", "rgb.svs"])
def slide(request, tmp_path_factory, picture) -> Path:
    path = tmp_path_factory.mktemp("slide") / request.param
    if path.suffix == ".tif":
        write_tiff(path, picture, mpp=0.25)
    else:
        write_svs(path, picture, mpp=0.25, magnification=40)
    return path


def openslide_on_white(
    path: Path, xy_l0: tuple[int, int], level: int, size_px: tuple[int, int]
) -> np.ndarray:
    with openslide.OpenSlide(path) as handle:
        rgba = np.asarray(handle.read_region(xy_l0, level, size_px)).astype(np.float64)
    return rgba[..., :3] * rgba[..., 3:] / 255 + 255 - rgba[..., 3:]


@pytest.mark.parametrize("xy_l0", CORNERS)
def test_level_0_is_openslides_pixel_by_pixel(slide, xy_l0):
    with jpeg_tiff.open_slide(slide) as reader:
        assert (
            reader.read_region(xy_l0, 0, (300, 260))
            == openslide_on_white(slide, xy_l0, 0, (300, 260))
        ).all()


@pytest.mark.parametrize("xy_l0", CORNERS)
@pytest.mark.parametrize("level", [1, 2])
def test_coarser_levels_are_openslides_within_3_grey_levels_even_between_pixels(
    slide, level, xy_l0
):
    with jpeg_tiff.open_slide(slide) as reader:
        difference = reader.read_region(xy_l0, level, (90, 70)) - openslide_on_white(
            slide, xy_l0, level, (90, 70)
        )
    assert np.abs(difference).max() <= 3


def test_size_levels_scale_and_vendor_are_openslides(slide):
    with jpeg_tiff.open_slide(slide) as reader, openslide.OpenSlide(slide) as handle:
        assert (reader.size_l0, reader.level_downsamples) == (
            handle.dimensions,
            handle.level_downsamples,
        )
        assert reader.vendor == handle.properties["openslide.vendor"]
        assert reader.stated_mpp == pytest.approx((0.25, 0.25))


def test_a_raw_tile_is_a_jpeg_with_openslides_pixels(slide):
    with jpeg_tiff.open_slide(slide) as reader:
        assert reader.tile_size_px(0) == (NATIVE, NATIVE)
        tile = reader.raw_jpeg_tile(0, 2, 3)
    decoded = np.asarray(PIL.Image.open(io.BytesIO(tile)).convert("RGB"))
    assert (
        decoded == openslide_on_white(slide, (2 * NATIVE, 3 * NATIVE), 0, (NATIVE, NATIVE))
    ).all()


def test_no_raw_tile_where_the_edge_cuts_it_or_beyond(slide):
    with jpeg_tiff.open_slide(
        slide
    ) as reader:  # 1500 x 1300: columns 0 to 5, rows 0 to 5, the last ones cut
        cut_or_beyond = [(5, 0), (0, 5), (6, 0), (0, 6), (-1, 0), (0, -1)]
        assert [reader.raw_jpeg_tile(0, column, row) for column, row in cut_or_beyond] == [None] * 6


@pytest.mark.parametrize("name", ["CMU-1-Small-Region.svs", "CMU-1-Small-Region.jpeg.tiff"])
def test_real_slides_have_openslides_pixels(shared_data, name):
    path = shared_data / "wsi" / name
    with open_slide(path) as reader:
        assert isinstance(reader, jpeg_tiff.JpegTiffReader)
        assert (
            reader.read_region((0, 0), 0, reader.size_l0)
            == openslide_on_white(path, (0, 0), 0, reader.size_l0)
        ).all()


@pytest.mark.parametrize(
    "name", ["tcga-cr-7395-01a-01-ts1.svs", "CMU-1-Small-Region_dicom", "openslide_boxes.tiff"]
)
def test_other_compressions_and_formats_are_left_to_openslide(shared_data, name):
    assert not jpeg_tiff.detect_format(shared_data / "wsi" / name)
    with open_slide(shared_data / "wsi" / name) as reader:
        assert reader.read_region((0, 0), 0, (8, 8)).shape == (8, 8, 3)


def with_changed_tile(
    path: Path, target: Path, index: int, change: Callable[[bytearray, int, int], None]
) -> Path:
    """Copy a slide and let `change(content, offset, byte count)` damage one tile of level 0."""
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        change(content, page.dataoffsets[index], page.databytecounts[index])
    target.write_bytes(content)
    return target


def test_a_damaged_tile_gives_what_openslide_gives_or_its_error(slide, tmp_path):
    def zero_the_end(content: bytearray, offset: int, count: int) -> None:
        content[offset + count // 2 : offset + count] = bytes(count - count // 2)

    path = with_changed_tile(slide, tmp_path / slide.name, 0, zero_the_end)
    try:
        expected = openslide_on_white(path, (0, 0), 0, (NATIVE, NATIVE))
    except openslide.OpenSlideError:
        with (
            jpeg_tiff.open_slide(path) as reader,
            pytest.raises(SlideError, match="cannot be read"),
        ):
            reader.read_region((0, 0), 0, (NATIVE, NATIVE))
    else:
        with jpeg_tiff.open_slide(path) as reader:
            assert (reader.read_region((0, 0), 0, (NATIVE, NATIVE)) == expected).all()


def test_a_tile_without_its_first_marker_is_an_error_and_the_others_are_read(slide, tmp_path):
    def no_marker(content: bytearray, offset: int, _count: int) -> None:
        content[offset : offset + 2] = b"\x00\x00"

    path = with_changed_tile(slide, tmp_path / slide.name, 0, no_marker)
    with jpeg_tiff.open_slide(path) as reader:
        with pytest.raises(SlideError, match=r"cannot be read at \(0, 0\)"):
            reader.read_region((0, 0), 0, (NATIVE, NATIVE))
        assert reader.raw_jpeg_tile(0, 0, 0) is None
        there = (NATIVE, NATIVE)
        assert (
            reader.read_region(there, 0, there) == openslide_on_white(slide, there, 0, there)
        ).all()


def test_a_jfif_marker_does_not_turn_rgb_into_ycbcr():
    grey_red = np.full((16, 16, 3), (200, 60, 60), np.uint8)
    buffer = io.BytesIO()
    PIL.Image.fromarray(grey_red).save(buffer, "JPEG", quality=95)
    jpeg = buffer.getvalue()
    assert jpeg[2:4] == b"\xff\xe0"
    as_rgb = np.asarray(PIL.Image.open(io.BytesIO(jpeg_tiff.whole_jpeg(jpeg, b"", is_ycbcr=False))))
    as_ycbcr = np.asarray(
        PIL.Image.open(io.BytesIO(jpeg_tiff.whole_jpeg(jpeg, b"", is_ycbcr=True)))
    )
    assert np.abs(as_ycbcr.astype(int) - grey_red).max() <= 2
    stored = np.asarray(PIL.Image.fromarray(grey_red).convert("YCbCr"))
    assert np.abs(as_rgb.astype(int) - stored).max() <= 2


def openslide_tile(path: Path, xy_l0: tuple[int, int], tile_l0: int, tile_px: int) -> np.ndarray:
    region = openslide_on_white(path, xy_l0, 0, (tile_l0, tile_l0)).astype(np.uint8)
    return cv2.resize(region, (tile_px, tile_px), interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize("xy_l0", [(0, 0), (77, 77), (336, 336), (-30, 40), (1250, 1050)])
def test_tiles_are_openslides_pixels_averaged_over_areas(slide, xy_l0):
    with jpeg_tiff.open_slide(slide) as reader:
        assert (
            read_tile(reader, xy_l0, 336, tile_px=224) == openslide_tile(slide, xy_l0, 336, 224)
        ).all()


def test_threads_that_share_a_reader_get_openslides_pixels(slide):
    corners = [(x, y) for y in range(-50, 1300, 217) for x in range(-50, 1500, 181)]
    with jpeg_tiff.open_slide(slide) as reader, ThreadPoolExecutor(8) as pool:
        tiles = list(pool.map(lambda xy: read_tile(reader, xy, 300, tile_px=200), corners * 3))
    expected = [openslide_tile(slide, xy, 300, 200) for xy in corners] * 3
    assert all((tile == pixels).all() for tile, pixels in zip(tiles, expected))
