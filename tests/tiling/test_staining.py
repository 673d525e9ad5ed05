"""Other stains are told by slides.csv or by their colours, and are not taken for ink or bubbles."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pathoml.tiling.artefacts import artefact_masks
from pathoml.tiling.staining import HE, seen_staining, stated_staining

UM_PER_PX = 8.0
NUCLEI = np.array([0.65, 0.70, 0.29])
STAINS = {
    "eosin": (0.07, 0.99, 0.11),
    "aniline blue": (0.85, 0.50, 0.12),
    "light green": (0.80, 0.25, 0.55),
    "DAB": (0.27, 0.57, 0.78),
}


def section(stain: str) -> np.ndarray:
    """Return a picture full of tissue with nuclei, as even as tissue is."""
    rng = np.random.default_rng(1)
    cells = np.zeros((200, 200), np.float32)
    cells[rng.integers(0, 200, 2500), rng.integers(0, 200, 2500)] = 1
    cells = np.clip(cv2.GaussianBlur(cells, (0, 0), 0.8) * 2.5, 0, 1)[..., None]
    rest = cv2.resize(rng.uniform(0.3, 0.8, (40, 40)).astype(np.float32), (200, 200))[..., None]
    density = cells * NUCLEI * 0.5 + rest * np.array(STAINS[stain])
    return np.rint(243 * 10**-density).astype(np.uint8)


def seen(image: np.ndarray) -> str:
    return seen_staining(image, np.ones(image.shape[:2], bool), glass_level=243).name


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        ("HE", "H&E"),
        ("H & E", "H&E"),
        ("Hematoxylin and eosin", "H&E"),
        ("HES", "H&E"),
        ("Masson trichrome", "trichrome"),
        ("AZAN", "trichrome"),
        ("CD31", "IHC"),
        ("IHC Ki-67", "IHC"),
        ("PAS-D", "PAS"),
        ("Alcian blue", "Alcian blue"),
        ("Toluidine blue", "toluidine blue"),
        ("reticulin", "reticulin"),
    ],
)
def test_a_stain_is_understood_as_hospitals_write_it(cell, name):
    assert stated_staining(cell).name == name
    assert stated_staining(cell).is_stated


@pytest.mark.parametrize("cell", ["", "NA", "unknown"])
def test_a_cell_that_says_nothing_leaves_it_to_the_colours(cell):
    assert stated_staining(cell) is None


def test_collagen_of_a_trichrome_is_pen_only_where_the_stain_is_called_he():
    image = section("aniline blue")
    tissue = np.ones(image.shape[:2], bool)
    as_he = artefact_masks(image, UM_PER_PX, tissue=tissue, staining=stated_staining("H&E"))
    as_is = artefact_masks(image, UM_PER_PX, tissue=tissue, staining=stated_staining("Masson"))
    assert as_he["pen"].mean() > 0.5
    assert not as_is["pen"].any()


@pytest.mark.parametrize(
    ("stain", "name"),
    [("eosin", "H&E"), ("aniline blue", "not H&E"), ("light green", "not H&E"), ("DAB", "IHC")],
)
def test_a_stain_that_nobody_stated_is_told_by_its_colours(stain, name):
    assert seen(section(stain)) == name


@pytest.mark.parametrize("ink", [(30, 140, 60), (40, 60, 170)])
@pytest.mark.parametrize("share", [0.2, 0.6])
def test_ink_over_he_is_no_stain_however_much_there_is(ink, share):
    image = section("eosin")
    rows = slice(0, round(200 * share))
    image[rows] = (0.15 * image[rows] + 0.85 * np.array(ink)).astype(np.uint8)
    assert seen(image) == HE.name
    masks = artefact_masks(image, UM_PER_PX, tissue=np.ones(image.shape[:2], bool))
    assert masks["pen"][rows].mean() > 0.9


def test_a_line_tells_no_stain():
    image = np.full((200, 200, 3), 243, np.uint8)
    cv2.line(image, (10, 20), (190, 150), (60, 70, 160), 3)
    assert seen(image) == HE.name


def test_green_ink_is_still_seen_beside_dab():
    image = section("DAB")
    cv2.line(image, (0, 60), (199, 140), (30, 140, 60), 20)
    masks = artefact_masks(image, UM_PER_PX, staining=stated_staining("IHC"))
    assert masks["pen"][100, 95:105].all()
    assert masks["pen"].mean() < 0.25
