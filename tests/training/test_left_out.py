"""Models of a solved head differ by whom they leave out: every training patient once."""

from __future__ import annotations

from collections import Counter

import pytest
from support.learning import planted_cohort

from pathoml.training.left_out import leaving_out
from pathoml.training.model_stack import ModelSpec


def test_each_training_patient_is_left_out_once_and_events_are_dealt_out_alike():
    cohort, _, _ = planted_cohort(43, seed=1)
    learns = cohort.patient_ids[:33]
    one = ModelSpec(repeat="locked", fold="all", seed=1, train=tuple(learns))
    models = leaving_out(one, cohort, parts=5, seed=7)
    left = [set(learns) - set(model.train) for model in models]
    assert Counter(who for some in left for who in some) == Counter(learns)
    event = dict(zip(cohort.patient_ids, cohort.event))
    events = [sum(event[who] for who in some) for some in left]
    assert max(events) - min(events) <= 1
    assert all(set(model.train) <= set(learns) for model in models)


@pytest.mark.parametrize("seed", [7, 8])
def test_the_parts_go_by_the_seed_and_the_order_of_patients_stays(seed):
    cohort, _, _ = planted_cohort(20, seed=1)
    one = ModelSpec(repeat="locked", fold="all", seed=1, train=tuple(cohort.patient_ids))
    first, again = (leaving_out(one, cohort, parts=5, seed=seed) for _ in range(2))
    assert first == again
    assert first != leaving_out(one, cohort, parts=5, seed=seed + 1)
    for model in first:
        assert list(model.train) == [who for who in one.train if who in model.train]
