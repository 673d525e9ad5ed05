"""The models of a bundle: why there are several, and what each learns from."""

from __future__ import annotations

import pytest
from support.learning import planted_cohort

from pathoml.bundles.locking import FEWEST_MODELS, ensemble_of
from pathoml.config import StudyConfig, parse_config

ENDPOINT = {"name": "e", "time_zero": "z", "time": "t", "event": "e"}


def config(head: str, seeds: int = 3) -> StudyConfig:
    return parse_config({"endpoint": ENDPOINT, "train": {"head": head, "seeds": seeds}})


@pytest.mark.parametrize("head", ["mean_extremes", "ridge_cox"])
def test_of_a_solved_head_each_model_leaves_out_another_fifth_of_patients_and_events(head):
    cohort, _, _ = planted_cohort(40)
    specs = ensemble_of(cohort, config(head))
    left_out = [set(cohort.patient_ids) - set(s.train) for s in specs]
    assert len(specs) == FEWEST_MODELS
    assert sorted(p for some in left_out for p in some) == sorted(cohort.patient_ids)
    events = {p.patient_id for p in cohort.patients if p.event}
    shares = [len(some & events) for some in left_out]
    assert max(shares) - min(shares) <= 1
    assert len({s.name for s in specs}) == FEWEST_MODELS


def test_of_a_trained_head_every_model_learns_from_everybody_by_its_own_seed():
    cohort, _, _ = planted_cohort(40)
    specs = ensemble_of(cohort, config("abmil", seeds=7))
    assert [s.seed for s in specs] == [1, 2, 3, 4, 5, 6, 7]
    assert {s.train for s in specs} == {tuple(cohort.patient_ids)}
