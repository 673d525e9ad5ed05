"""The outline of the tissue comes back as the same tissue."""

from __future__ import annotations

import cv2
import numpy as np

from pathoml.tiling.outline import tissue_geojson
from pathoml.tiling.regions import drawn_tissue, excluded_mask, read_regions


def mask() -> np.ndarray:
    drawn = np.zeros((120, 160), np.uint8)
    cv2.ellipse(drawn, (60, 60), (45, 35), 20, 0, 360, 1, -1)
    cv2.circle(drawn, (60, 60), 12, 0, -1)
    drawn[5:20, 130:155] = 1
    return drawn.astype(bool)


def test_an_outline_read_back_is_the_tissue_it_was_drawn_around(tmp_path):
    tissue = mask()
    path = tmp_path / "S1.geojson"
    path.write_text(tissue_geojson(tissue, 16.0, offset_l0=(700, 300)))
    regions = read_regions(path)
    back = drawn_tissue(regions, tissue.shape, 16.0, offset_l0=(700, 300))
    assert (back & tissue).sum() / (back | tissue).sum() > 0.97
    assert len(regions) == 2
    outside = excluded_mask(regions, tissue.shape, 16.0, offset_l0=(700, 300))
    assert np.array_equal(outside, ~back)


def test_without_an_area_of_the_class_tissue_nobody_drew_it(tmp_path):
    path = tmp_path / "S1.geojson"
    path.write_text(tissue_geojson(mask(), 16.0).replace("Tissue", "Tumor"))
    assert drawn_tissue(read_regions(path), (120, 160), 16.0) is None


def test_a_slide_without_tissue_has_an_outline_of_nothing():
    assert '"features": []' in tissue_geojson(np.zeros((20, 30), bool), 8.0)
