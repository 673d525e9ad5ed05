"""DICOM whole-slide images, written element by element as PS3.5 says, uncompressed."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

MICROSCOPY = "1.2.840.10008.5.1.4.1.1.77.1.6"
EXPLICIT = "1.2.840.10008.1.2.1"
LONG = ("OB", "OW", "SQ", "UT", "UC")
VOLUME = "ORIGINAL\\PRIMARY\\VOLUME\\NONE"


def element(
    tag: tuple[int, int], kind: str, value: str | bytes, *, size: int | None = None
) -> bytes:
    if isinstance(value, str):
        value = value.encode() + (b"\0" if kind == "UI" else b" ") * (len(value) % 2)
    length = len(value) if size is None else size
    head = struct.pack("<HH", *tag) + kind.encode()
    return head + (
        b"\0\0" + struct.pack("<I", length) if kind in LONG else struct.pack("<H", length)
    ) + value  # fmt: skip


def short(tag: tuple[int, int], value: int) -> bytes:
    return element(tag, "US", struct.pack("<H", value))


def sequence(tag: tuple[int, int], item: bytes, *, undefined: bool = False) -> bytes:
    if undefined:
        ends = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
        start = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
        return element(tag, "SQ", start + item + ends, size=0xFFFFFFFF)
    return element(tag, "SQ", struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item)


def frames_of(picture: np.ndarray, side: int) -> list[bytes]:
    found = []
    for y in range(0, picture.shape[0], side):
        for x in range(0, picture.shape[1], side):
            frame = np.full((side, side, 3), 255, np.uint8)
            part = picture[y : y + side, x : x + side]
            frame[: part.shape[0], : part.shape[1]] = part
            found.append(frame.tobytes())
    return found


def write_dicom(
    path: Path,
    picture: np.ndarray,
    *,
    series: str = "1.2.3.10",
    number: int = 1,
    um: float = 0.5,
    shows: str = VOLUME,
    kind: str = MICROSCOPY,
    patient: dict[tuple[int, int], tuple[str, str]] | None = None,
    specimen: str = "",
    undefined: bool = False,
) -> Path:
    """Write a level, label or overview of a slide.

    Args:
        patient: tag -> (value representation, value) of further elements.
        specimen: an identifier in a sequence, of undefined length or not.
    """
    height, width, side = *picture.shape[:2], 256
    frames = frames_of(picture, side)
    mm = f"{um / 1000:g}"
    spacing = sequence((0x28, 0x9110), element((0x28, 0x30), "DS", f"{mm}\\{mm}"))
    elements: dict[tuple[int, int], bytes] = {
        (8, 8): element((8, 8), "CS", shows),
        (8, 0x16): element((8, 0x16), "UI", kind),
        (8, 0x18): element((8, 0x18), "UI", f"{series}.{number}"),
        (8, 0x60): element((8, 0x60), "CS", "SM"),
        (0x20, 0xD): element((0x20, 0xD), "UI", "1.2.3"),
        (0x20, 0xE): element((0x20, 0xE), "UI", series),
        (0x20, 0x52): element((0x20, 0x52), "UI", "1.2.3.9"),
        (0x20, 0x9311): element((0x20, 0x9311), "CS", "TILED_FULL"),
        (0x28, 2): short((0x28, 2), 3),
        (0x28, 4): element((0x28, 4), "CS", "RGB"),
        (0x28, 6): short((0x28, 6), 0),
        (0x28, 8): element((0x28, 8), "IS", str(len(frames))),
        (0x28, 0x10): short((0x28, 0x10), side),
        (0x28, 0x11): short((0x28, 0x11), side),
        (0x28, 0x100): short((0x28, 0x100), 8),
        (0x28, 0x101): short((0x28, 0x101), 8),
        (0x28, 0x102): short((0x28, 0x102), 7),
        (0x28, 0x103): short((0x28, 0x103), 0),
        (0x48, 6): element((0x48, 6), "UL", struct.pack("<I", width)),
        (0x48, 7): element((0x48, 7), "UL", struct.pack("<I", height)),
        (0x48, 0x10): element((0x48, 0x10), "CS", "NO"),
        (0x5200, 0x9229): sequence((0x5200, 0x9229), spacing),
        (0x7FE0, 0x10): element((0x7FE0, 0x10), "OB", b"".join(frames)),
    }
    elements |= {tag: element(tag, *said) for tag, said in (patient or {}).items()}
    if specimen:
        inner = element((0x40, 0x551), "LO", specimen)
        elements[(0x40, 0x560)] = sequence((0x40, 0x560), inner, undefined=undefined)
    meta = element((2, 1), "OB", b"\0\1") + element((2, 2), "UI", kind)
    meta += element((2, 3), "UI", f"{series}.{number}") + element((2, 0x10), "UI", EXPLICIT)
    meta += element((2, 0x12), "UI", "1.2.3.4")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        b"\0" * 128
        + b"DICM"
        + element((2, 0), "UL", struct.pack("<I", len(meta)))
        + meta
        + b"".join(elements[tag] for tag in sorted(elements))
    )
    return path
