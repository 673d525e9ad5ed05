"""A map of three tiles."""

from __future__ import annotations

import numpy as np

from pathoml.types import AttentionMap


def small_map(contribution: list[float]) -> AttentionMap:
    return AttentionMap(
        slide_id="S1",
        patient_id="P1",
        xy_l0=np.array([[0, 0], [200, 0], [0, 200]]),
        tile_l0=200,
        size_l0=(400, 400),
        level0_mpp=0.5,
        attention=np.full(3, 1 / 3),
        contribution=np.array(contribution),
        log_risk=sum(contribution),
        bias=0.0,
        fold="1",
        score_type="oof",
    )
