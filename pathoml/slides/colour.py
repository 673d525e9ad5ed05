"""Colours as the scanner's ICC profile says them: pixels are converted to sRGB, on request
(`tiles.icc`).
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import PIL.Image
from PIL import ImageCms

from pathoml.errors import SlideError
from pathoml.slides import reading as slides
from pathoml.types import Image


def open_in_colour(path: Path, name: str, *, icc: bool) -> slides.SlideReader:
    """Open a slide; with `icc` its pixels are sRGB if it carries a profile. Without a profile they
    stay as they are.

    Raises:
        SlideError: as open_slide, or the profile is damaged, or not one of RGB pixels.
    """
    reader = slides.open_slide(path)
    profile = reader.icc_profile if icc else None
    if not profile:
        return reader
    try:
        return SrgbReader(reader, profile, name)
    except SlideError:
        reader.close()
        raise


class SrgbReader(slides.Reader):
    """A reader whose pixels go through the slide's profile to sRGB, by LittleCMS with perceptual
    intent.
    """

    def __init__(self, reader: slides.SlideReader, profile: bytes, name: str) -> None:
        self._reader = reader
        self.size_l0, self.stated_mpp = reader.size_l0, reader.stated_mpp
        self.level_downsamples, self.vendor = reader.level_downsamples, reader.vendor
        self.bounds_l0 = reader.bounds_l0
        self.notes = tuple(getattr(reader, "notes", ()))
        try:
            slide = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            self._transform = ImageCms.buildTransform(
                slide, ImageCms.createProfile("sRGB"), "RGB", "RGB"
            )
        except (OSError, ImageCms.PyCMSError) as error:
            raise SlideError(
                f"Slide {name} carries an ICC profile that cannot be used ({error}). Set tiles.icc "
                "to false, or leave it out."
            ) from error

    def read_region(self, xy_l0: tuple[int, int], level: int, size_px: tuple[int, int]) -> Image:
        picture = PIL.Image.fromarray(self._reader.read_region(xy_l0, level, size_px))
        ImageCms.applyTransform(picture, self._transform, inPlace=True)
        return np.asarray(picture)

    def close(self) -> None:
        self._reader.close()
