"""Primary and metastasis of one patient: do their scores agree, and does one lie higher?"""

from __future__ import annotations

import numpy as np
import pytest

from pathoml.survival.heterogeneity import paired_heterogeneity

RNG = np.random.default_rng(1)
N = 60
SCORE = RNG.normal(size=N)


def test_a_pair_of_specimens_that_agree_and_do_not_shift_is_told_from_strangers():
    result = paired_heterogeneity(SCORE, SCORE + 0.1 * RNG.normal(size=N), np.arange(N) % 3)
    assert result.agreement_p < 0.001 < 0.05 < result.shift_p


def test_a_shift_between_primary_and_metastasis_is_found_and_stranger_pairs_agree_by_chance():
    result = paired_heterogeneity(SCORE, RNG.permutation(SCORE) + 2, np.arange(N) % 3)
    assert result.shift_p < 0.001
    assert result.shift.estimate == pytest.approx(2, abs=1e-12)


def test_the_sign_flip_p_of_six_equal_shifts_is_two_of_64_in_the_long_run():
    result = paired_heterogeneity(
        [0.0] * 6, [1.0, 1.1, 1.2, 1.3, 1.4, 1.5], ["A"] * 6, permutations=20_000
    )
    assert result.shift_p == pytest.approx(2 / 64, abs=0.004)
