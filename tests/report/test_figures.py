"""Kaplan-Meier curves end where few are left."""

from __future__ import annotations

import numpy as np

from pathoml.report.figures import Curve, kaplan_meier_figure, where_curves_end
from pathoml.survival.kaplan_meier import kaplan_meier


def curve(n, seed=0):
    rng = np.random.default_rng(seed)
    found = kaplan_meier(np.arange(1, n + 1), rng.uniform(size=n) < 0.6)
    columns = ("times", "survival", "low", "high", "at_risk", "events")
    return Curve(**{name: getattr(found, name).tolist() for name in columns})


def test_a_curve_ends_at_the_last_time_with_ten_at_risk():
    found = curve(30)
    assert found.times[found.shown - 1] == 21  # 30 - 20 are at risk just before month 21
    assert found.at_risk[found.shown - 1] == 10


def test_the_axis_ends_with_the_longer_curve_and_numbers_at_risk_go_on_to_its_end():
    text = kaplan_meier_figure({"high": curve(15), "low": curve(30, 1)}, "overall survival")
    months = [18, 21]
    assert all(f">{month}<" in text for month in months)
    assert ">24<" not in text
    assert ">0<" in text  # of the high group, at month 18


def test_a_group_that_never_had_ten_is_drawn_whole_and_the_caption_says_so():
    few = {"high": curve(6), "low": curve(30)}
    assert few["high"].shown == 6
    said = where_curves_end(few)
    assert "fewer than 10 of its group" in said
    assert "Never 10 at risk, and drawn to its end: high." in said


def test_with_delayed_entry_the_few_at_the_beginning_do_not_end_the_curve():
    late = Curve(
        times=[1, 2, 3, 4],
        survival=[0.9, 0.8, 0.7, 0.6],
        low=[0.5] * 4,
        high=[1.0] * 4,
        at_risk=[3, 12, 11, 2],
        events=[1, 1, 1, 1],
    )
    assert late.shown == 3
