"""Empty cells are drawn from what training patients teach, never from the outcome of a patient who
is judged, and the draws carry what is not known.
"""

from __future__ import annotations

import numpy as np
import pytest

from pathoml.evaluation.imputation import (
    MatchedDraw,
    fit_imputer,
    impute_covariates,
    missing_rows,
    outcome_columns,
)
from pathoml.survival.cox import fit_cox
from pathoml.survival.rubin import pool_estimate


def table(n=200, seed=1, share=0.25):
    """Age, a size that follows it, and a kind that follows age; cells missing at random."""
    rng = np.random.default_rng(seed)
    age = rng.normal(60, 10, n)
    size = age / 10 + rng.normal(0, 0.5, n)
    odds = np.exp(np.column_stack([0 * age, 0.15 * (age - 60), -0.15 * (age - 60), 0 * age - 1]))
    kind = [rng.choice(list("abcd"), p=row / row.sum()) for row in odds]

    def holed(values):
        return [None if rng.uniform() < share else v for v in values]

    whole = {"age": age.tolist(), "size": size.tolist(), "kind": kind}
    return whole, {name: holed(values) for name, values in whole.items()}


def outcome(n=200, seed=2):
    rng = np.random.default_rng(seed)
    time = rng.exponential(20, n)
    return time, rng.uniform(size=n) < 0.6


def imputer_of(columns, train, time, event):
    known = np.full((len(train), 2), np.nan)
    known[train] = outcome_columns(time[train], event[train])
    return fit_imputer(columns, train, known)


def test_no_cell_stays_empty_and_no_known_cell_changes():
    _, columns = table()
    drawn = imputer_of(columns, np.arange(200) % 5 > 0, *outcome()).draw((1, 2))
    assert not missing_rows(drawn).any()
    for name, values in columns.items():
        assert all(v is None or v == d for v, d in zip(values, drawn[name]))


def test_every_drawn_value_is_one_that_a_training_patient_has():
    _, columns = table()
    train = np.arange(200) % 5 > 0
    drawn = imputer_of(columns, train, *outcome()).draw((3,))
    for name, values in columns.items():
        of_training = {v for v, t in zip(values, train) if t and v is not None}
        assert {d for d, v in zip(drawn[name], values) if v is None} <= of_training


def test_the_same_seed_draws_the_same_and_another_seed_something_else():
    _, columns = table()
    imputer = imputer_of(columns, np.arange(200) % 5 > 0, *outcome())
    assert imputer.draw((1, 7)) == imputer.draw((1, 7))
    assert imputer.draw((1, 7)) != imputer.draw((1, 8))


def test_outcomes_of_judged_patients_change_nothing_at_all():
    _, columns = table()
    train = np.arange(200) % 5 > 0
    time, event = outcome()
    other_time, other_event = np.where(train, time, 99.0), np.where(train, event, ~event)
    known = outcome_columns(time, event)
    first = fit_imputer(columns, train, np.where(train[:, None], known, np.nan)).draw((1,))
    shuffled = np.where(train[:, None], known, outcome_columns(other_time, other_event))
    assert fit_imputer(columns, train, shuffled).draw((1,)) == first


def test_judged_patients_cells_do_not_depend_on_the_outcomes_of_training_patients_either():
    _, columns = table()
    train = np.arange(200) % 5 > 0
    judged = np.flatnonzero(~train)
    coded = imputer_of(columns, train, *outcome()).of_others
    again = imputer_of(columns, train, *outcome(seed=9)).of_others
    np.testing.assert_array_equal(coded.values[judged], again.values[judged])


def test_judged_patients_covariates_teach_nothing():
    """Training cells are drawn alike whoever is judged."""
    _, columns = table()
    train = np.arange(200) % 5 > 0
    moved = {
        name: [v if t or v is None else columns[name][0] for v, t in zip(values, train)]
        for name, values in columns.items()
    }
    one, two = (imputer_of(c, train, *outcome()).draw((4,)) for c in (columns, moved))
    for name in columns:
        assert [v for v, t in zip(one[name], train) if t] == [
            v for v, t in zip(two[name], train) if t
        ]


def test_draws_follow_the_other_covariates():
    whole, columns = table(n=600, share=0.2)
    time, event = outcome(600)
    sets = impute_covariates(columns, time, event, score=np.zeros(600))
    assert len(sets) == max(20, np.ceil(100 * missing_rows(columns).mean()))
    gone = [row for row, v in enumerate(columns["age"]) if v is None]
    mean = np.mean([[s["age"][row] for row in gone] for s in sets], axis=0)
    truth = np.array([whole["age"][row] for row in gone])
    assert np.corrcoef(mean, truth)[0, 1] > 0.8
    spread = np.std([[s["age"][row] for row in gone] for s in sets], axis=0)
    assert spread.mean() > 2  # an SD of age given size of 4.5: a draw, not a best guess
    of_kind = {k: [s["age"][r] for s in sets for r in gone if s["kind"][r] == k] for k in "bc"}
    assert np.mean(of_kind["b"]) > 62 > 58 > np.mean(of_kind["c"])


