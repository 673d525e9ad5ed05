"""The spread of repeated predictions, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pathoml.errors import CohortError
from pathoml.survival.instability import classification_instability, instability


def test_two_patients_by_hand():
    """Patient 0: 0.2 and then 0.1, 0.4, 0.4; mean distance (0.1 + 0.2 + 0.2) / 3. Patient 1 never
    moves.
    """
    spread = instability([0.2, 0.7], [[0.1, 0.7], [0.4, 0.7], [0.4, 0.7]])
    assert spread.mean_absolute_error == pytest.approx([0.5 / 3, 0])
    assert spread.sd == pytest.approx([np.sqrt(0.03), 0])  # mean 0.3: 0.04 + 0.01 + 0.01, over 2
    assert spread.median == pytest.approx([0.4, 0.7])
    assert spread.low == pytest.approx([0.115, 0.7])  # a twentieth of the way from 0.1 to 0.4
    assert spread.high == pytest.approx([0.4, 0.7])


def test_a_model_that_is_biased_anew_each_time_is_far_from_the_original_though_it_varies_little():
    spread = instability([0.2], [[0.6], [0.62], [0.61]])
    assert spread.mean_absolute_error[0] > 0.4 > 10 * spread.sd[0]


def test_the_share_of_other_groups_is_counted_for_each_patient():
    again = [["high", "low"], ["low", "low"], ["high", "high"], ["low", "low"]]
    assert classification_instability(["high", "low"], again) == pytest.approx([0.5, 0.25])


def test_one_repetition_or_other_patients_are_refused():
    with pytest.raises(CohortError, match="1 repetitions have no spread"):
        instability([0.1, 0.2], [[0.1, 0.2]])
    with pytest.raises(CohortError, match=r"shape \(2, 3\), expected \(R, 2\)"):
        instability([0.1, 0.2], [[0.1, 0.2, 0.3], [0.1, 0.2, 0.3]])
