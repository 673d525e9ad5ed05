"""Tissue is what is denser than the slide's own glass: areas that were drawn are found, glass and
specks are not.
"""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pathoml.tiling.tissue import optical_density, tissue_mask

UM_PER_PX = 8.0
PINK, PALE = (225, 150, 190), (228, 214, 222)  # eosin; myxoid stroma
GLASS = (243, 242, 241)


def slide(
    colour: tuple[int, int, int] = PINK, glass: tuple[int, int, int] = GLASS
) -> tuple[np.ndarray, np.ndarray]:
    """(400, 500, 3) with a disc of tissue of 0.8 mm radius, and (400, 500) where it is."""
    rng = np.random.default_rng(1)
    image = np.full((400, 500, 3), glass, np.int16)
    disc = np.zeros((400, 500), np.uint8)
    cv2.circle(disc, (260, 190), 100, 1, -1)
    image[disc == 1] = colour
    return np.clip(image + rng.integers(-3, 4, image.shape), 0, 255).astype(np.uint8), disc.astype(
        bool
    )


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize(
    "colour", [PINK, PALE, (110, 70, 150)], ids=["eosin", "myxoid", "cellular"]
)
@pytest.mark.parametrize(
    "glass", [GLASS, (220, 214, 205), (255, 255, 255)], ids=["usual", "yellowish", "white"]
)
def test_tissue_that_was_drawn_is_found(colour, glass):
    image, disc = slide(tuple(min(c, g - 12) for c, g in zip(colour, glass)), glass)
    assert overlap(tissue_mask(image, UM_PER_PX), disc) > 0.93


def test_empty_glass_has_no_tissue():
    image, _ = slide(GLASS)
    assert not tissue_mask(image, UM_PER_PX).any()


def test_specks_of_dust_are_no_tissue():
    image, _ = slide(GLASS)
    for x, y in [(50, 50), (200, 300), (450, 100)]:
        cv2.circle(image, (x, y), 3, (60, 60, 60), -1)
    assert not tissue_mask(image, UM_PER_PX).any()


def test_vessels_are_filled_and_large_holes_are_not():
    image, _ = slide()
    cv2.circle(image, (220, 190), 8, GLASS, -1)  # 0.013 mm2
    cv2.circle(image, (300, 190), 35, GLASS, -1)  # 0.25 mm2
    mask = tissue_mask(image, UM_PER_PX)
    assert mask[190, 220]
    assert not mask[190, 300]


@pytest.mark.parametrize(
    ("tissue", "stain"),
    [
        ("ADI", 1.0),
        ("MUC", 1.0),
        ("MUC", 0.45),
        ("STR", 1.0),
        ("STR", 0.45),
        ("TUM", 1.0),
        ("TUM", 0.45),
    ],
)  # fat, mucus, stroma and tumour, as scanned and pale
def test_real_tissue_of_each_kind_is_found_whole_and_the_glass_around_it_is_not(
    shared_data, tissue, stain
):
    files = sorted((shared_data / "tiles" / "nct_crc").glob(f"{tissue}*"))
    tiles = [
        cv2.cvtColor(cv2.imread(str(f)), cv2.COLOR_BGR2RGB) for f in files
    ]  # 224 px at 0.5 micrometres
    rng = np.random.default_rng(0)
    section = np.vstack(
        [np.hstack([tiles[i] for i in rng.integers(len(tiles), size=10)]) for _ in range(10)]
    )
    image = np.pad(section, ((1120, 1120), (1120, 1120), (0, 0)), constant_values=243)
    image = cv2.resize(
        image, None, fx=1 / 16, fy=1 / 16, interpolation=cv2.INTER_AREA
    )  # 8 micrometres
    image = np.clip(255 - (255 - image.astype(float)) * stain, 0, 255).astype(np.uint8)
    mask = tissue_mask(image, UM_PER_PX)
    assert mask[72:208, 72:208].mean() > 0.98
    assert not mask[:60].any()


def test_glass_in_the_corners_of_a_small_slide_is_no_hole():
    image, _ = slide(PINK)
    image[:] = PINK
    for rows in (slice(0, 45), slice(-45, None)):
        for columns in (slice(0, 48), slice(-48, None)):
            image[rows, columns] = GLASS  # 0.14 mm2 each: a vessel of that size would be filled
    mask = tissue_mask(image, UM_PER_PX)
    assert not mask[:30, :30].any()
    assert not mask[-30:, -30:].any()
    assert mask[100:300].all()


def test_a_needle_biopsy_is_found():
    image, _ = slide(GLASS)
    image[100:300, 250:275] = PINK  # 0.2 x 1.6 mm
    assert tissue_mask(image, UM_PER_PX)[110:290, 255:270].all()


def test_the_area_does_not_depend_on_the_resolution_of_the_overview():
    image, _ = slide()
    coarse = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    fine_um2, coarse_um2 = (
        tissue_mask(image, UM_PER_PX).sum() * UM_PER_PX**2,
        tissue_mask(coarse, 2 * UM_PER_PX).sum() * (2 * UM_PER_PX) ** 2,
    )
    assert fine_um2 == pytest.approx(coarse_um2, rel=0.05)


def test_moving_the_tissue_moves_the_mask():
    image, _ = slide()
    moved = np.roll(image, (40, -60), axis=(0, 1))
    assert (
        overlap(
            tissue_mask(moved, UM_PER_PX),
            np.roll(tissue_mask(image, UM_PER_PX), (40, -60), axis=(0, 1)),
        )
        > 0.99
    )


def test_a_tenth_of_the_glass_light_is_one_unit_of_density():
    image = np.full((100, 100, 3), 250, np.uint8)
    image[0, 0] = 25
    assert optical_density(image)[0, 0] == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("name", ["no-tissue.png", "almost-white-1.png"])
def test_real_pictures_without_tissue_have_hardly_any(shared_data, name):
    image = cv2.cvtColor(cv2.imread(str(shared_data / "qc" / name)), cv2.COLOR_BGR2RGB)
    assert tissue_mask(image, UM_PER_PX).mean() < 0.05


def test_real_tissue_is_tissue(shared_data):
    image = cv2.cvtColor(
        cv2.imread(str(shared_data / "qc" / "tcga-lung-rgb.png")), cv2.COLOR_BGR2RGB
    )
    dark = (
        cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (0, 0), 4) < 190
    )  # no pathologist would call this glass
    assert tissue_mask(image, UM_PER_PX)[dark].mean() > 0.95
