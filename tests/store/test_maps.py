"""A map is read back as it was written."""

from __future__ import annotations

import numpy as np
from support.stored import RECIPE

from pathoml.store.maps import read_attention, write_attention
from pathoml.types import AttentionMap


def test_attention_reads_back_as_it_was_written(tmp_path):
    written = AttentionMap(
        slide_id="B1",
        patient_id="P1",
        xy_l0=np.array([[0, 0], [9, 0]]),
        tile_l0=9,
        size_l0=(20, 10),
        level0_mpp=0.25,
        attention=np.array([0.25, 0.75], np.float32),
        contribution=np.array([-1, 2], np.float32),
        log_risk=1.5,
        bias=0.5,
        fold="3;1",
        score_type="out-of-fold",
    )
    write_attention(tmp_path / "a.h5", written, RECIPE)
    for name, value in vars(read_attention(tmp_path / "a.h5")).items():
        np.testing.assert_array_equal(value, getattr(written, name))
