"""A sheet shows tiles of several patients."""

from __future__ import annotations

from pathoml.slides.sheets import TileRef, best_tiles


def test_a_contact_sheet_takes_two_tiles_of_a_patient_at_most() -> None:
    tiles = [
        TileRef(
            slide_id=f"S{p}", patient_id=f"P{p}", xy_l0=(i, 0), tile_l0=10, value=10 - p - i / 10
        )
        for p in range(3)
        for i in range(5)
    ]
    assert [t.patient_id for t in best_tiles(tiles, count=5)] == ["P0", "P0", "P1", "P1", "P2"]
