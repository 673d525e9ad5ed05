"""The gain of a score over the clinical model has a value for every permutation, also where few
patients let a coefficient run to infinity.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.learning import planted_cohort

from pathoml.evaluation.permutation import ClinicalModel
from pathoml.survival.cox import NotIdentified, fit_cox


def cohort_of(months):
    cohort, _, _ = planted_cohort(len(months), centres=1)
    patients = [
        replace(one, time_months=float(m), event=1) for one, m in zip(cohort.patients, months)
    ]
    return replace(cohort, patients=tuple(patients))


@pytest.mark.parametrize(("sign", "gained"), [(1.0, 1.0), (-1.0, -1.0)])
def test_a_score_in_the_order_of_the_events_gains_what_the_likelihood_has_to_give(sign, gained):
    months = np.arange(1.0, 7.0)
    cohort, score = cohort_of(months), sign * -months  # the higher, the earlier
    with pytest.raises(NotIdentified):
        fit_cox(score[:, None], months, np.ones(6))
    # without covariates the log-likelihood is -log 6!; in perfect order it comes near 0
    expected = gained * 2 * np.log(720)
    gain = ClinicalModel(np.zeros((6, 0)), cohort).gain(score)
    assert gain == pytest.approx(expected, rel=0.02)


def test_a_score_that_is_the_same_for_all_gains_nothing():
    cohort = cohort_of(np.arange(1.0, 7.0))
    assert ClinicalModel(np.zeros((6, 0)), cohort).gain(np.ones(6)) == 0.0
