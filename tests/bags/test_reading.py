"""A patient's slides are one bag, read without being copied together."""

from __future__ import annotations

import numpy as np
import pytest

from pathoml.bags.reading import Rows

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
