"""A map agrees with the planted tissue as far as its areas say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from support.small_maps import small_map

from pathoml.synthetic.truth import class_shares, map_agreement, roc_auc


def test_roc_auc_counts_ties_a_half() -> None:
    assert roc_auc(np.array([True, True, False, False]), np.array([2.0, 1.0, 1.0, 0.0])) == 0.875


def test_class_shares_are_those_of_the_cells_under_the_tile() -> None:
    classes = np.array([[1, 1], [2, 0]], np.uint8)
    assert class_shares(classes, 10.0, np.array([[0, 0]]), tile_l0=20, n_classes=2).tolist() == [
        [0.25, 0.5, 0.25]
    ]


def test_a_map_that_marks_the_driver_has_an_area_of_one_and_its_opposite_zero(
    tmp_path: Path,
) -> None:
    np.savez(tmp_path / "S1.npz", classes=np.array([[2, 1], [1, 1]], np.uint8), cell_l0=200)
    for sign, area in ((1, 1.0), (-1, 0.0)):
        agreement = map_agreement(
            [small_map([0.5 * sign, 0.1 * sign, 0.0])], tmp_path, driver=2, n_classes=2
        )
        assert (agreement.contribution, agreement.tiles) == (area, 3)
