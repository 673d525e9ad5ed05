"""Colours by the slide's ICC profile, on request, and the stain vectors of a slide."""

from __future__ import annotations

import numpy as np
import openslide
import pytest
from PIL import ImageCms

from pathoml.errors import SlideError
from pathoml.slides.colour import SrgbReader, open_in_colour
from pathoml.slides.readers.plain_image import PlainImageReader
from pathoml.slides.stains import stain_vectors

WITH_PROFILE = ["CMU-1-Small-Region_dicom", "tcga-cr-7395-01a-01-ts1.svs"]
HAEMATOXYLIN, EOSIN = (
    np.array([0.65, 0.70, 0.29]),
    np.array([0.07, 0.99, 0.11]),
)  # Ruifrok & Johnston 2001


@pytest.mark.parametrize("name", WITH_PROFILE)
def test_on_request_pixels_are_those_that_littlecms_makes_of_the_slides_profile(shared_data, name):
    path = shared_data / "wsi" / name
    entry = max(path.glob("*.dcm"), key=lambda p: p.stat().st_size) if path.is_dir() else path
    with openslide.OpenSlide(entry) as slide:
        raw = slide.read_region((500, 700), 0, (256, 256)).convert("RGB")
        expected = ImageCms.profileToProfile(
            raw, slide.color_profile, ImageCms.createProfile("sRGB")
        )
    with (
        open_in_colour(path, "S", icc=True) as managed,
        open_in_colour(path, "S", icc=False) as plain,
    ):
        assert (
            np.abs(
                managed.read_region((500, 700), 0, (256, 256)).astype(int)
                - np.asarray(expected).astype(int)
            ).max()
            <= 1
        )
        assert np.array_equal(plain.read_region((500, 700), 0, (256, 256)), np.asarray(raw))
        assert (managed.size_l0, managed.stated_mpp, managed.level_downsamples, managed.vendor) == (
            plain.size_l0,
            plain.stated_mpp,
            plain.level_downsamples,
            plain.vendor,
        )


def test_a_slide_without_a_profile_keeps_its_pixels(shared_data):
    path = shared_data / "wsi" / "CMU-1-Small-Region.svs"
    with openslide.OpenSlide(path) as slide:
        assert slide.color_profile is None
        expected = np.asarray(slide.read_region((100, 100), 0, (64, 64)))[..., :3]
    with open_in_colour(path, "S", icc=True) as reader:
        assert np.array_equal(reader.read_region((100, 100), 0, (64, 64)), expected)


@pytest.mark.parametrize(
    "profile",
    [b"no profile at all", ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()],
)
def test_a_profile_that_is_damaged_or_of_other_pixels_is_refused(profile):
    reader = PlainImageReader(np.zeros((32, 32, 3), np.uint8), (0.5, 0.5))
    with pytest.raises(SlideError, match="Slide S7 carries an ICC profile that cannot be used"):
        SrgbReader(reader, profile, "S7")


def test_known_stains_are_found_whatever_their_amounts():
    rng = np.random.default_rng(3)
    amount = rng.gamma(2.0, 0.35, (200, 200, 2)) * (
        rng.random((200, 200, 2)) < 0.75
    )  # some pixels carry one stain only
    stains = np.stack([HAEMATOXYLIN, EOSIN]) / np.linalg.norm(
        [HAEMATOXYLIN, EOSIN], axis=1, keepdims=True
    )
    image = np.clip(240 * np.exp(-amount @ stains) - 1, 0, 255).round().astype(np.uint8)
    found = stain_vectors(image, np.ones((200, 200), bool))
    degrees = np.degrees(np.arccos(np.clip((found * stains).sum(axis=1), -1, 1)))
    assert degrees.max() < 6, degrees


def test_glass_has_no_stain():
    assert stain_vectors(np.full((100, 100, 3), 241, np.uint8), np.ones((100, 100), bool)) is None
