"""Every reader of pathoml/slides/ gives the same picture; walked, so a new reader is tested without
being named.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import tifffile

from pathoml.errors import ConfigError, SlideError
from pathoml.plugins import names_with
from pathoml.slides.reading import SlideReader, open_slide
from pathoml.synthetic.containers import write_svs

READERS = names_with("pathoml.slides.readers", "open_slide")
SUFFIXES = (".tif", ".png", ".svs")
NOT_READ = {
    ("openslide", ".png"),
    ("jpeg_tiff", ".png"),
    ("jpeg_tiff", ".tif"),
    ("plain_image", ".svs"),
}
PAIRS = [
    (name, suffix) for name in READERS for suffix in SUFFIXES if (name, suffix) not in NOT_READ
]


@pytest.fixture(scope="module")
def drawn() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (1100, 1536, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def jpeg_slide(drawn, tmp_path_factory) -> Path:
    """An Aperio slide, whose picture is what its JPEG tiles decode to."""
    path = tmp_path_factory.mktemp("aperio") / "slide.svs"
    write_svs(path, drawn, mpp=0.5, magnification=20, levels=2)
    return path


@pytest.fixture(params=PAIRS, ids=lambda p: f"{p[0]}{p[1]}")
def pair(request) -> tuple[str, str]:
    return request.param


@pytest.fixture
def picture(pair, drawn, jpeg_slide) -> np.ndarray:
    return tifffile.imread(jpeg_slide, key=0) if pair[1] == ".svs" else drawn


@pytest.fixture
def reader(pair, tmp_path, drawn, write_slide, jpeg_slide) -> SlideReader:
    name, suffix = pair
    path = tmp_path / f"slide{suffix}"
    if suffix == ".tif":
        write_slide(path, drawn, mpp=0.5)
    elif suffix == ".png":
        PIL.Image.fromarray(drawn).save(path)
    else:
        path = jpeg_slide
    module = importlib.import_module(f"pathoml.slides.readers.{name}")
    if not module.detect_format(path):
        pytest.skip(f"{name} does not read {suffix}")
    with module.open_slide(path) as slide:
        yield slide


def test_every_reader_reads_one_of_the_pictures(tmp_path, drawn, write_slide, jpeg_slide):
    write_slide(tmp_path / "slide.tif", drawn, mpp=0.5)
    PIL.Image.fromarray(drawn).save(tmp_path / "slide.png")
    paths = [tmp_path / "slide.tif", tmp_path / "slide.png", jpeg_slide]
    for name in READERS:
        module = importlib.import_module(f"pathoml.slides.readers.{name}")
        assert any(module.detect_format(path) for path in paths), f"add a picture that {name} reads"


def test_size_is_width_and_height(reader):
    assert reader.size_l0 == (1536, 1100)


def test_pixels_of_level_0_are_those_of_the_picture(reader, picture):
    assert (reader.read_region((300, 200), 0, (400, 100)) == picture[200:300, 300:700]).all()


def test_outside_the_slide_is_white_and_the_inside_is_not_shifted(reader, picture):
    region = reader.read_region((-10, -20), 0, (50, 60))
    assert (region[:20] == 255).all()
    assert (region[:, :10] == 255).all()
    assert (region[20:, 10:] == picture[:40, :40]).all()
    assert (reader.read_region((1536 - 5, 1100 - 5), 0, (10, 10))[5:] == 255).all()


@pytest.mark.parametrize("xy_l0", [(5000, 0), (0, 5000), (-5000, -5000)])
def test_far_outside_the_slide_is_white(reader, xy_l0):
    region = reader.read_region(xy_l0, 0, (8, 4))
    assert region.shape == (4, 8, 3)
    assert (region == 255).all()


def test_levels_ascend_from_one(reader):
    assert reader.level_downsamples[0] == 1.0
    assert list(reader.level_downsamples) == sorted(set(reader.level_downsamples))


def test_a_coarser_level_shows_the_same_place(reader, picture, pair):
    coarse = reader.read_region((512, 256), 1, (64, 32))
    factor = round(reader.level_downsamples[1])
    mean = (
        picture[256 : 256 + 32 * factor, 512 : 512 + 64 * factor]
        .reshape(32, factor, 64, factor, 3)
        .mean(axis=(1, 3))
    )
    if pair[1] == ".svs":  # compressed once more; noise that is shifted by a pixel differs by 20
        assert np.abs(coarse - mean).mean() < 6
    else:
        assert np.abs(coarse - mean).max() <= 1


def test_regions_are_rgb_bytes(reader):
    region = reader.read_region((0, 0), 0, (7, 5))
    assert (region.shape, region.dtype) == ((5, 7, 3), np.uint8)


def test_the_scale_is_what_the_slide_states_or_none(reader):
    assert reader.stated_mpp is None or reader.stated_mpp == pytest.approx((0.5, 0.5))


def test_a_new_format_is_one_file(drop_in, tmp_path):
    code = (
        "import numpy as np\nfrom pathoml.slides.readers.plain_image import PlainImageReader\n"
        "PRIORITY = 99\n"
        "def detect_format(path): return path.suffix == '.ours'\n"
        "def open_slide(path): return PlainImageReader(np.zeros((3, 4, 3), np.uint8), (0.25, "
        "0.25))\n"
    )
    drop_in("pathoml.slides.readers", "ours", code)
    (tmp_path / "a.ours").write_text("x")
    with open_slide(tmp_path / "a.ours") as slide:
        assert slide.size_l0 == (4, 3)


def test_a_reader_where_readers_lay_before_is_named_with_its_new_place(drop_in, tmp_path):
    drop_in("pathoml.slides", "ours", "def detect_format(path): return True\n")
    (tmp_path / "a.ours").write_text("x")
    with pytest.raises(SlideError, match=r"slides/ours\.py is not looked at: readers lie in .*s/r"):
        open_slide(tmp_path / "a.ours")


def test_a_reader_that_refuses_gives_way_to_the_next(drop_in, tmp_path, drawn):
    code = (
        "from pathoml.errors import ConfigError, SlideError\nPRIORITY = 99\n"
        "def detect_format(path): return True\n"
        "def open_slide(path): raise SlideError('not mine')\n"
    )
    drop_in("pathoml.slides.readers", "greedy", code)
    PIL.Image.fromarray(drawn).save(tmp_path / "a.png")
    with open_slide(tmp_path / "a.png") as slide:
        assert slide.vendor == "plain"


def test_a_reader_that_inherits_answers_what_most_readers_answer(drop_in, tmp_path):
    code = (
        "import numpy as np\nfrom pathoml.slides.reading import Reader\nPRIORITY = 99\n"
        "def detect_format(path): return path.suffix == '.ours'\n"
        "def open_slide(path): return Slide()\n"
        "class Slide(Reader):\n    size_l0 = (4, 3)\n    stated_mpp = None\n"
        "    level_downsamples = (1.0,)\n    vendor = 'ours'\n"
        "    def read_region(self, xy_l0, level, size_px):\n"
        "        return np.full((size_px[1], size_px[0], 3), 255, np.uint8)\n"
    )
    drop_in("pathoml.slides.readers", "inherits", code)
    (tmp_path / "a.ours").write_text("x")
    with open_slide(tmp_path / "a.ours") as slide:
        assert (slide.bounds_l0, slide.icc_profile) == ((0, 0), None)
        assert (slide.tile_size_px(0), slide.raw_jpeg_tile(0, 0, 0)) == (None, None)


def test_half_a_reader_is_refused_with_what_it_lacks_and_what_to_inherit(drop_in, tmp_path):
    code = (
        "PRIORITY = 99\ndef detect_format(path): return path.suffix == '.ours'\n"
        "def open_slide(path): return Slide()\n"
        "class Slide:\n    size_l0 = (4, 3)\n    stated_mpp = None\n"
        "    level_downsamples = (1.0,)\n    vendor = 'ours'\n"
        "    def read_region(self, xy_l0, level, size_px): ...\n"
        "    def close(self): ...\n    def __enter__(self): return self\n"
        "    def __exit__(self, *_): ...\n"
    )
    drop_in("pathoml.slides.readers", "half", code)
    (tmp_path / "a.ours").write_text("x")
    with pytest.raises(
        ConfigError,
        match=r"^Slide of pathoml.slides.readers.half has no bounds_l0, icc_profile, tile_size_px, "
        r"raw_jpeg_tile\. Let it inherit",
    ):
        open_slide(tmp_path / "a.ours")


@pytest.mark.parametrize(
    "content", [b"", b"\x00" * 500, b"II*\x00\x08\x00\x00\x00", b"\x89PNG\r\n\x1a\n torn"]
)
@pytest.mark.parametrize("suffix", [".svs", ".tif", ".png", ".ndpi"])
def test_a_damaged_slide_is_refused_by_name_with_a_next_step(tmp_path: Path, suffix, content):
    path = tmp_path / f"slide{suffix}"
    path.write_bytes(content)
    with pytest.raises(SlideError, match=rf"^Slide slide{suffix} .*(Copy|Convert|convert)"):
        open_slide(path)


def test_a_missing_slide_and_a_pipe_are_refused_and_do_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.svs")
    with pytest.raises(SlideError, match="neither a file nor a folder"):
        open_slide(tmp_path / "pipe.svs")
    with pytest.raises(SlideError, match=r"is missing.*slides\.csv"):
        open_slide(tmp_path / "none.svs")
