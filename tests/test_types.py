"""What a notebook shows of a value: counts and scales, and nobody's name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.learning import planted_cohort

from pathoml.types import AttentionMap, Estimate


@pytest.fixture
def tile_map() -> AttentionMap:
    return AttentionMap(
        slide_id="B12-secret",
        patient_id="Doe",
        xy_l0=np.zeros((3, 2), int),
        tile_l0=448,
        size_l0=(1000, 900),
        level0_mpp=0.25,
        attention=np.ones(3) / 3,
        contribution=np.zeros(3),
        log_risk=0.1,
        bias=0.0,
        fold="1",
        score_type="oof",
    )


def test_a_cohort_says_how_many_and_not_who():
    cohort, _, _ = planted_cohort(12)
    assert repr(cohort) == f"Cohort(12 patients, {cohort.event.sum()} events, 2 centres, 16 slides)"
    assert "P0" not in repr(cohort) + cohort._repr_html_()


def test_a_cohort_in_a_notebook_counts_each_centre():
    cohort, _, _ = planted_cohort(12)
    shown = cohort._repr_html_()
    events = cohort.event[cohort.centre == "C1"].sum()
    assert f"<td>C1</td><td>6</td><td>{events}</td><td>8</td>" in shown


def test_markup_in_a_table_of_a_study_is_shown_and_not_run():
    cohort, _, _ = planted_cohort(6)
    cohort = replace(cohort, endpoint="<script>", time_zero="a & b")
    assert "<script>" not in cohort._repr_html_()


def test_a_bag_says_its_size():
    _, bags, _ = planted_cohort(6)
    tiles = len(bags[0].features)
    assert repr(bags[0]) == f"Bag(2 slides, {tiles} tiles of width 24)"
    assert bags[0]._repr_html_() == f"<code>{bags[0]!r}</code>"


def test_a_map_says_the_side_of_its_tiles_and_which_models_made_it(tile_map):
    assert repr(tile_map) == "AttentionMap(3 tiles of 112 um, oof, contributions exact)"
    assert tile_map._repr_html_() == f"<code>{tile_map!r}</code>"


def test_an_estimate_without_a_finite_interval_says_so():
    assert repr(Estimate(estimate=0.5, low=None, high=None, n=3, events=1)) == "0.50 (no interval)"
    assert repr(Estimate(estimate=0.5, low=float("nan"), high=1.0, n=3, events=1)).endswith(
        "(no interval)"
    )


def test_an_estimate_in_a_notebook_says_what_it_rests_on():
    shown = Estimate(estimate=0.5, low=0.4, high=0.6, n=30, events=1)._repr_html_()
    assert shown == "0.50 (95 % interval 0.40 to 0.60) <small>n = 30, 1 event</small>"
