"""A picture has one look, whichever way its file lays out the colours; what has none is refused by
its reason.
"""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
import tifffile
from PIL import ImageCms

from pathoml.errors import SlideError
from pathoml.slides.colour import open_in_colour
from pathoml.slides.reading import open_slide

SIDE = 96
SCALE = {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}
LAB = ImageCms.buildTransform(
    ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
)


@pytest.fixture
def drawn() -> np.ndarray:
    """Pinks, violets and glass, smooth enough for every conversion."""
    y, x = np.mgrid[0:SIDE, 0 : SIDE + 32] / SIDE
    picture = np.stack([240 - 90 * x, 235 - 150 * np.sin(3 * y) ** 2, 238 - 60 * x * y], axis=2)
    return np.clip(picture, 0, 255).astype(np.uint8)


def pixels(path: Path) -> np.ndarray:
    with open_slide(path) as reader:
        return reader.read_region((0, 0), 0, reader.size_l0)


def away(path: Path, picture: np.ndarray) -> float:
    """Return the mean difference in grey levels."""
    return float(np.abs(pixels(path).astype(int) - picture.astype(int)).mean())


def converted(picture: np.ndarray, mode: str) -> np.ndarray:
    image = PIL.Image.fromarray(picture)
    return np.asarray(
        ImageCms.applyTransform(image, LAB) if mode == "LAB" else image.convert(mode)
    )  # of CIELAB with signed a and b, as in TIFF


