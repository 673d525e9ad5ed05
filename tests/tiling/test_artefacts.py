"""Pen and black are flagged, stained tissue is not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pathoml.slides.reading import open_slide, read_overview
from pathoml.tiling.artefacts import artefact_masks, is_out_of_focus
from pathoml.tiling.tissue import tissue_mask

UM_PER_PX = 8.0
INKS = {"green": (30, 140, 60), "blue": (40, 60, 170), "red": (200, 20, 30)}


@pytest.fixture
def tissue(pink_tissue) -> np.ndarray:
    return cv2.resize(pink_tissue(800, tissue_px=700), (400, 400), interpolation=cv2.INTER_AREA)


def test_pink_tissue_with_violet_nuclei_is_not_flagged(tissue):
    seen = {name for name, mask in artefact_masks(tissue, UM_PER_PX).items() if mask.any()}
    assert seen <= {"blank"}  # the glass around it


@pytest.mark.parametrize(
    "colour",
    [(225, 150, 190), (110, 70, 150), (200, 60, 120), (90, 50, 130)],
    ids=["eosin", "nuclei", "strong", "cells"],
)
def test_no_colour_of_the_stain_is_pen(colour):
    assert not any(
        mask.any()
        for mask in artefact_masks(np.full((50, 50, 3), colour, np.uint8), UM_PER_PX).values()
    )


def test_smooth_haze_is_blank_and_tissue_is_not(tissue):
    tissue[:, :100] = (226, 222, 224)
    blank = artefact_masks(tissue, UM_PER_PX)["blank"]
    assert blank[150:250, 20:80].all()
    assert not blank[150:250, 150:250].any()


def test_a_bubble_is_flagged_with_what_its_rim_surrounds(tissue):
    cv2.circle(tissue, (200, 200), 50, (60, 58, 60), 4)
    bubble = artefact_masks(tissue, UM_PER_PX)["bubble"]
    assert bubble[170:230, 170:230].all()
    assert not bubble[:120].any()


def test_dense_tissue_is_no_bubble_though_as_dark_and_thin_as_its_rim(tissue):
    cv2.circle(
        tissue, (200, 200), 50, (108, 68, 111), 4
    )  # the mean colour of a real epidermis, darkest over brightest density 0.62
    assert not artefact_masks(tissue, UM_PER_PX)["bubble"].any()


def test_real_epidermis_is_no_bubble(shared_data):
    with open_slide(shared_data / "wsi" / "CMU-1-Small-Region.svs") as reader:
        overview, downsample = read_overview(reader, UM_PER_PX / 0.499)
    assert not artefact_masks(overview, downsample * 0.499)["bubble"].any()


def test_artefacts_of_the_tissue_are_the_same_looked_for_around_it_or_everywhere(pink_tissue):
    image = np.full((500, 700, 3), 243, np.uint8)
    image[120:380, 301:561] = pink_tissue(260, tissue_px=260)
    image[240:270, 301:561] = (image[240:270, 301:561].astype(np.float32) ** 3 / 239**2).astype(
        np.uint8
    )  # folded
    cv2.line(image, (440, 60), (440, 440), INKS["green"], 20)
    where = tissue_mask(image, UM_PER_PX)
    around, everywhere = (
        artefact_masks(image, UM_PER_PX, tissue=where),
        artefact_masks(image, UM_PER_PX),
    )
    assert everywhere["pen"].any()
    assert everywhere["fold"].any()
    for name, mask in around.items():
        np.testing.assert_array_equal(mask & where, everywhere[name] & where)
        assert mask.shape == where.shape


def test_a_section_that_lies_three_times_over_itself_is_a_fold(tissue):
    band = tissue[185:215].astype(np.float32) / 239
    tissue[185:215] = (239 * band**3).astype(np.uint8)
    fold = artefact_masks(tissue, UM_PER_PX)["fold"]
    assert fold[195:205, 60:340].mean() > 0.9
    assert not fold[:160].any()


def test_blue_ink_over_eosin_is_pen_though_it_looks_violet(tissue):
    tissue[150:200, 100:300] = (
        104,
        93,
        170,
    )  # 0.65 of ink (40, 70, 170) over (225, 150, 190): 248 degrees
    pen = artefact_masks(tissue, UM_PER_PX)["pen"]
    assert pen[155:195, 105:295].all()
    assert not pen[230:].any()


@pytest.mark.parametrize(("cells", "is_out"), [(3, True), (1, False)])
def test_a_tile_is_out_of_focus_when_three_of_its_sixteen_parts_are(shared_data, cells, is_out):
    path = sorted((shared_data / "tiles" / "osteosarcoma").glob("Viable*.jpg"))[
        0
    ]  # a micrometre a pixel
    tile = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)[400:624, 400:624].copy()
    tile[: 56 * cells, :56] = cv2.GaussianBlur(tile, (0, 0), 4)[: 56 * cells, :56]
    assert is_out_of_focus(tile) == is_out


def test_sharp_real_tissue_is_in_focus_and_nearly_all_of_it_is_out_of_focus_once_blurred(
    shared_data,
):
    sharp = blurred = 0
    paths = sorted((shared_data / "tiles" / "osteosarcoma").glob("Viable*.jpg"))[
        :6
    ]  # a micrometre a pixel
    for path in paths:
        tile = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)[400:624, 400:624]
        sharp += is_out_of_focus(tile)
        blurred += is_out_of_focus(np.asarray(cv2.GaussianBlur(tile, (0, 0), 3), np.uint8))
    assert sharp == 0
    assert blurred >= len(paths) - 1


@pytest.mark.parametrize("ink", INKS)
def test_a_stroke_of_pen_on_tissue_is_flagged_where_it_is(tissue, ink):
    cv2.line(tissue, (60, 200), (340, 200), INKS[ink], 12)
    pen = artefact_masks(tissue, UM_PER_PX)["pen"]
    assert pen[196:205, 65:335].all()
    assert not pen[:170].any()
    assert not pen[230:].any()


def test_green_ink_through_which_tissue_shows_is_flagged(tissue):
    stroke = tissue[150:250].astype(np.float32)
    tissue[150:250] = (0.3 * stroke + 0.7 * np.array(INKS["green"])).astype(np.uint8)
    assert artefact_masks(tissue, UM_PER_PX)["pen"][155:245, 60:340].mean() > 0.95


def test_a_black_fold_is_dark_and_no_pen(tissue):
    tissue[180:220, 100:300] = 15
    masks = artefact_masks(tissue, UM_PER_PX)
    assert masks["dark"][180:220, 100:300].all()
    assert not masks["pen"].any()


def test_a_lone_pixel_is_noise(tissue):
    tissue[200, 200] = INKS["green"]
    assert not artefact_masks(tissue, UM_PER_PX)["pen"].any()


@pytest.mark.parametrize(
    "name",
    ["tcga-green-pen.png", "tcga-red-pen.png", "wsi-blue-pen.png", "no-tissue-green-pen.png"],
)
def test_real_pen_is_found(shared_data, name):
    image = cv2.cvtColor(cv2.imread(str(shared_data / "qc" / name)), cv2.COLOR_BGR2RGB)
    assert artefact_masks(image, UM_PER_PX)["pen"].mean() > 0.005


def test_real_tissue_without_pen_is_not_flagged(shared_data):
    image = cv2.cvtColor(
        cv2.imread(str(shared_data / "qc" / "tcga-lung-rgb.png")), cv2.COLOR_BGR2RGB
    )
    assert artefact_masks(image, UM_PER_PX)["pen"].mean() < 0.01


def test_even_red_is_pen_and_red_that_is_mottled_as_blood_among_cells_is_not(tissue):
    tissue[150:250, 50:350] = INKS["red"]
    mottled = (
        np.random.default_rng(0).random((12, 75)) < 0.5
    )  # cells of 32 micrometres, red or pale
    even = artefact_masks(tissue, UM_PER_PX)["pen"]
    tissue[202:250, 50:350] = np.where(
        np.kron(mottled, np.ones((4, 4)))[..., None] > 0, INKS["red"], (225, 150, 190)
    )
    uneven = artefact_masks(tissue, UM_PER_PX)["pen"]
    assert even[210:240, 60:340].all()
    assert uneven[210:240, 60:340].mean() < 0.1


def test_black_ink_that_lets_some_light_through_is_dark_and_dense_tissue_is_not(tissue):
    under = tissue[150:250].astype(np.float32) / 240
    tissue[150:250] = (96 * under**0.3).astype(
        np.uint8
    )  # a third of the light, and a trace of the colours beneath
    dark = artefact_masks(tissue, UM_PER_PX)["dark"]
    assert dark[155:245].all()
    assert not dark[:140].any()
    assert not artefact_masks(np.full((50, 50, 3), (108, 68, 111), np.uint8), UM_PER_PX)[
        "dark"
    ].any()  # a real epidermis, as dark


@pytest.mark.parametrize("ink", [*INKS.values(), (20, 20, 20), (70, 64, 72)])
def test_a_stripe_of_ink_is_pen_or_dark_and_no_fold(tissue, ink):
    tissue[190:205, 40:360] = (
        ink  # a band as wide and long as a fold, denser than tissue on both its sides
    )
    masks = artefact_masks(tissue, UM_PER_PX)
    assert (masks["pen"] | masks["dark"])[195:200, 60:340].all()
    assert not masks["fold"].any()
