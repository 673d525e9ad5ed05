"""q values of Benjamini and Hochberg are SciPy's, those of Holm R's, and both count tests whose p
values are not here.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from pathoml.errors import CohortError
from pathoml.survival.multiplicity import benjamini_hochberg, holm


def test_q_values_are_those_of_scipy_with_ties_zeros_and_ones():
    p = np.round(np.random.default_rng(1).uniform(size=200) ** 2, 2)
    assert (p == 0).any()
    np.testing.assert_allclose(benjamini_hochberg(p), false_discovery_control(p), rtol=1e-12)


def test_tests_whose_p_values_are_not_here_count_as_if_they_had_been_one():
    p = np.array([0.001, 0.01, 0.02])
    whole = false_discovery_control(np.append(p, np.ones(17)))[:3]
    np.testing.assert_allclose(benjamini_hochberg(p, family_size=20), whole, rtol=1e-12)


@pytest.mark.parametrize(
    ("p", "size", "adjusted"),
    [  # R 4: p.adjust(p, "holm", n = size)
        ([0.01, 0.04, 0.03, 0.005], None, [0.03, 0.06, 0.06, 0.02]),
        ([0.01, 0.04, 0.03, 0.005], 6, [0.05, 0.12, 0.12, 0.03]),
        ([0.02, 0.02], None, [0.04, 0.04]),
        ([0.6, 0.7, 0.0], None, [1.0, 1.0, 0.0]),
    ],
)
def test_holm_is_that_of_r(p, size, adjusted):
    np.testing.assert_allclose(holm(p, size), adjusted, rtol=1e-12)


@pytest.mark.parametrize("adjust", [benjamini_hochberg, holm])
def test_no_tests_have_no_q_values(adjust):
    assert len(adjust([])) == 0


@pytest.mark.parametrize(
    ("p", "size", "words"),
    [([0.5, 1.1], None, "between 0 and 1"), ([0.5, 0.5], 1, "1 hypotheses, but 2"),
     ([np.nan], None, "between 0 and 1")],
)  # fmt: skip
@pytest.mark.parametrize("adjust", [benjamini_hochberg, holm])
def test_what_is_no_p_value_or_no_family_is_refused(p, size, words, adjust):
    with pytest.raises(CohortError, match=words):
        adjust(p, size)
