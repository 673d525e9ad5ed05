"""What is written beside the pixels is found in every format that may carry it, and boilerplate is
no comment.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from pathoml.slides.identity import KINDS, identifiers_left

PICTURE = np.full((64, 64, 3), 200, np.uint8)
XMP = (
    b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF><rdf:Description xmp:CreateDate='2024-01-02'>"
    b"<dc:creator><rdf:Seq><rdf:li>Kanarienvogel</rdf:li></rdf:Seq></dc:creator>"
    b"</rdf:Description></rdf:RDF></x:xmpmeta>"
)


def tiff(path: Path, *tags: tuple[int, int | str, int | None, object], **more: object) -> Path:
    tifffile.imwrite(
        path, PICTURE, photometric="rgb", metadata=None, extratags=[(*t, True) for t in tags],
        **more,
    )  # fmt: skip
    return path


def exif(**tags: object) -> Image.Exif:
    found = Image.Exif()
    for code, value in tags.items():
        found[int(code.removeprefix("t"), 16)] = value
    return found


def jpeg(path: Path, **more: object) -> Path:
    Image.fromarray(PICTURE).save(path, **more)
    return path


def png(path: Path, **texts: str) -> Path:
    info = PngInfo()
    for key, value in texts.items():
        info.add_text(key, value)
    Image.fromarray(PICTURE).save(path, pnginfo=info)
    return path


def original(taken: str, where: bool = False) -> Image.Exif:
    found = Image.Exif()
    found.get_ifd(0x8769)[0x9003] = taken  # DateTimeOriginal, in an IFD of its own
    if where:
        found.get_ifd(0x8825)[1] = "N"
    return found


@pytest.mark.parametrize(
    ("write", "kinds"),
    [
        (lambda p: tiff(p / "a.tif", (315, 2, None, "Kanarienvogel")), ["person"]),
        (lambda p: tiff(p / "a.tif", (316, 2, None, "PC-PATHO-3")), ["institution or computer"]),
        (lambda p: tiff(p / "a.tif", (269, 2, None, "Kanarienvogel")), ["file name"]),
        (lambda p: tiff(p / "a.tif", (33432, 2, None, "(c) Kanarienvogel")), ["person"]),
        (lambda p: tiff(p / "a.tif", datetime="2024:01:02 03:04:05"), ["date"]),
        (lambda p: tiff(p / "a.tif", (700, 7, len(XMP), XMP)), ["person", "date"]),
        (lambda p: tiff(p / "a.tif", description="<Image Operator='K'/>"), ["person"]),
        (
            lambda p: tiff(p / "a.tif", description="<OME><!-- of Kanarienvogel --></OME>"),
            ["comment in free text"],
        ),
        (
            lambda p: tiff(p / "a.tif", description="Kanarienvogel H21-774411"),
            ["accession or specimen number", "comment in free text"],
        ),
        (lambda p: jpeg(p / "a.jpg", exif=exif(t013b="Kanarienvogel")), ["person"]),
        (lambda p: jpeg(p / "a.jpg", exif=exif(t0132="2024:01:02 03:04:05")), ["date"]),
        (lambda p: jpeg(p / "a.jpg", exif=exif(t013c="PC-3")), ["institution or computer"]),
        (lambda p: jpeg(p / "a.jpg", exif=original("2024:01:02 03:04:05")), ["date"]),
        (lambda p: jpeg(p / "a.jpg", exif=original("2024:01:02", where=True)), ["date", "place"]),
        (lambda p: jpeg(p / "a.jpg", comment=b"Kanarienvogel"), ["comment in free text"]),
        (lambda p: jpeg(p / "a.jpg", xmp=XMP), ["person", "date"]),
        (lambda p: png(p / "a.png", Author="Kanarienvogel"), ["person"]),
        (lambda p: png(p / "a.png", Patient="Kanarienvogel"), ["patient"]),
        (lambda p: png(p / "a.png", **{"Creation Time": "2 Jan 2024"}), ["date"]),
    ],
)
def test_who_when_and_where_are_found_in_tags(tmp_path, write, kinds):
    assert identifiers_left(write(tmp_path)) == kinds


@pytest.mark.parametrize(
    "write",
    [
        lambda p: tiff(p / "a.tif"),
        lambda p: tiff(p / "a.tif", (315, 2, None, " ")),
        lambda p: tiff(p / "a.tif", description='{"shape": [64, 64, 3]}'),
        lambda p: tiff(p / "a.tif", description="ImageJ=1.53t\nunit=um\n"),
        lambda p: tiff(
            p / "a.tif",
            description="<OME><!-- Warning: this comment is an OME-XML metadata block --></OME>",
        ),
        lambda p: jpeg(p / "a.jpg", dpi=(72, 72)),
        lambda p: png(p / "a.png", Software="pathoml"),
    ],
)
def test_plain_pictures_hold_nothing(tmp_path, write):
    assert identifiers_left(write(tmp_path)) == []


def test_a_torn_file_has_no_tags_and_no_traceback(tmp_path):
    path = tiff(tmp_path / "a.tif", (315, 2, None, "Kanarienvogel"))
    whole = path.read_bytes()
    for cut in range(0, len(whole), 97):
        path.write_bytes(whole[:cut])
        assert set(identifiers_left(path)) <= set(KINDS)
