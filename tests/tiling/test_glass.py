"""Tissue is the same on every scanner's glass: bright or dim, even or not, beside what was never
scanned.
"""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pathoml.tiling.artefacts import artefact_masks
from pathoml.tiling.glass import (
    GLASS_LEVEL,
    find_glass,
    is_bright_on_dark,
    never_scanned,
    on_even_glass,
)
from pathoml.tiling.tissue import tissue_mask

UM_PER_PX = 8.0
HEIGHT, WIDTH = 300, 400
EOSIN, HAEMATOXYLIN = np.array([0.07, 0.99, 0.11]), np.array([0.65, 0.70, 0.29])
Y, X = np.mgrid[0:HEIGHT, 0:WIDTH]
SECTION = ((Y - 150) / 90) ** 2 + ((X - 200) / 120) ** 2 < 1


def transmittance(seed: int = 1, strength: float = 1.0) -> np.ndarray:
    """Return (H, W, 3) the light that a section with nuclei lets through."""
    rng = np.random.default_rng(seed)
    cells = np.zeros((HEIGHT, WIDTH), np.float32)
    cells[rng.integers(0, HEIGHT, 3000), rng.integers(0, WIDTH, 3000)] = 1
    cells = np.clip(cv2.GaussianBlur(cells, (0, 0), 0.8) * 2.5, 0, 1)
    stroma = cv2.resize(rng.uniform(0.2, 0.45, (30, 40)).astype(np.float32), (WIDTH, HEIGHT))
    density = cells[..., None] * HAEMATOXYLIN * 0.5 + stroma[..., None] * EOSIN
    return np.where(SECTION[..., None], 10 ** -(density * strength), 1.0)


def falling(kind: str) -> np.ndarray:
    """Return (H, W) how much of the light is left, a fifth less at the far end."""
    away = ((X - 200) ** 2 + (Y - 150) ** 2) / (200**2 + 150**2)
    return {"even": np.ones_like(away), "corners": 1 - 0.2 * away, "side": 1 - 0.2 * X / WIDTH}[
        kind
    ]


def scanned(glass, kind: str = "even", *, seed: int = 1, strength: float = 1.0) -> np.ndarray:
    light = transmittance(seed, strength) * np.asarray(glass) * falling(kind)[..., None]
    noise = np.random.default_rng(2).normal(0, 0.4, light.shape)
    return np.clip(np.rint(light + noise), 0, 255).astype(np.uint8)


def tissue_of(image: np.ndarray) -> np.ndarray:
    glass = find_glass(image, UM_PER_PX)
    return tissue_mask(on_even_glass(image, glass), UM_PER_PX) & glass.is_scanned


def overlap(found: np.ndarray, truth: np.ndarray) -> float:
    return float((found & truth).sum() / (found | truth).sum())


@pytest.mark.parametrize("glass", [255, 243, 225, 200, 170, (240, 236, 215), (215, 225, 240)])
@pytest.mark.parametrize("kind", ["even", "corners", "side"])
def test_the_section_is_found_on_any_glass_and_where_the_light_falls_off(glass, kind):
    found = tissue_of(scanned(glass, kind))
    assert overlap(found, SECTION) > 0.9
    assert found.sum() == pytest.approx(SECTION.sum(), rel=0.1)


@pytest.mark.parametrize("never", [255, 0, 128, 240])
@pytest.mark.parametrize("glass", [252, 230, 175])
def test_what_was_never_scanned_is_no_glass_and_no_tissue(glass, never):
    image = scanned(glass, "corners")
    unscanned = (X >= 340) | (Y >= 250)
    image[unscanned] = never
    assert overlap(never_scanned(image, UM_PER_PX), unscanned) > 0.93
    assert overlap(tissue_of(image), SECTION & ~unscanned) > 0.9


def test_the_section_may_end_where_the_scan_ends():
    image, cut = scanned(230), X >= 200
    image[cut] = 255
    assert overlap(tissue_of(image), SECTION & ~cut) > 0.9


@pytest.mark.parametrize("colour", [255, 0])
def test_a_cut_out_that_is_no_rectangle_is_not_scanned_either(colour):
    image = scanned(230)
    outside = ((Y - 150) / 120) ** 2 + ((X - 200) / 160) ** 2 >= 1
    image[outside] = colour
    assert overlap(tissue_of(image), SECTION) > 0.9


def test_glass_that_the_scanner_made_white_all_over_is_glass():
    image = np.clip(transmittance() * 258, 0, 255).astype(np.uint8)
    assert find_glass(image, UM_PER_PX).is_scanned.all()
    assert overlap(tissue_of(image), SECTION) > 0.9


@pytest.mark.parametrize("glass", [243, 218, 182])
@pytest.mark.parametrize("kind", ["even", "corners"])
def test_a_flat_section_has_no_folds_bubbles_or_ink_whatever_its_glass(glass, kind):
    image = scanned(glass, kind)
    image[X >= 340] = 255
    lamp = find_glass(image, UM_PER_PX)
    even = on_even_glass(image, lamp)
    masks = artefact_masks(even, UM_PER_PX, tissue=tissue_mask(even, UM_PER_PX))
    flagged = {name: float(mask[SECTION].mean()) for name, mask in masks.items()}
    assert all(share < 0.03 for share in flagged.values())


@pytest.mark.parametrize("kind", ["even", "corners"])
@pytest.mark.parametrize("texture", ["cells", "smooth"])
def test_a_very_pale_section_is_found(kind, texture):
    density = -np.log10(transmittance()) if texture == "cells" else SECTION[..., None] * EOSIN
    density = density * 0.02 / density.mean(axis=2)[SECTION].mean()
    noise = np.random.default_rng(2).normal(0, 0.4, density.shape)
    light = 240 * falling(kind)[..., None] * 10**-density + noise
    found = tissue_of(np.clip(np.rint(light), 0, 255).astype(np.uint8))
    assert found[SECTION].mean() > 0.8
    assert not found[~cv2.dilate(SECTION.view(np.uint8), np.ones((15, 15))).astype(bool)].any()


@pytest.mark.parametrize("kind", ["even", "corners", "side"])
@pytest.mark.parametrize("glass", [252, 243, 190])
def test_empty_glass_has_no_tissue(glass, kind):
    noise = np.random.default_rng(3).normal(0, 1, (HEIGHT, WIDTH, 3))
    image = np.clip(glass * falling(kind)[..., None] + noise, 0, 255).astype(np.uint8)
    assert not tissue_of(image).any()


def test_a_picture_without_glass_is_all_tissue_and_says_so():
    inside = scanned(240)[110:190, 140:260]
    assert not find_glass(inside, UM_PER_PX).is_found
    assert tissue_of(inside).mean() > 0.95


def test_what_a_person_says_of_the_glass_wins():
    inside = scanned(180)[110:190, 140:260]
    lamp = find_glass(inside, UM_PER_PX, stated=180)
    assert lamp.level == (180, 180, 180)
    assert on_even_glass(np.full_like(inside, 180), lamp).min() == GLASS_LEVEL


@pytest.mark.parametrize("ground", [0, 12])
def test_fluorescence_is_told_from_a_section_beside_black(ground):
    cells = (255 * (1 - transmittance())).astype(np.uint8)
    cells[:, :, 1] = 0
    cells = np.maximum(cells, ground).astype(np.uint8)
    assert is_bright_on_dark(cells, find_glass(cells, UM_PER_PX))
    section = scanned(240)
    section[(X >= 280) | (X < 120) | (Y > 220)] = 0
    assert not is_bright_on_dark(section, find_glass(section, UM_PER_PX))
