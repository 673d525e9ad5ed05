"""What goes into every statistic is checked once: a wrong row is named with its value."""

from __future__ import annotations

import numpy as np
import pytest

from pathoml.errors import CohortError
from pathoml.survival.outcome import (
    checked_entry,
    checked_groups,
    checked_outcome,
    checked_score,
    checked_weight,
)

TIME = np.array([3.0, 5.0])


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (lambda: checked_outcome([3.0, 5.0], [1]), r"time_months has shape \(2,\), event \(1,\)"),
        (lambda: checked_outcome([], []), "No patients"),
        (lambda: checked_outcome([3.0, np.inf], [1, 0]), "time_months of row 1 is inf"),
        (lambda: checked_outcome([3.0, 5.0], [1, 2]), "event of row 1 is .*2.*competing"),
        (lambda: checked_score([1.0], 2), r"log_risk has shape \(1,\), but there are 2 patients"),
        (lambda: checked_score([1.0, np.nan], 2, "age"), "age of row 1 is nan"),
        (lambda: checked_entry([0.0, 5.0], TIME), "Row 1 enters at 5 months and leaves at 5"),
        (lambda: checked_weight([1.0, -0.5], 2), "must not be negative"),
        (lambda: checked_weight([0.0, 0.0], 2), "not all zero"),
        (lambda: checked_groups(["A"], 2, "centre"), r"centre has shape \(1,\)"),
    ],
)
def test_a_row_that_cannot_be_is_named(check, words):
    with pytest.raises(CohortError, match=words):
        check()


def test_a_centre_is_the_same_whether_it_was_read_as_number_or_word():
    assert checked_groups(np.array([1, "1", "B"], dtype=object), 3, "centre").tolist() == [0, 0, 1]


def test_what_is_not_given_stays_so():
    assert (checked_entry(None, TIME), checked_weight(None, 2)) == (None, None)


def test_a_weight_of_zero_beside_others_leaves_a_patient_out():
    assert checked_weight([0.0, 2.0], 2).tolist() == [0.0, 2.0]