LAYOUTS = {
    "CMYK": lambda rgb: (converted(rgb, "CMYK"), {"photometric": "separated"}),
    "CIELAB": lambda rgb: (converted(rgb, "LAB"), {"photometric": "cielab"}),
    "YCbCr": lambda rgb: (
        converted(rgb, "YCbCr"),
        {"photometric": "ycbcr", "compression": "lzw"},
    ),
    "planes": lambda rgb: (
        np.ascontiguousarray(rgb.transpose(2, 0, 1)),
        {"photometric": "rgb", "planarconfig": "separate"},
    ),
    "16 bits": lambda rgb: (rgb.astype(np.uint16) * 257, {"photometric": "rgb"}),
    "12 of 16 bits": lambda rgb: (rgb.astype(np.uint16) * 16, {"photometric": "rgb"}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("tiled", [False, True], ids=["strips", "tiles"])
def test_a_tiff_has_the_colours_it_was_made_of_whatever_its_layout(tmp_path, drawn, layout, tiled):
    values, options = LAYOUTS[layout](drawn)
    tile = {"tile": (32, 32)} if tiled else {}
    tifffile.imwrite(tmp_path / "a.tif", values, metadata=None, **options, **tile, **SCALE)
    assert away(tmp_path / "a.tif", drawn) < 2
    with open_slide(tmp_path / "a.tif") as reader:
        assert reader.stated_mpp == pytest.approx((0.5, 0.5))


def test_a_palette_is_looked_up(tmp_path, drawn):
    image = PIL.Image.fromarray(drawn).quantize(64)
    colours = np.zeros((3, 256), np.uint16)
    listed = np.array(image.getpalette(), np.uint16).reshape(-1, 3)
    colours[:, : len(listed)] = listed.T * 257
    tifffile.imwrite(
        tmp_path / "a.tif", np.asarray(image), photometric="palette", colormap=colours, **SCALE
    )
    assert away(tmp_path / "a.tif", np.asarray(image.convert("RGB"))) == 0


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("under", [0, 200], ids=["black", "grey"])
def test_what_is_transparent_is_white_whatever_lies_under_it(tmp_path, drawn, suffix, under):
    hidden = np.dstack([drawn, np.full(drawn.shape[:2], 255, np.uint8)])
    hidden[:40] = (under, under, under, 0)
    expected = drawn.copy()
    expected[:40] = 255
    path = tmp_path / f"a.{suffix}"
    if suffix == "png":
        PIL.Image.fromarray(hidden).save(path)
    else:
        tifffile.imwrite(path, hidden, photometric="rgb", extrasamples=("unassalpha",), **SCALE)
    assert away(path, expected) == 0


@pytest.mark.parametrize("factor", [257, 16], ids=["16 bits", "12 of 16 bits"])
@pytest.mark.parametrize("kind", ["grey", "colours"])
def test_a_png_of_16_bits_looks_like_that_of_8(tmp_path, drawn, factor, kind):
    picture = drawn if kind == "colours" else drawn[:, :, 1]
    deep = picture.astype(np.uint16) * factor
    cv2.imwrite(str(tmp_path / "a.png"), deep[:, :, ::-1] if kind == "colours" else deep)
    expected = drawn if kind == "colours" else np.dstack([picture] * 3)
    assert away(tmp_path / "a.png", expected) < 1


def test_a_tile_without_bytes_is_glass(tmp_path, drawn):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path,
        drawn,
        tile=(32, 32),
        photometric="rgb",
        compression="jpeg2000",
        metadata=None,
        **SCALE,
    )
    with tifffile.TiffFile(path, mode="r+b") as file:
        tag = file.pages.first.tags["TileByteCounts"]
        tag.overwrite([0, *tag.value[1:]])
    expected = drawn.copy()
    expected[:32, :32] = 255
    assert away(path, expected) < 1


@pytest.mark.parametrize("tiled", [False, True], ids=["strips", "tiles"])
def test_channels_as_pages_are_joined_by_their_names(tmp_path, drawn, tiled):
    planes = np.ascontiguousarray(drawn.transpose(2, 0, 1)[[1, 2, 0]])
    tifffile.imwrite(
        tmp_path / "a.ome.tif",
        planes,
        photometric="minisblack",
        metadata={"axes": "CYX", "Channel": {"Name": ["Green", "Blue", "Red"]}},
        **({"tile": (32, 32)} if tiled else {}),
        **SCALE,
    )
    assert away(tmp_path / "a.ome.tif", drawn) == 0


@pytest.mark.parametrize("names", [["DAPI", "FITC", "TRITC"], None])
def test_channels_that_are_no_colours_are_refused(tmp_path, drawn, names):
    tifffile.imwrite(
        tmp_path / "a.ome.tif",
        np.ascontiguousarray(drawn.transpose(2, 0, 1)),
        photometric="minisblack",
        tile=(32, 32),
        metadata={"axes": "CYX", **({"Channel": {"Name": names}} if names else {})},
        **SCALE,
    )
    with pytest.raises(SlideError, match=r"3 grey channels .*instead of one picture in red"):
        open_slide(tmp_path / "a.ome.tif")


def test_several_focal_planes_are_said_and_the_first_is_read(tmp_path, drawn):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for plane in (drawn, drawn // 2, drawn // 3):
            file.write(plane, photometric="rgb", metadata=None, **SCALE)
    with open_slide(tmp_path / "a.tif") as reader:
        assert "3 pictures of 128 x 96 pixels" in reader.notes[0]
    assert away(tmp_path / "a.tif", drawn) == 0


@pytest.mark.parametrize("tiled", [False, True], ids=["strips", "tiles"])
def test_the_largest_page_is_the_picture_and_its_own_scale_counts(tmp_path, drawn, tiled):
    tile = {"tile": (32, 32)} if tiled else {}
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for picture, mpp in ((drawn[::4, ::4], 2.0), (drawn, 0.5)):
            file.write(
                np.ascontiguousarray(picture),
                photometric="rgb",
                metadata=None,
                resolution=(10_000 / mpp,) * 2,
                resolutionunit="CENTIMETER",
                **tile,
            )
    with open_slide(tmp_path / "a.tif") as reader:
        assert reader.size_l0 == (SIDE + 32, SIDE)
        assert reader.stated_mpp == pytest.approx((0.5, 0.5))


@pytest.mark.parametrize("name", ["strips.tif", "tiles.tif", "a.png", "a.jpg"])
def test_the_profile_counts_whichever_reader_opens_the_file(tmp_path, drawn, name):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = (  # a scanner whose red is another's green
        srgb.replace(b"rXYZ", b"tmpX").replace(b"gXYZ", b"rXYZ").replace(b"tmpX", b"gXYZ")
    )
    path = tmp_path / name
    if name.endswith("tif"):
        tile = {"tile": (32, 32)} if name.startswith("tiles") else {}
        tifffile.imwrite(path, drawn, photometric="rgb", iccprofile=swapped, **tile, **SCALE)
    else:
        PIL.Image.fromarray(drawn).save(path, icc_profile=swapped, quality=95)
    expected = ImageCms.profileToProfile(
        PIL.Image.fromarray(pixels(path)),
        ImageCms.getOpenProfile(io.BytesIO(swapped)),
        ImageCms.createProfile("sRGB"),
    )
    with open_in_colour(path, "S", icc=True) as reader:
        shown = reader.read_region((0, 0), 0, reader.size_l0)
    assert np.abs(shown.astype(int) - np.asarray(expected).astype(int)).max() <= 1


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (np.zeros((32, 32, 3), np.float32), "32 bits a sample"),
        (np.zeros((32, 32, 5), np.uint8), "5 samples a pixel"),
    ],
)
@pytest.mark.parametrize("tiled", [False, True], ids=["strips", "tiles"])
def test_numbers_that_are_no_colours_are_refused_by_what_they_are(tmp_path, values, why, tiled):
    tile = {"tile": (32, 32)} if tiled else {}
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", metadata=None, **tile)
    with pytest.raises(SlideError, match=why):
        open_slide(tmp_path / "a.tif")
