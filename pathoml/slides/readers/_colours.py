"""Samples of a picture as 8-bit RGB on white: CMYK, CIELAB, YCbCr, palettes, grey, 16 bits, alpha.

Sources: TIFF 6.0, sections 5, 6, 16, 18, 21 and 23; the ICC's LittleCMS for CIELAB and for CMYK
with a profile; ITU-R BT.601 for YCbCr without its own coefficients.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL import ImageCms

from pathoml.types import Floats, Image

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, CIELAB, ICCLAB = 0, 1, 2, 3, 5, 6, 8, 9
SAMPLES = {
    WHITE_IS_ZERO: 1,
    BLACK_IS_ZERO: 1,
    RGB: 3,
    PALETTE: 1,
    CMYK: 4,
    YCBCR: 3,
    CIELAB: 3,
    ICCLAB: 3,
}  # of each photometric interpretation, without alpha
UNKNOWN_EXTRA, PREMULTIPLIED = 0, 1  # what TIFF's ExtraSamples says of alpha
LUMA = (0.299, 0.587, 0.114)  # BT.601
ROWS = 512  # converted at once, so that memory stays flat
D50_KELVIN = 5000  # white of CIELAB in TIFF and ICC


@dataclass(frozen=True, kw_only=True)
class Samples:
    """A picture as it lies in its file: (H, W, S) numbers and what they mean."""

    values: npt.NDArray[Any]  # (H, W, S) 8 or 16 bits
    photometric: int  # TIFF's code
    extras: tuple[int, ...] = ()  # TIFF's ExtraSamples of those beyond the colours
    icc_profile: bytes | None = None
    colormap: npt.NDArray[np.uint16] | None = None  # (3, colours) of a palette
    luma: tuple[float, ...] = LUMA  # of YCbCr
    black_white: tuple[float, ...] = (0, 255, 128, 255, 128, 255)  # of YCbCr


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture as every reader gives it."""

    rgb: Image  # (H, W, 3)
    icc_profile: bytes | None  # of these RGB values, if they still have one
    notes: tuple[str, ...]  # what was done, for people


def as_rgb(samples: Samples) -> Picture:
    """Return a picture in 8-bit RGB on white glass.

    Raises:
        ValueError: numbers that are no colours; says which.
    """
    notes: list[str] = []
    values, colours = samples.values, SAMPLES.get(samples.photometric)
    if colours is None:
        raise ValueError(f"its colours are of photometric interpretation {samples.photometric}")
    beyond = values.shape[2] - colours
    if beyond not in (0, 1):
        raise ValueError(f"{values.shape[2]} samples a pixel are no colours: channels of their own")
    if samples.photometric == PALETTE:
        values = _looked_up(values, samples.colormap)
    else:
        values, bits = eight_bits(values)
        if bits not in (8, 16):
            notes.append(f"its numbers fill {bits} of 16 bits, and were taken as such")
    alpha = values[:, :, -1:] if beyond else None
    if alpha is not None and samples.extras[:1] == (UNKNOWN_EXTRA,) and not alpha.any():
        alpha = None  # a fourth sample that nobody filled in
    values = values[:, :, : values.shape[2] - beyond]
    convert, profile = _conversion(samples)
    if samples.photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO):
        notes.append("it is grey: colours are not to be had")
    premultiplied = samples.extras[:1] == (PREMULTIPLIED,)
    rgb = np.empty((*values.shape[:2], 3), np.uint8)
    for top in range(0, len(rgb), ROWS):
        rows = slice(top, top + ROWS)
        part = convert(np.ascontiguousarray(values[rows]))
        if alpha is not None:
            part = over_white(part, alpha[rows], premultiplied=premultiplied)
        rgb[rows] = part
    return Picture(rgb=rgb, icc_profile=profile, notes=tuple(notes))


def eight_bits(values: npt.NDArray[Any]) -> tuple[Image, int]:
    """Return samples as 8 bits, and how many bits they filled: cameras give 10, 12 or 14 of 16.

    Raises:
        ValueError: signed, of 32 bits, or fractions.

    >>> eight_bits(np.array([[0, 4095]], np.uint16))
    (array([[  0, 255]], dtype=uint8), 12)
    """
    if values.dtype == np.uint8:
        return values, 8
    if values.dtype != np.uint16:
        raise ValueError(f"{values.dtype} is not 8-bit or 16-bit")
    most = int(values.max(initial=0)).bit_length()
    bits = max(8, most + most % 2)
    return (values >> np.uint16(bits - 8)).astype(np.uint8), bits


