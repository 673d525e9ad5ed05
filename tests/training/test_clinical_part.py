"""What the covariates say is learned on training rows, and what is left has none of it."""

from __future__ import annotations

import numpy as np
import pytest
from support.r_oracle import r_data, run_r

from pathoml.errors import CohortError
from pathoml.training.clinical_part import clinical_part


def cohort(n: int = 80, seed: int = 1):
    rng = np.random.default_rng(seed)
    age, sex = rng.normal(60, 10, n), rng.choice(["f", "m"], n)
    hazard = 0.05 * (age - 60) + 0.5 * (sex == "m")
    died, left = rng.exponential(20 * np.exp(-hazard)), rng.exponential(30, n)
    columns = {"age": age.tolist(), "sex": sex.tolist()}
    return columns, np.minimum(died, left) + 0.01, died <= left


def test_the_log_risk_is_that_of_ridge_in_r():
    columns, time, event = cohort()
    part = clinical_part(columns, time, event, rows=np.arange(80))
    data = {"time": time, "event": event.astype(float)}
    data |= {"a": part.covariates[:, 0], "b": part.covariates[:, 1]}
    answer = run_r(
        r_data(data) + "fit <- coxph(Surv(time, event) ~ ridge(a, b, theta = 1, scale = FALSE),"
        " control = coxph.control(eps = 1e-14, iter.max = 100, outer.max = 100))\n"
        "show('risk', cbind(a, b) %*% coef(fit))\n"
    )
    assert part.log_risk == pytest.approx(answer["risk"], abs=1e-7)


def test_a_covariate_of_two_levels_is_taken_out_by_hand():
    """Means of the training rows are 1 and 3; the covariate is 0.5 away from its mean on either
    side, its sum of squares 4 * 0.25 = 1, and the ridge is 1: half of the difference goes.
    """
    columns = {"sex": ["f", "f", "m", "m", "f"]}
    time, event = np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([1, 1, 1, 1, 0], dtype=bool)
    part = clinical_part(columns, time, event, rows=np.arange(4))
    rest = part.beyond(np.array([0.0, 2.0, 2.0, 4.0, 7.0]))
    assert rest == pytest.approx([0.5, 2.5, 1.5, 3.5, 7.5])


def test_many_log_risks_are_taken_one_by_one():
    columns, time, event = cohort()
    part = clinical_part(columns, time, event, rows=np.arange(0, 80, 2))
    many = np.random.default_rng(2).normal(size=(3, 80))
    assert part.beyond(many) == pytest.approx(np.stack([part.beyond(one) for one in many]))


def test_what_follows_from_the_covariates_leaves_next_to_nothing():
    columns, time, event = cohort(400)
    part = clinical_part(columns, time, event, rows=np.arange(300))
    noise = np.random.default_rng(3).normal(size=400)
    rest = part.beyond(2 * part.log_risk + noise)
    for column in part.covariates.T:
        assert abs(np.corrcoef(rest[300:], column[300:])[0, 1]) < 0.2
    assert np.corrcoef(rest, noise)[0, 1] > 0.99


def test_rows_outside_training_change_nothing():
    columns, time, event = cohort()
    rows = np.arange(60)
    one = clinical_part(columns, time, event, rows=rows)
    changed = {"age": [*columns["age"][:60], *([99.0] * 20)], "sex": columns["sex"]}
    time[60:], event[60:] = 1.0, True
    other = clinical_part(changed, time, event, rows=rows)
    risk = np.random.default_rng(4).normal(size=80)
    assert np.array_equal(one.log_risk[:60], other.log_risk[:60])
    assert np.array_equal(one.beyond(risk)[:60], other.beyond(risk)[:60])


def test_a_patient_drawn_twice_is_two_rows_of_the_table():
    columns, time, event = cohort()
    rows = np.repeat(np.arange(80), np.random.default_rng(5).integers(0, 3, 80))
    drawn = clinical_part(columns, time, event, rows=rows)
    table = {name: [values[r] for r in rows] for name, values in columns.items()}
    copied = clinical_part(table, time[rows], event[rows], rows=np.arange(len(rows)))
    assert drawn.log_risk[rows] == pytest.approx(copied.log_risk)


def test_covariates_that_do_not_vary_say_nothing():
    _, time, event = cohort()
    part = clinical_part({"age": [60.0] * 80}, time, event, rows=np.arange(80))
    assert not part.log_risk.any()
    risk = np.random.default_rng(6).normal(size=80)
    assert np.array_equal(part.beyond(risk), risk)


def test_a_patient_without_the_covariate_and_an_unknown_level_have_a_log_risk():
    columns, time, event = cohort()
    columns["age"][70], columns["sex"][71] = None, "unheard of"
    part = clinical_part(columns, time, event, rows=np.arange(60))
    assert np.isfinite(part.log_risk).all()


def test_no_covariates_is_refused_with_what_to_do():
    _, time, event = cohort()
    with pytest.raises(CohortError, match=r"cohort\.covariates.*train\.offset: null"):
        clinical_part({}, time, event, rows=np.arange(80))
