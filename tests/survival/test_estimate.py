"""An estimate as JSON."""

from __future__ import annotations

import json

import numpy as np

from pathoml.survival.estimate import Estimate


def test_an_estimate_without_interval_is_written_as_strict_json():
    written = Estimate(
        estimate=np.float64(0.5), low=float("nan"), high=float("inf"), n=np.int64(3), events=1
    ).to_json()
    text = json.dumps(written, allow_nan=False)
    assert json.loads(text) == {"estimate": 0.5, "low": None, "high": None, "n": 3, "events": 1}


def test_no_digit_is_lost_in_json():
    value = 0.1 + 0.2
    written = Estimate(estimate=value, low=value / 3, high=value * 3, n=3, events=1).to_json()
    assert json.loads(json.dumps(written))["estimate"] == value