def over_white(rgb: Image, alpha: Image, *, premultiplied: bool) -> Image:
    """Return (H, W, 3) colours on white glass where (H, W, 1) `alpha` lets it through.

    >>> black = np.zeros((1, 1, 3), np.uint8)
    >>> over_white(black, np.full((1, 1, 1), 51, np.uint8), premultiplied=False).tolist()
    [[[204, 204, 204]]]
    """
    if (alpha == 255).all():
        return rgb
    share = alpha.astype(np.float32) / 255
    light = rgb.astype(np.float32) * (1 if premultiplied else share) + 255 * (1 - share)
    return np.clip(np.rint(light), 0, 255).astype(np.uint8)


def profile_space(profile: bytes | None) -> str:
    """Return the colours that an ICC profile is of: "RGB", "CMYK", "GRAY"; nothing without one."""
    return profile[16:20].decode("ascii", "replace").strip() if profile else ""


def _conversion(samples: Samples) -> tuple[Callable[[Image], Image], bytes | None]:
    """Return what makes (H, W, 3) RGB of the colours' 8-bit samples, and its profile."""
    kind, profile = samples.photometric, samples.icc_profile
    if kind == WHITE_IS_ZERO:
        return lambda part: np.repeat(255 - part, 3, axis=2), None
    if kind == BLACK_IS_ZERO:
        return lambda part: np.repeat(part, 3, axis=2), None
    if kind == CMYK:
        return (_by_profile(profile) if profile_space(profile) == "CMYK" else _of_inks), None
    if kind in (CIELAB, ICCLAB):
        return _of_lab(signed=kind == CIELAB), None
    if kind == YCBCR:
        return _of_luma(samples.luma, samples.black_white), profile
    return lambda part: part, profile


def _looked_up(
    values: npt.NDArray[Any], colormap: npt.NDArray[np.uint16] | None
) -> npt.NDArray[Any]:
    if colormap is None or int(values[:, :, 0].max(initial=0)) >= colormap.shape[1]:
        raise ValueError("a palette that lacks colours")
    colours = (colormap >> np.uint16(8)).astype(np.uint8).T  # (colours, 3)
    return np.concatenate([colours[values[:, :, 0]], values[:, :, 1:].astype(np.uint8)], axis=2)


def _of_inks(part: Image) -> Image:
    light = 255 - part.astype(np.uint16)  # what each ink lets through
    return ((light[:, :, :3] * light[:, :, 3:] + 127) // 255).astype(np.uint8)


def _by_profile(profile: bytes | None) -> Callable[[Image], Image]:
    try:
        change = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile or b"")),
            ImageCms.createProfile("sRGB"),
            "CMYK",
            "RGB",
        )
    except (OSError, ImageCms.PyCMSError):
        return _of_inks
    return lambda part: _changed(part, "CMYK", change)


def _of_lab(*, signed: bool) -> Callable[[Image], Image]:
    change = ImageCms.buildTransform(
        ImageCms.createProfile("LAB", D50_KELVIN), ImageCms.createProfile("sRGB"), "LAB", "RGB"
    )
    flip = np.array([0, 0, 0] if signed else [0, 128, 128], np.uint8)  # Pillow takes signed a and b
    return lambda part: _changed(part ^ flip, "LAB", change)


def _changed(part: Image, mode: str, change: ImageCms.ImageCmsTransform) -> Image:
    height, width = part.shape[:2]
    picture = PIL.Image.frombytes(mode, (width, height), np.ascontiguousarray(part).tobytes())
    return np.asarray(ImageCms.applyTransform(picture, change), np.uint8)


def _of_luma(luma: tuple[float, ...], black_white: tuple[float, ...]) -> Callable[[Image], Image]:
    """TIFF 6.0, section 21: from coded values to full range, then to red, green and blue."""
    red, green, blue = luma
    y0, y1, b0, b1, r0, r1 = black_white
    full = np.array([255 / (y1 - y0), 127 / (b1 - b0), 127 / (r1 - r0)])
    to_rgb: Floats = np.array(
        [
            [1, 0, 2 - 2 * red],
            [1, -(2 - 2 * blue) * blue / green, -(2 - 2 * red) * red / green],
            [1, 2 - 2 * blue, 0],
        ]
    )
    matrix = to_rgb * full
    offset = -matrix @ np.array([y0, b0, r0])
    change = np.column_stack([matrix, offset])
    return lambda part: np.asarray(
        np.clip(np.rint(cv2.transform(part.astype(np.float32), change)), 0, 255), np.uint8
    )
