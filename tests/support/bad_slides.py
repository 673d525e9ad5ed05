"""Sixty-four kinds of bad slides, made from one good pyramid: what archives, networks, scanners and
strangers do to files.
"""

from __future__ import annotations

import gzip
import io
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image
import tifffile

FAILS, TILES = "fails", "tiles"  # the slide gets a row in failures.csv, or tiles
Write = Callable[[Path, bytes], object]  # where, and the bytes of a good slide
SHORT, LONG = 3, 4  # TIFF types of 2 and 4 bytes


def tag(content: bytes, name: str, value: int, *, page: int = 0, item: int | None = None) -> bytes:
    """Return the TIFF with a number of a tag replaced: its value, or the item of a list."""
    with tifffile.TiffFile(_memory(content)) as file:
        found = file.pages[page].tags[name]
        width, code = (2, "H") if found.dtype == SHORT else (4, "I")
        place = found.valueoffset + width * (item or 0)
    changed = bytearray(content)
    struct.pack_into("<" + code, changed, place, value)
    return bytes(changed)


def long_tag(content: bytes, name: str, value: int) -> bytes:
    """Return the TIFF with a tag of its first page as one 4-byte number."""
    with tifffile.TiffFile(_memory(content)) as file:
        place = file.pages.first.tags[name].offset
    changed = bytearray(content)
    struct.pack_into("<HII", changed, place + 2, LONG, 1, value)
    return bytes(changed)


def resolution(content: bytes, axis: str, numerator: int, denominator: int) -> bytes:
    """Return the TIFF with XResolution or YResolution replaced on its first page."""
    with tifffile.TiffFile(_memory(content)) as file:
        place = file.pages.first.tags[f"{axis}Resolution"].valueoffset
    changed = bytearray(content)
    struct.pack_into("<II", changed, place, numerator, denominator)
    return bytes(changed)


def both(content: bytes, numerator: int, denominator: int = 1) -> bytes:
    return resolution(resolution(content, "X", numerator, denominator), "Y", numerator, denominator)


def tiles_of(content: bytes) -> list[tuple[int, int]]:
    """Return (offset, bytes) of the tiles of the first page."""
    with tifffile.TiffFile(_memory(content)) as file:
        page = file.pages.first
        return list(zip(page.dataoffsets, page.databytecounts))


def with_tiles(
    content: bytes, indices: range | list[int], change: Callable[[bytes], bytes]
) -> bytes:
    """Return the TIFF with the data of some tiles changed, length kept."""
    changed, places = bytearray(content), tiles_of(content)
    for index in indices:
        offset, count = places[index]
        changed[offset : offset + count] = change(bytes(changed[offset : offset + count]))[
            :count
        ].ljust(count, b"\0")
    return bytes(changed)


def swapped(content: bytes) -> bytes:
    """Return the TIFF with the offsets and lengths of its two middle tiles exchanged."""
    places = tiles_of(content)
    a, b = len(places) // 2, len(places) // 2 + 1
    for one, other in ((a, b), (b, a)):
        content = tag(content, "TileOffsets", places[other][0], item=one)
        content = tag(content, "TileByteCounts", places[other][1], item=one)
    return content


def header(content: bytes, place: int, code: str, value: int) -> bytes:
    changed = bytearray(content)
    struct.pack_into("<" + code, changed, place, value)
    return bytes(changed)


def next_page(content: bytes, value: int) -> bytes:
    """Return the TIFF whose first page names another next page."""
    first = struct.unpack_from("<I", content, 4)[0]
    count = struct.unpack_from("<H", content, first)[0]
    return header(content, first + 2 + 12 * count, "I", value)


def flipped_bit(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :]


def broken_marker(data: bytes) -> bytes:
    return b"\xff\xd8\xff\xc4\x00\x00" + data[6:]


def _memory(content: bytes) -> io.BytesIO:
    return io.BytesIO(content)


def _written(change: Callable[[bytes], bytes]) -> Write:
    return lambda path, good: path.write_bytes(change(good))


def _picture(kind: str) -> Write:
    return lambda path, _: PIL.Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(path, kind)


def _mrxs(folder: bool, ini: bytes | None = None) -> Write:
    def write(path: Path, good: bytes) -> None:
        path.write_bytes(good[:2000])
        if folder:
            path.with_suffix("").mkdir()
        if ini is not None:
            (path.with_suffix("") / "Slidedat.ini").write_bytes(ini)

    return write


def _folder(files: dict[str, bytes]) -> Write:
    def write(path: Path, _: bytes) -> None:
        path.mkdir()
        for name, content in files.items():
            (path / name).write_bytes(content)

    return write


