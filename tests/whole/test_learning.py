"""Training, scores, maps and the permutation test on small cohorts with a planted signal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.learning import planted_cohort

from pathoml.bags.projection import fit_projection
from pathoml.config import SplitsConfig, TrainConfig
from pathoml.errors import CohortError, StoreError
from pathoml.evaluation.permutation import (
    PermutationTest,
    RepeatedValidation,
    permutation_tests,
    permute_within_centre,
)
from pathoml.explanation.contributions import explain_bag
from pathoml.study.splits import make_splits
from pathoml.survival.concordance import harrell_c
from pathoml.synthetic.truth import roc_auc
from pathoml.training import loop as training
from pathoml.training.baselines import clinical_scores, ridge_cox_folds
from pathoml.training.loop import model_specs, train_models
from pathoml.training.models import load_models, save_block, save_index
from pathoml.training.scoring import (
    averaged,
    fold_scores,
    out_of_fold,
    risk_scores,
    seed_folds,
    standardise,
)

CONFIG = TrainConfig(
    head="abmil",
    epochs=25,
    tiles_per_patient=24,
    projection=8,
    hidden=8,
    seeds=2,
    learning_rate=1e-2,
)
CPU = torch.device("cpu")


def train(cohort, bags, splits, config=CONFIG, seed=1):  # type: ignore[no-untyped-def]
    specs = model_specs(splits, config.seeds)
    [block] = list(train_models(cohort, bags, specs, config=config, device=CPU, seed=seed))
    return block.stack, specs, block.stack.log_risks(bags)


@pytest.fixture(scope="module")
def trained():  # type: ignore[no-untyped-def]
    cohort, bags, bad = planted_cohort(48, effect=6.0)
    splits = make_splits(cohort, SplitsConfig(folds=3, repeats=2))
    stack, specs, raw = train(cohort, bags, splits)
    return cohort, bags, bad, splits, stack, specs, fold_scores(raw, specs, cohort.patient_ids), raw


def test_a_planted_signal_is_found_out_of_fold(trained) -> None:  # type: ignore[no-untyped-def]
    cohort, *_, folds, _ = trained
    assert (
        harrell_c(standardise(out_of_fold(folds, "standardised")), cohort.time_months, cohort.event)
        > 0.65
    )


def test_the_map_finds_the_planted_tiles(trained) -> None:  # type: ignore[no-untyped-def]
    _, bags, bad, _, stack, _, folds, _ = trained
    maps = [
        explain_bag(stack, folds, bag, position=i).contribution * len(bag.features)
        for i, bag in enumerate(bags)
    ]
    assert roc_auc(np.concatenate(bad), np.concatenate(maps)) > 0.85


def test_contributions_and_bias_sum_to_the_exported_score(trained) -> None:  # type: ignore[no-untyped-def]
    cohort, bags, _, _, stack, specs, folds, _ = trained
    rows = risk_scores(
        cohort,
        bags,
        folds,
        model_hashes=["x"] * len(specs),
        splits_sha256="",
        score_type="oof",
        data_cut="",
    )
    for i, (bag, row) in enumerate(zip(bags, rows)):
        explained = explain_bag(stack, folds, bag, position=i)
        assert explained.contribution.sum() + explained.bias == pytest.approx(
            row.log_risk, abs=1e-5
        )
        assert explained.attention.sum() == pytest.approx(1, abs=1e-5)


def test_log_risk_is_the_mean_over_repeats_of_the_risk_centred_on_each_models_training_patients(
    trained,
) -> None:  # type: ignore[no-untyped-def]
    cohort, _, _, splits, _, specs, folds, raw = trained
    patient = cohort.patient_ids[7]
    expected = []
    for split in splits:
        [fold] = [f for f in split.folds if patient in f.test]
        models = [m for m, s in enumerate(specs) if (s.repeat, s.fold) == (split.name, fold.name)]
        risk = raw[models].mean(axis=0)
        expected.append(risk[7] - np.mean([risk[cohort.patient_ids.index(p)] for p in fold.train]))
    assert out_of_fold(folds)[:, 7].mean() == pytest.approx(np.mean(expected), abs=1e-12)


def test_score_sd_has_sd_one_and_rescaling_a_models_output_changes_nothing(trained) -> None:  # type: ignore[no-untyped-def]
    cohort, *_, specs, folds, raw = trained
    score = standardise(out_of_fold(folds, "standardised"))
    stretched = np.where(np.array([s.fold == "1" for s in specs])[:, None], raw * 7 + 3, raw)
    again = standardise(
        out_of_fold(fold_scores(stretched, specs, cohort.patient_ids), "standardised")
    )
    assert score.std(ddof=1) == pytest.approx(1)
    assert np.allclose(score, again)


def test_the_score_of_one_seed_is_that_of_a_run_that_trained_no_other(trained) -> None:  # type: ignore[no-untyped-def]
    cohort, *_, specs, _, raw = trained
    by_seed = {
        seed: averaged(some) for seed, some in seed_folds(raw, specs, cohort.patient_ids).items()
    }
    assert list(by_seed) == ["1", "2"]
    second = [m for m, s in enumerate(specs) if s.seed == 2]
    alone = fold_scores(
        raw[second], [replace(specs[m], seed=1) for m in second], cohort.patient_ids
    )
    assert np.allclose(by_seed["2"], standardise(out_of_fold(alone, "standardised")))
    assert not np.allclose(by_seed["1"], by_seed["2"])


def test_an_outcome_planted_in_test_patients_cannot_be_seen() -> None:
    cohort, bags, _ = planted_cohort(60, effect=0.0)
    split = make_splits(cohort, SplitsConfig(folds=3, repeats=1))[0]
    fold = split.folds[0]
    leaked = [
        replace(bag, features=(bag.features + 4 * (30 - patient.time_months)).astype(np.float16))
        if patient.patient_id in fold.test
        else bag
        for patient, bag in zip(cohort.patients, bags)
    ]
    _, _, clean = train(cohort, bags, [replace(split, folds=(fold,))])
    stack, _, _ = train(cohort, leaked, [replace(split, folds=(fold,))])
    assert np.allclose(clean, stack.log_risks(bags), atol=1e-5), (
        "the test patients' features changed the model"
    )


def test_outcomes_of_test_patients_do_not_change_the_model() -> None:
    cohort, bags, _ = planted_cohort(40)
    split = make_splits(cohort, SplitsConfig(folds=3, repeats=1))[0]
    fold = split.folds[0]
    changed = replace(
        cohort,
        patients=tuple(
            replace(p, time_months=999.0 - p.time_months) if p.patient_id in fold.test else p
            for p in cohort.patients
        ),
    )
    _, _, first = train(cohort, bags, [replace(split, folds=(fold,))])
    _, _, second = train(changed, bags, [replace(split, folds=(fold,))])
    assert np.array_equal(first, second)


def test_a_rerun_is_bit_equal_and_another_seed_is_not(trained) -> None:  # type: ignore[no-untyped-def]
    cohort, bags, _, splits, *_, raw = trained
    assert np.array_equal(raw, train(cohort, bags, splits)[2])
    assert not np.array_equal(raw, train(cohort, bags, splits, seed=2)[2])


def test_models_survive_the_file_and_a_changed_file_is_refused(trained, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    _, bags, _, _, stack, specs, _, raw = trained
    save_index(tmp_path, stack.spec, save_block(tmp_path, stack, specs))
    loaded, loaded_specs, _ = load_models(tmp_path, CPU)
    assert loaded_specs == specs
    assert np.array_equal(loaded.log_risks(bags), raw)
    victim = tmp_path / f"{specs[0].name}.safetensors"
    content = bytearray(victim.read_bytes())
    content[-3] ^= 1
    victim.write_bytes(bytes(content))
    with pytest.raises(StoreError, match="changed after training"):
        load_models(tmp_path, CPU)


def test_training_in_small_blocks_gives_every_model_once(
    trained, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    cohort, bags, *_, specs, _, _ = trained
    monkeypatch.setitem(training.BLOCK_VALUES, "cpu", len(bags) * 24 * 8 * 5)
    blocks = [
        block.models
        for block in train_models(cohort, bags, specs, config=replace_epochs(2), device=CPU, seed=1)
    ]
    assert [b.stop - b.start for b in blocks] == [5, 5, 2]


def replace_epochs(epochs: int) -> TrainConfig:
    return CONFIG.model_copy(update={"epochs": epochs})


def test_the_projection_spans_the_principal_components_of_numpy() -> None:
    _, bags, _ = planted_cohort(30)
    mean, components = fit_projection(bags, 4, 0, device=CPU)
    tiles = np.concatenate([b.features for b in bags]).astype(np.float64)
    _, _, right = np.linalg.svd(tiles - tiles.mean(0), full_matrices=False)
    leading = right[0]  # the planted direction is by far the strongest
    cosine = abs(components[:, 0].numpy() @ leading) / np.linalg.norm(components[:, 0].numpy())
    assert cosine > 0.98
    assert np.allclose(mean.numpy(), tiles.mean(0), atol=0.2)


def test_features_that_are_not_finite_stop_by_name() -> None:
    cohort, bags, _ = planted_cohort(12)
    bags[3].features[0, 0] = np.nan
    with pytest.raises(CohortError, match="Patient P3"):
        train(cohort, bags, make_splits(cohort, SplitsConfig(folds=2, repeats=1)))


def test_bags_are_permuted_within_their_centre() -> None:
    centre = np.array(["a"] * 10 + ["b"] * 5)
    order = permute_within_centre(centre, np.random.default_rng(0))
    assert sorted(order.tolist()) == list(range(15))
    assert np.array_equal(centre[order], centre)
    assert not np.array_equal(order, np.arange(15))


def test_the_p_value_counts_ties_against_us_and_is_never_zero() -> None:
    assert PermutationTest(observed=0.7, null=(0.5, 0.7, 0.6)).p_value == 0.5
    assert PermutationTest(observed=0.9, null=(0.5,) * 19).p_value == 0.05


def test_a_strong_signal_beats_all_its_permutations() -> None:
    cohort, bags, _ = planted_cohort(60, effect=6.0)
    config = replace_epochs(15).model_copy(update={"seeds": 1})
    splits = make_splits(cohort, SplitsConfig(folds=3, repeats=1))
    _, specs, raw = train(cohort, bags, splits, config)
    observed = fold_scores(raw, specs, cohort.patient_ids)
    clinical = np.array([[p.covariates["age"]] for p in cohort.patients])
    design = {
        "cohort": cohort,
        "bags": bags,
        "splits": splits,
        "clinical": clinical,
        "config": config,
    }
    test, gain = permutation_tests(
        RepeatedValidation(**design, permutations=19, seed=1, device="cpu"), observed
    )
    assert test.p_value == pytest.approx(0.05)
    assert gain.p_value == pytest.approx(0.05)
    assert abs(np.mean(test.null) - 0.5) < 0.1


def test_baselines_are_out_of_fold_too() -> None:
    cohort, bags, _ = planted_cohort(60, effect=5.0)
    splits = make_splits(cohort, SplitsConfig(folds=3, repeats=2))
    assert (
        harrell_c(averaged(ridge_cox_folds(cohort, bags, splits)), cohort.time_months, cohort.event)
        > 0.65
    )
    noise = clinical_scores(cohort, splits)
    assert noise is not None
    assert harrell_c(noise, cohort.time_months, cohort.event) < 0.65
