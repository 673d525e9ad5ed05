"""Patients are divided, never slides; what was planted in a test fold cannot help."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.learning import planted_cohort

from pathoml.config import SplitsConfig
from pathoml.errors import CohortError, ConfigError
from pathoml.study.splits import check_splits, make_splits, read_splits, write_splits

SCHEMES = ["stratified", "leave_one_centre_out", "centre_preserving"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_patient_is_tested_once_a_repeat_and_never_by_a_model_trained_on_them(
    scheme: str,
) -> None:
    cohort, _, _ = planted_cohort(60, centres=6)
    splits = make_splits(cohort, SplitsConfig(scheme=scheme, folds=3, repeats=2))  # type: ignore[arg-type]
    check_splits(splits, cohort)
    for split in splits:
        assert all(set(f.train) | set(f.test) == set(cohort.patient_ids) for f in split.folds)


def test_folds_are_even_in_patients_and_events() -> None:
    cohort, _, _ = planted_cohort(53)
    event = dict(zip(cohort.patient_ids, cohort.event))
    for split in make_splits(cohort, SplitsConfig(folds=5, repeats=3)):
        sizes = [len(f.test) for f in split.folds]
        events = [sum(event[p] for p in f.test) for f in split.folds]
        assert max(sizes) - min(sizes) <= 1
        assert max(events) - min(events) <= 1


def test_repeats_are_different_partitions_and_the_seed_fixes_them() -> None:
    cohort, _, _ = planted_cohort(40)
    first, second = make_splits(cohort, SplitsConfig(repeats=2))
    assert first.folds != second.folds
    assert make_splits(cohort, SplitsConfig(repeats=2)) == (first, second)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_order_of_the_patients_decides_nothing(scheme: str) -> None:
    cohort, _, _ = planted_cohort(60, centres=6)
    other = [cohort.patients[i] for i in np.random.default_rng(1).permutation(60)]
    config = SplitsConfig(scheme=scheme, folds=3, repeats=2)  # type: ignore[arg-type]
    assert make_splits(replace(cohort, patients=tuple(other)), config) == make_splits(
        cohort, config
    )


@pytest.mark.parametrize("scheme", SCHEMES[1:])
def test_a_centre_is_never_on_both_sides(scheme: str) -> None:
    cohort, _, _ = planted_cohort(60, centres=7)
    centre = dict(zip(cohort.patient_ids, cohort.centre))
    for split in make_splits(cohort, SplitsConfig(scheme=scheme, folds=3)):  # type: ignore[arg-type]
        for fold in split.folds:
            assert not {centre[p] for p in fold.train} & {centre[p] for p in fold.test}


def test_centre_preserving_folds_are_as_even_as_whole_centres_allow() -> None:
    cohort, _, _ = planted_cohort(60, centres=6)  # six centres of ten: two a fold is the best
    split = make_splits(cohort, SplitsConfig(scheme="centre_preserving", folds=3))[0]
    assert [len(f.test) for f in split.folds] == [20, 20, 20]


def test_too_few_events_for_the_folds_is_said() -> None:
    cohort, _, _ = planted_cohort(12)
    censored = replace(
        cohort, patients=tuple(replace(p, event=int(i == 0)) for i, p in enumerate(cohort.patients))
    )
    with pytest.raises(CohortError, match="12 patients with 1 events are too few for 5 folds"):
        make_splits(censored, SplitsConfig(folds=5))


def test_one_centre_cannot_be_left_out() -> None:
    cohort, _, _ = planted_cohort(20, centres=1)
    with pytest.raises(CohortError, match="one centre only"):
        make_splits(cohort, SplitsConfig(scheme="leave_one_centre_out"))


def test_splits_survive_the_file(tmp_path: Path) -> None:
    cohort, _, _ = planted_cohort(30)
    splits = make_splits(cohort, SplitsConfig(repeats=2))
    write_splits(tmp_path / "splits.json", splits, "stratified")
    assert read_splits(tmp_path / "splits.json") == splits


def test_a_patient_on_both_sides_is_refused() -> None:
    cohort, _, _ = planted_cohort(30)
    split = make_splits(cohort, SplitsConfig(repeats=1))[0]
    leaky = replace(split.folds[0], train=(*split.folds[0].train, split.folds[0].test[0]))
    with pytest.raises(CohortError, match="both sides"):
        check_splits([replace(split, folds=(leaky, *split.folds[1:]))], cohort)


def test_sampled_tiles_are_distinct_where_the_bag_is_large_and_complete_where_it_is_small() -> None:
    from pathoml.bags.batches import sample_tiles

    chosen = sample_tiles([5, 50], 12, np.random.default_rng(0))
    assert set(chosen[0].tolist()) == set(range(5))
    assert len(set(chosen[1].tolist())) == 12
    assert chosen[1].min() >= 5


def test_splits_are_made_from_keys_alone():
    cohort = planted_cohort(30)[0]
    splits = make_splits(cohort, folds=3, repeats=2, seed=7)
    assert splits == make_splits(cohort, SplitsConfig(folds=3, repeats=2, seed=7))


def test_a_typo_in_a_key_of_splits_names_the_nearest():
    with pytest.raises(ConfigError, match=r"^splits: unknown key 'fold'. Did you mean 'folds'"):
        make_splits(planted_cohort(30)[0], fold=3)
