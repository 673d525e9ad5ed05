"""The clinical design: everything is learned on training rows, and every row of any table gets
numbers.
"""

from __future__ import annotations

import numpy as np
import pytest

from pathoml.errors import CohortError
from pathoml.survival.design import fit_design

TRAINING = {
    "age": [40.0, 60.0, None, 50.0, float("nan")],
    "subtype": ["LMS", "UPS", "LMS", None, ""],
    "centre": ["A", "A", "A", "A", "A"],
    "dose": [2, 2, 2, None, 2],
}


def test_a_missing_number_gets_the_training_median():
    design = fit_design(TRAINING)
    new = {name: [values[0]] for name, values in TRAINING.items()} | {"age": [None]}
    same = new | {"age": [50.0]}
    assert (design.transform(new) == design.transform(same)).all()


def test_a_number_is_standardised_by_the_training_rows():
    age = fit_design(TRAINING).transform(TRAINING)[:, 0]
    assert age.mean() == pytest.approx(0.0, abs=1e-15)
    assert age.std() == pytest.approx(1.0, abs=1e-15)


def test_missing_categories_have_their_own_level_and_the_commonest_is_the_reference():
    design = fit_design(TRAINING)  # LMS and missing twice each; of equals the first by name
    assert design.names == ("age", "subtype=UPS", "subtype=missing")
    assert design.transform(TRAINING)[:, 1:].tolist() == [[0, 0], [1, 0], [0, 0], [0, 1], [0, 1]]


def test_constant_columns_are_left_out_even_if_some_values_are_missing():
    design = fit_design(TRAINING)
    assert design.transform({"age": [50.0], "subtype": ["UPS"]}).shape == (
        1,
        3,
    )  # centre and dose are not asked for


def test_a_level_that_training_had_not_seen_counts_as_the_reference():
    new = {"age": [50.0], "subtype": ["angiosarcoma"], "centre": ["Z"], "dose": [9]}
    assert fit_design(TRAINING).transform(new)[0, 1:].tolist() == [0.0, 0.0]


def test_test_rows_do_not_change_what_was_learned():
    design = fit_design(TRAINING)
    alone = design.transform({name: values[:1] for name, values in TRAINING.items()})
    assert (alone[0] == design.transform(TRAINING)[0]).all()


def test_a_column_of_nothing_but_missing_values_is_left_out():
    assert fit_design({"age": [None, float("nan"), ""]}).names == ()


def test_a_design_without_columns_still_has_rows():
    assert fit_design({"centre": ["A", "A"]}).transform({"centre": ["A", "B", "C"]}).shape == (3, 0)


def test_true_and_false_are_numbers():
    ours = fit_design({"treated": [True, False, True, False]}).transform(
        {"treated": np.array([True, False])}
    )
    assert ours.tolist() == [[1.0], [-1.0]]


def test_text_where_training_had_numbers_is_refused():
    with pytest.raises(CohortError, match="Covariate 'age' of row 0 is 'old', expected a number"):
        fit_design({"age": [40.0, 60.0]}).transform({"age": ["old"]})


def test_a_covariate_that_is_not_there_is_named():
    with pytest.raises(CohortError, match="Covariate 'age' is missing"):
        fit_design({"age": [40.0, 60.0]}).transform({"sex": ["f"]})


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(CohortError, match="'age': 2, 'sex': 1"):
        fit_design({"age": [40.0, 60.0], "sex": ["f"]})
