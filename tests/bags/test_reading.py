"""A patient's slides are one bag, read without being copied together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.stored import file_behind

from pathoml.bags.reading import Rows, read_bags, slides_of
from pathoml.store.embeddings import write_embeddings
from pathoml.types import Cohort, Patient, Recipe, Slide, TileGrid

PARTS = [
    np.arange(6, dtype=np.float16).reshape(3, 2),
    np.arange(6, 14, dtype=np.float16).reshape(4, 2),
]


WHOLE = np.concatenate(PARTS)


@pytest.mark.parametrize(
    "key",
    [
        slice(0, 2),
        slice(2, 6),
        slice(None),
        np.array([6, 0, 3]),
        np.array([[1, 5], [4, 2]]),
        np.arange(7) % 2 == 0,
    ],
)
def test_rows_of_several_slides_read_like_one_array(key) -> None:  # type: ignore[no-untyped-def]
    assert np.array_equal(Rows(PARTS)[key], WHOLE[key])


def test_rows_know_their_shape_mean_and_array() -> None:
    rows = Rows(PARTS)
    assert (len(rows), rows.shape, rows.ndim, rows.dtype) == (7, (7, 2), 2, np.float16)
    assert np.allclose(rows.mean(axis=0, dtype=np.float64), WHOLE.mean(axis=0))
    assert np.array_equal(np.asarray(rows, dtype=np.float32), WHOLE.astype(np.float32))


def test_rows_hold_the_slides_arrays_themselves() -> None:
    assert Rows(PARTS).parts[0] is PARTS[0]


def written_study(folder: Path) -> tuple[Cohort, Path]:
    """Two slides of one patient on two scanners."""
    for slide_id, mpp, tiles in (("S1", 0.25, 3), ("S2", 0.5, 2)):
        grid = TileGrid(
            slide_id=slide_id,
            xy_l0=np.arange(2 * tiles).reshape(tiles, 2) * 10,
            tile_l0=round(112 / mpp),
            tile_px=224,
            mpp=0.5,
            level0_mpp=mpp,
            size_l0=(1000, 1000),
            slide_sha256=slide_id,
        )
        write_embeddings(
            folder / f"{slide_id}.h5",
            grid,
            np.full((tiles, 4), tiles, np.float16),
            encoder="uni",
            encoder_sha256="",
            precision="float32",
            recipe=Recipe(step="test", inputs={}),
        )
    patient = Patient(
        patient_id="P", centre="", time_months=1, event=0, slide_ids=("S1", "S2"), covariates={}
    )
    slides = tuple(Slide(slide_id=s, patient_id="P", path=None) for s in patient.slide_ids)
    return (
        Cohort(patients=(patient,), slides=slides, endpoint="", time_zero="", excluded=()),
        folder,
    )


def test_a_bag_carries_the_places_of_its_tiles_slide_by_slide(tmp_path: Path) -> None:
    _, (bag,), _ = read_bags(*written_study(tmp_path))
    assert [grid.slide_id for grid in bag.grids] == list(bag.slide_ids)
    assert [(grid.level0_mpp, grid.tile_l0) for grid in bag.grids] == [(0.25, 448), (0.5, 224)]
    for index, grid in enumerate(bag.grids):
        np.testing.assert_array_equal(grid.xy_l0, bag.xy_l0[bag.slide_index == index])


def test_the_places_of_a_bag_are_held_once_and_its_features_stay_in_the_file(
    tmp_path: Path,
) -> None:
    _, (bag,), _ = read_bags(*written_study(tmp_path))
    for grid, features in slides_of(bag):
        assert np.shares_memory(grid.xy_l0, bag.xy_l0)
        assert file_behind(features).endswith(".h5")
        assert len(features) == len(grid.xy_l0) == features[0, 0]
