"""Intervals of net benefit: a draw of patients is a cohort of its own."""

from __future__ import annotations

import numpy as np
import pytest

from pathoml.survival.decision_curve import (
    THRESHOLDS,
    benefit_interval,
    net_benefit,
    net_benefit_draws,
)


def cohort(n=80):
    rng = np.random.default_rng(2)
    time = np.round(rng.exponential(20, n) + 0.5)  # with ties
    return rng.uniform(0.05, 0.95, n), time, rng.uniform(size=n) < 0.7


def test_the_draw_of_everybody_once_is_the_cohort():
    risk, time, event = cohort()
    draws = net_benefit_draws(risk, time, event, months=12.0, counts=np.ones((1, len(risk))))
    assert draws[0] == pytest.approx(net_benefit(risk, time, event, months=12.0), nan_ok=True)


def test_a_patient_who_is_drawn_twice_counts_as_two():
    risk, time, event = cohort()
    counts = np.random.default_rng(5).multinomial(len(risk), np.full(len(risk), 1 / len(risk)))
    rows = np.repeat(np.arange(len(risk)), counts)
    draws = net_benefit_draws(risk, time, event, months=12.0, counts=counts[None].astype(float))
    again = net_benefit(risk[rows], time[rows], event[rows], months=12.0)
    assert draws[0] == pytest.approx(again, nan_ok=True)


def test_treating_nobody_has_no_benefit_and_no_width():
    _, time, event = cohort()
    draws = net_benefit_draws(
        np.full(len(time), 0.01), time, event, months=12.0, counts=np.ones((3, len(time)))
    )
    low, high = benefit_interval(draws)
    assert (low == 0).all()
    assert (high == 0).all()
    assert len(low) == len(THRESHOLDS)


def test_where_most_draws_have_no_number_there_is_no_interval():
    draws = np.array([[0.1, np.nan], [0.2, np.nan], [0.3, 0.2]])
    low, high = benefit_interval(draws)
    assert np.isnan([low[1], high[1]]).all()
    assert low[0] < 0.2 < high[0]
