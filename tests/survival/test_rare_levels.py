"""A level without a coefficient costs that level: the rest of the model is R's, or its limit."""

from __future__ import annotations

import numpy as np
import pytest
from support.r_oracle import r_data, run_r

from pathoml.errors import CohortError
from pathoml.survival.cox import fit_cox
from pathoml.survival.propensity import propensity
from pathoml.survival.rare_levels import estimable_columns


def patients(n=80, seed=1):
    rng = np.random.default_rng(seed)
    x = np.column_stack([rng.normal(size=n), (rng.uniform(size=n) < 0.4).astype(float)])
    time = np.round(rng.exponential(np.exp(-0.5 * x[:, 0]), n) * 20 + 1, 1)
    return x, time, rng.uniform(size=n) < 0.6, rng.uniform(0, 0.9, n) * time


def with_level(x, rows):
    level = np.zeros(len(x))
    level[rows] = 1
    return np.column_stack([x, level])


def slope(x, time, event, entry=None):
    """Return the coefficients of the columns that stay, and what was left out."""
    names = [f"c{k}" for k in range(x.shape[1])]
    found = estimable_columns(x, time, event, names=names, entry_months=entry)
    kept = x[:, found.columns]
    fit = fit_cox(kept, time, event, stratum=found.stratum, entry_months=entry)
    return fit.coefficients, fit.log_likelihood, found


@pytest.mark.ci
@pytest.mark.parametrize("late", [False, True], ids=["from zero", "delayed entry"])
@pytest.mark.parametrize("kind", ["no event", "before all others"])
def test_a_level_at_zero_or_infinity_leaves_the_limit_that_r_creeps_up_to(kind, late):
    x, time, event, entry = patients()
    rows = np.flatnonzero(~event)[:4]
    if kind != "no event":
        rows = np.arange(3)
        entry[rows], time[rows], event[rows] = 0, [0.2, 0.4, 0.4], True
        entry[3:10] = 0
    x = with_level(x, rows)
    data = {"a": x[:, 0], "b": x[:, 1], "l": x[:, 2], "time": time, "event": event.astype(int)}
    data["entry"] = entry
    y = "Surv(entry, time, event)" if late else "Surv(time, event)"
    script = r_data(data) + (
        f"fit <- suppressWarnings(coxph({y} ~ a + b + l, control = coxph.control(eps = 1e-14,"
        " iter.max = 60)))\nshow('out', c(coef(fit)[1:2], fit$loglik[2]))\n"
    )
    coefficients, likelihood, found = slope(x, time, event, entry if late else None)
    np.testing.assert_allclose([*coefficients, likelihood], run_r(script)["out"], rtol=1e-6)
    assert [name for name, _ in found.left_out] == ["c2"]


def test_one_patient_with_the_first_event_costs_that_level_only():
    x, time, event, _ = patients()
    time[0], event[0] = 0.5, True
    whole, _, found = slope(with_level(x, [0]), time, event)
    without = fit_cox(x[1:], time[1:], event[1:]).coefficients
    np.testing.assert_allclose(whole, without, rtol=1e-9)
    assert found.extreme.tolist() == [1] + [0] * 79


def test_one_patient_in_the_middle_keeps_the_coefficient():
    x, time, event, _ = patients()
    event[5], time[5] = True, float(np.median(time))
    assert slope(with_level(x, [5]), time, event)[2].columns.all()


def test_of_columns_that_determine_one_another_the_later_goes():
    x, time, event, _ = patients()
    twice = np.column_stack([x, 1 - x[:, 1], x[:, 0] * 3])
    coefficients, _, found = slope(twice, time, event)
    np.testing.assert_allclose(coefficients, fit_cox(x, time, event).coefficients, rtol=1e-9)
    assert found.left_out == (
        ("c2", "other columns determine it"),
        ("c3", "other columns determine it"),
    )


def test_two_levels_of_the_same_patients_cost_one():
    x, time, event, _ = patients()
    rows = np.flatnonzero(event)[10:18]
    found = slope(with_level(with_level(x, rows), rows), time, event)[2]
    assert found.columns.tolist() == [True, True, True, False]


def test_a_number_that_separates_is_refused_by_name():
    time = np.arange(1.0, 11)
    with pytest.raises(CohortError, match="'age' runs to infinity"):
        estimable_columns(-time[:, None], time, np.ones(10), names=["age"])


def test_a_level_that_decides_the_treatment_leaves_the_others_their_propensity():
    rng = np.random.default_rng(2)
    x, treated = rng.normal(size=(60, 1)), (rng.uniform(size=60) < 0.5).astype(float)
    always = np.flatnonzero(treated == 1)[:5]
    chance = propensity(with_level(x, always), treated)
    others = np.setdiff1d(np.arange(60), always)
    assert (chance[always] == 1).all()
    np.testing.assert_allclose(chance[others], propensity(x[others], treated[others]), rtol=1e-12)
    doubled = np.column_stack([x, 2 * x])
    np.testing.assert_allclose(propensity(doubled, treated), propensity(x, treated), rtol=1e-9)