def _zipped(path: Path, good: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("slide.tiff", good)


def _special(make: Callable[[Path], object]) -> Write:
    return lambda path, _: make(path)


def _grey(path: Path, _: bytes) -> None:
    tifffile.imwrite(path, np.full((1024, 1024), 20_000, np.uint16), tile=(256, 256))


def _blank(path: Path, _: bytes) -> None:
    tifffile.imwrite(
        path,
        np.full((2048, 2048, 3), 243, np.uint8),
        tile=(256, 256),
        resolution=(2e4, 2e4),
        resolutionunit=3,
    )


DICOM = b"\0" * 128 + b"DICM"
KINDS: dict[str, tuple[str, Write, str]] = {
    # what a copy leaves behind
    "missing.svs": (FAILS, lambda *_: None, "is missing"),
    "empty.svs": (FAILS, _written(lambda _: b""), "empty file"),
    "one-byte.svs": (FAILS, _written(lambda g: g[:1]), ""),
    "magic-only.tiff": (FAILS, _written(lambda g: g[:8]), ""),
    "cut-in-header.tiff": (FAILS, _written(lambda g: g[:100]), ""),
    "cut-at-quarter.tiff": (FAILS, _written(lambda g: g[: len(g) // 4]), ""),
    "cut-at-half.tiff": (FAILS, _written(lambda g: g[: len(g) // 2]), ""),
    "cut-near-the-end.tiff": (
        TILES,
        _written(lambda g: g[:-4000]),
        "",
    ),  # its last level is lost, not its first
    "zeros.svs": (FAILS, _written(lambda g: b"\0" * len(g)), ""),
    "random.svs": (FAILS, _written(lambda g: np.random.default_rng(1).bytes(len(g))), ""),
    "first-block-lost.tiff": (FAILS, _written(lambda g: b"\0" * 4096 + g[4096:]), ""),
    "text-mode.tiff": (FAILS, _written(lambda g: g.replace(b"\n", b"\r\n")), ""),
    "broken-link.svs": (FAILS, _special(lambda p: p.symlink_to("nowhere")), "missing"),
    "link-to-itself.svs": (FAILS, _special(lambda p: p.symlink_to(p.name)), ""),
    # other things under a slide's name
    "text.svs": (FAILS, _written(lambda _: b"please see the other drive\n"), ""),
    "web-page.svs": (FAILS, _written(lambda _: b"<!doctype html><title>403 Forbidden</title>"), ""),
    "png.svs": (FAILS, _picture("PNG"), ""),
    "jpeg.svs": (FAILS, _picture("JPEG"), ""),
    "zip.tiff": (FAILS, _zipped, ""),
    "gzip.svs": (FAILS, _written(lambda g: gzip.compress(g, 1)), ""),
    "pdf.tiff": (FAILS, _written(lambda g: b"%PDF-1.7\n" + g[:500]), ""),
    "bare-png-without-scale.png": (FAILS, _picture("PNG"), "micrometres per pixel"),
    "grey-16-bit.tiff": (FAILS, _grey, ""),
    "blank-glass.tiff": (FAILS, _blank, "no tile"),
    # folders and special files
    "folder.svs": (FAILS, _folder({}), ""),
    "folder-of-text.svs": (FAILS, _folder({"a.txt": b"x"}), ""),
    "dicom-empty": (FAILS, _folder({}), ""),
    "dicom-magic-only": (FAILS, _folder({"a.dcm": DICOM}), ""),
    "dicom-of-noise": (FAILS, _folder({"a.dcm": DICOM + np.random.default_rng(2).bytes(5000)}), ""),
    "mrxs-without-folder.mrxs": (FAILS, _mrxs(folder=False), ""),
    "mrxs-empty-folder.mrxs": (FAILS, _mrxs(folder=True), ""),
    "mrxs-cut-ini.mrxs": (FAILS, _mrxs(folder=True, ini=b"[GENERAL]\nSLIDE_ID = 1\nIMAGENUM"), ""),
    "vms-without-images.vms": (
        FAILS,
        _written(lambda _: b"[Virtual Microscope Specimen]\nNoLayers=1\nNoJpegColumns=1\n"),
        "",
    ),
    "pipe.svs": (FAILS, _special(os.mkfifo), "neither a file nor a folder"),
    "null-device.svs": (FAILS, _special(lambda p: p.symlink_to("/dev/null")), ""),
    # headers
    "first-page-outside.tiff": (FAILS, _written(lambda g: header(g, 4, "I", len(g) + 1000)), ""),
    "no-first-page.tiff": (FAILS, _written(lambda g: header(g, 4, "I", 0)), ""),
    "pages-in-a-circle.tiff": (
        TILES,
        _written(lambda g: next_page(g, struct.unpack_from("<I", g, 4)[0])),
        "",
    ),
    "next-page-outside.tiff": (TILES, _written(lambda g: next_page(g, len(g) + 9999)), ""),
    "bigtiff-by-name.tiff": (FAILS, _written(lambda g: header(g, 2, "H", 43)), ""),
    "unknown-version.tiff": (FAILS, _written(lambda g: header(g, 2, "H", 44)), ""),
    "other-byte-order.tiff": (FAILS, _written(lambda g: b"MM" + g[2:]), ""),
    "width-zero.tiff": (FAILS, _written(lambda g: tag(g, "ImageWidth", 0)), ""),
    "width-huge.tiff": (FAILS, _written(lambda g: tag(g, "ImageWidth", 60_000)), ""),
    "tile-width-zero.tiff": (FAILS, _written(lambda g: tag(g, "TileWidth", 0)), ""),
    "tile-length-zero.tiff": (FAILS, _written(lambda g: tag(g, "TileLength", 0)), ""),
    "tiles-of-a-million.tiff": (
        FAILS,
        _written(lambda g: long_tag(long_tag(g, "TileWidth", 2**20), "TileLength", 2**20)),
        "aborts",
    ),
    "sixteen-bits-claimed.tiff": (FAILS, _written(lambda g: tag(g, "BitsPerSample", 16)), ""),
    "compression-unknown.tiff": (FAILS, _written(lambda g: tag(g, "Compression", 65_000)), ""),
    "compression-lzw-claimed.tiff": (FAILS, _written(lambda g: tag(g, "Compression", 5)), ""),
    "photometric-unknown.tiff": (
        FAILS,
        _written(lambda g: tag(g, "PhotometricInterpretation", 99)),
        "",
    ),
    # tiles
    "offsets-outside.tiff": (
        FAILS,
        _written(lambda g: _every(g, "TileOffsets", lambda *_: len(g) + 10)),
        "",
    ),
    "lengths-zero.tiff": (FAILS, _written(lambda g: _every(g, "TileByteCounts", lambda *_: 0)), ""),
    "lengths-huge.tiff": (
        FAILS,
        _written(lambda g: _every(g, "TileByteCounts", lambda *_: 2**31)),
        "",
    ),
    "all-tiles-zeroed.tiff": (
        FAILS,
        _written(lambda g: with_tiles(g, range(len(tiles_of(g))), lambda _: b"\0")),
        "",
    ),
    "all-markers-broken.tiff": (
        FAILS,
        _written(lambda g: with_tiles(g, range(len(tiles_of(g))), broken_marker)),
        "",
    ),
    "one-tile-zeroed.tiff": (TILES, _written(lambda g: with_tiles(g, [27], lambda _: b"\0")), ""),
    "one-bit-flipped.tiff": (TILES, _written(lambda g: with_tiles(g, [27], flipped_bit)), ""),
    "two-tiles-swapped.tiff": (TILES, _written(swapped), ""),
    # scale
    "scale-zero.tiff": (FAILS, _written(lambda g: both(g, 0)), "micrometres per pixel"),
    "scale-499.tiff": (FAILS, _written(lambda g: both(g, 10_000, 499)), "499"),
    "scale-0.005.tiff": (FAILS, _written(lambda g: both(g, 2_000_000)), "0.005"),
    "scale-by-nothing.tiff": (
        FAILS,
        _written(lambda g: both(g, 20_000, 0)),
        "micrometres per pixel",
    ),
    "not-square.tiff": (FAILS, _written(lambda g: resolution(g, "X", 40_000, 1)), "not square"),
}


def _every(content: bytes, name: str, value: Callable[[int, int], int]) -> bytes:
    for item, (offset, count) in enumerate(tiles_of(content)):
        content = tag(content, name, value(offset, count), item=item)
    return content


def slide_id(name: str) -> str:
    return name.split(".")[0] if not name.startswith("scale-0.005") else "scale-0_005"


def write_bad_slides(folder: Path, good: Path) -> None:
    """Write one slide of every kind into the folder."""
    content = good.read_bytes()
    for name, (_, write, _) in KINDS.items():
        write(folder / name, content)


def corrupted(content: bytes, rng: np.random.Generator) -> bytes:
    """Return the bytes of a file after one random accident: flipped bits, a lost or doubled block,
    zeros, a cut, a number changed.
    """
    changed, n = bytearray(content), len(content)
    accident, where = (
        int(rng.integers(7)),
        int(n * rng.random() ** 2),
    )  # headers lie near the start, in most files
    length = int(min(n - where, 1 + rng.exponential(3000)))
    if accident == 0:
        for place in rng.integers(0, n, int(rng.integers(1, 60))):
            changed[place] ^= 1 << int(rng.integers(8))
    elif accident == 1:
        changed[where : where + length] = bytes(length)
    elif accident == 2:
        changed[where : where + length] = rng.bytes(length)
    elif accident == 3:
        del changed[where : where + length]
    elif accident == 4:
        changed[where:where] = changed[where : where + length]
    elif accident == 5:
        del changed[max(1, where) :]
    else:
        place = int(rng.integers(0, max(1, min(n - 4, 4000))))
        changed[place : place + 4] = struct.pack(
            "<I", int(rng.choice([0, 1, 2**31 - 1, 2**32 - 1, 2**20]))
        )
    return bytes(changed)
