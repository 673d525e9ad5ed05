"""Who was treated must not follow from a covariate alone."""

from __future__ import annotations

import numpy as np
import pytest

from pathoml.errors import CohortError
from pathoml.survival.propensity import propensity

N = 60
SCORE = np.random.default_rng(1).normal(size=N)
TREATED = (np.arange(N) % 2).astype(float)
NO_COVARIATES = np.empty((N, 0))


def test_a_treatment_that_a_covariate_decides_is_a_sentence():
    with pytest.raises(CohortError, match="decides who was treated"):
        propensity(TREATED[:, None] + 0.01 * SCORE[:, None], TREATED)


def test_a_treatment_that_all_got_is_a_sentence():
    with pytest.raises(CohortError, match="60 of 60 are treated"):
        propensity(NO_COVARIATES, np.ones(N))
