"""On cohorts without any effect the permutation test rejects about as often as it says;
benchmarks/null_cohorts.py has the full count.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom
from support.null_cohorts import one_cohort

COHORTS, PERMUTATIONS = 24, 19
UNLIKELY = 0.005  # a test that keeps its level fails this one more rarely


@pytest.mark.ci
def test_the_permutation_p_keeps_its_level_where_centres_differ() -> None:
    found = [one_cohort(seed, 0.0, "event", permutations=PERMUTATIONS) for seed in range(COHORTS)]
    rows = np.array([(one.p_of_c, one.p_of_gain, one.wald_p) for one in found])
    most = int(binom.isf(UNLIKELY, COHORTS, 0.05))
    assert (rows[:, 0] <= 0.05).sum() <= most, "of C"
    assert (rows[:, 1] <= 0.05).sum() <= most, "of the gain over the clinical model"
    assert (rows[:, 2] <= 0.05).sum() > most, (
        "the Wald test of the same scores must fail here, or the cohorts have no centre effect"
    )