def test_shares_of_levels_are_those_of_the_patients_who_are_known():
    whole, columns = table(n=600, share=0.3)
    time, event = outcome(600)
    sets = impute_covariates(columns, time, event, score=np.zeros(600))
    gone = [row for row, v in enumerate(columns["kind"]) if v is None]
    for level in "abcd":
        drawn = np.mean([[s["kind"][row] == level for row in gone] for s in sets])
        assert drawn == pytest.approx(np.mean([whole["kind"][r] == level for r in gone]), abs=0.06)


@pytest.mark.parametrize(
    "columns",
    [
        {"age": [50.0, None, 70.0, 61.0, None, 58.0, 44.0, 60.0]},
        {"sex": ["f", None, "m", "f", None, "m", "f", "m"]},
        {"sex": ["f", None, "f", "f", None, "f", "f", "f"]},
        {"empty": [None] * 8, "age": [50.0, None, 70.0, 61.0, 60.0, 58.0, 44.0, None]},
        {"kind": ["a", "b", "c", None, "a", "b", "c", None], "age": [1.0, None] * 4},
        {"kind": ["a", "b", "a", None, "a", "b", "c", None], "x": [1.0, 2.0] * 4},
    ],
    ids=["one number", "one category", "all alike", "nobody has it", "collinear", "rare level"],
)
def test_small_and_odd_tables_are_imputed_without_a_warning(columns):
    train = np.array([True] * 6 + [False] * 2)
    time, event = outcome(8)
    drawn = imputer_of(columns, train, time, event).draw((1,))
    for name, values in drawn.items():
        assert name == "empty" or None not in values


def test_a_level_that_training_does_not_know_stays_and_another_cell_of_that_patient_is_drawn():
    columns = {
        "kind": ["a", "b", "c", "a", "b", "c", "unheard of"],
        "age": [50.0, 60.0, 70.0, 52.0, 61.0, 72.0, None],
    }
    train = np.array([True] * 6 + [False])
    drawn = imputer_of(columns, train, *outcome(7)).draw((1,))
    assert drawn["kind"][-1] == "unheard of"
    assert drawn["age"][-1] in columns["age"][:6]


def test_parameters_are_drawn_so_that_two_patients_of_one_set_err_together():
    """With one shared draw of the coefficients the mean of many cells varies more between sets than
    independent cells would: Var of a mean far from the donors' centre.
    """
    rng = np.random.default_rng(1)
    x = rng.normal(size=(30, 1))
    y = x[:, 0] + rng.normal(0, 1, 30)
    far = np.full((400, 1), 1.0)
    means = [MatchedDraw(np.random.default_rng(k)).fit(x, y).predict(far).mean() for k in range(99)]
    alone = np.std(MatchedDraw(rng).fit(x, y).predict(far)) / np.sqrt(400)
    assert np.std(means) > 3 * alone


def test_a_late_patient_has_run_up_the_hazard_since_entry_only():
    """Times 1, 2, 3 with events at 1 and 2; the third comes at 1.5 and so is not at risk at 1:
    hazards 1/2, then 1/2 more, of which the third ran up the last.
    """
    time, event = np.array([1.0, 2.0, 3.0]), np.array([True, True, False])
    found = outcome_columns(time, event, entry_months=np.array([0.0, 0.0, 1.5]))
    np.testing.assert_allclose(found, [[1, 0.5], [1, 1.0], [0, 0.5]])


@pytest.mark.nightly
def test_pooled_intervals_hold_the_truth_where_cells_are_missing_by_the_follow_up_itself():
    """Age is missing in 36 %, more often with a small size and a long follow-up; the 95 % interval
    holds the log hazard ratio of 0.5 per SD of age in as many cohorts as it says.
    """
    held, estimates = [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        n = 300
        size = rng.normal(size=n)
        age = 0.6 * size + 0.8 * rng.normal(size=n)
        time = rng.exponential(10 * np.exp(-0.5 * age - 0.5 * size))
        cut = rng.uniform(3, 40, n)
        event, time = time <= cut, np.minimum(time, cut)
        gone = rng.uniform(size=n) < 1 / (1 + np.exp(1 + 0.7 * size - 0.8 * (time > 8)))
        columns = {
            "age": [None if g else a for g, a in zip(gone, age)],
            "size": size.tolist(),
        }
        fits = [
            fit_cox(np.column_stack([s["age"], s["size"]]), time, event)
            for s in impute_covariates(columns, time, event, score=np.zeros(n))
        ]
        pooled = pool_estimate(
            [f.coefficients[0] for f in fits],
            [f.covariance[0, 0] for f in fits],
            df_complete=fits[0].events - 2,
        )
        low, high = pooled.interval()
        held.append(low < 0.5 < high)
        estimates.append(pooled.estimate)
    assert abs(np.mean(estimates) - 0.5) < 0.05
    assert 0.91 < np.mean(held) <= 0.99
