"""The ridge baseline: it learns on training rows only, shrinks noise, and finds a signal."""

from __future__ import annotations

import time as clock

import numpy as np
import pytest

from pathoml.errors import CohortError
from pathoml.survival.concordance import harrell_c
from pathoml.survival.cox import fit_cox, partial_log_likelihood
from pathoml.survival.ridge_cox import choose_ridge, event_balanced_folds, fit_ridge_cox


def embeddings(n: int, width: int, seed: int, effect: float):
    """Mean embeddings of five latent directions; the first drives the hazard."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(n, 5))
    loadings = np.random.default_rng(0).normal(size=(5, width))
    x = latent @ loadings + 0.5 * rng.normal(size=(n, width)) + 10.0
    died, left = rng.exponential(24 * np.exp(-effect * latent[:, 0])), rng.exponential(40, size=n)
    return x, np.minimum(died, left), (died <= left).astype(int)


def test_a_signal_in_the_embedding_is_found_on_new_patients():
    model = fit_ridge_cox(*embeddings(150, 300, 1, effect=1.0), seed=1)
    x, time, event = embeddings(300, 300, 2, effect=1.0)
    assert harrell_c(model.predict(x), time, event) > 0.7


def test_noise_gets_a_stronger_penalty_than_a_signal():
    def typical_penalty(effect):
        models = [fit_ridge_cox(*embeddings(100, 100, seed, effect), seed=1) for seed in range(9)]
        return np.median([model.ridge / model.events for model in models])

    assert typical_penalty(effect=0.0) >= 3 * typical_penalty(effect=1.5)


def test_log_risk_is_zero_on_average_over_the_training_rows():
    x, time, event = embeddings(100, 300, 1, effect=1.0)
    assert fit_ridge_cox(x, time, event, seed=1).predict(x).mean() == pytest.approx(0.0, abs=1e-10)


def test_predictions_do_not_depend_on_the_units_of_the_embedding():
    x, time, event = embeddings(100, 300, 1, effect=1.0)
    scale, shift = np.geomspace(1e-3, 1e3, 300), np.linspace(-5, 5, 300)
    ours = fit_ridge_cox(x * scale + shift, time, event, seed=1).predict(x * scale + shift)
    assert ours == pytest.approx(fit_ridge_cox(x, time, event, seed=1).predict(x), abs=1e-8)


def test_with_all_components_it_is_the_ridge_cox_model_of_the_standardised_columns():
    x, time, event = embeddings(100, 8, 1, effect=0.5)
    model = fit_ridge_cox(x, time, event, seed=1)
    standard = (x - x.mean(axis=0)) / x.std(axis=0)
    unit = np.linalg.svd(standard, compute_uv=False)[0] / np.sqrt(100)
    direct = fit_cox(standard, time, event, ridge=model.ridge * unit**2)
    assert model.predict(x) == pytest.approx(standard @ direct.coefficients, abs=1e-7)


def test_a_training_fold_that_misses_a_column_gives_it_no_weight():
    x, time, event = embeddings(100, 300, 1, effect=1.0)
    x[:, 7] = 0.1
    model = fit_ridge_cox(x, time, event, seed=1)
    planted = x.copy()
    planted[:, 7] = 1e6
    assert model.predict(planted) == pytest.approx(model.predict(x), abs=1e-10)


def test_components_are_limited_to_half_the_patients_and_to_the_number_asked_for():
    x, time, event = embeddings(48, 300, 1, effect=1.0)
    assert fit_ridge_cox(x, time, event, seed=1).components == 24
    assert fit_ridge_cox(x, time, event, seed=1, components=3).components == 3


def test_the_chosen_penalty_has_the_largest_cross_validated_likelihood():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(80, 10))
    time, event = rng.exponential(np.exp(-0.6 * x[:, 0])), rng.random(80) < 0.7
    grid, fold = [0.1, 1.0, 10.0, 100.0, 1000.0], event_balanced_folds(event, 4, seed=5)

    def cross_validated(ridge):
        total = 0.0
        for k in range(4):
            train = fold != k
            b = fit_cox(x[train], time[train], event[train], ridge=ridge).coefficients
            total += partial_log_likelihood(x @ b, time, event)
            total -= partial_log_likelihood(x[train] @ b, time[train], event[train])
        return total

    assert choose_ridge(x, time, event, seed=5, grid=grid) == max(grid, key=cross_validated)


def test_every_inner_fold_has_its_share_of_events():
    event = np.arange(36) % 4 == 0  # dealing out rows as they come would put all nine into one fold
    fold = event_balanced_folds(event, 4, seed=1)
    assert sorted(np.bincount(fold[event])) == [2, 2, 2, 3]
    assert max(np.bincount(fold)) - min(np.bincount(fold)) <= 1


def test_the_same_seed_gives_the_same_model():
    data = embeddings(60, 300, 1, effect=1.0)
    assert (fit_ridge_cox(*data, seed=2).weights == fit_ridge_cox(*data, seed=2).weights).all()


def test_one_event_is_too_few():
    x, time, _ = embeddings(30, 20, 1, effect=1.0)
    with pytest.raises(CohortError, match="30 training patients have 1 events"):
        fit_ridge_cox(x, time, np.arange(30) == 3, seed=1)


def test_an_embedding_of_another_width_is_refused():
    model = fit_ridge_cox(*embeddings(60, 20, 1, effect=1.0), seed=1)
    with pytest.raises(CohortError, match="fitted to 20 columns"):
        model.predict(np.zeros((3, 21)))


def test_a_fold_of_200_patients_takes_less_than_a_second():
    data = embeddings(200, 1280, 1, effect=0.5)
    start = clock.process_time()
    fit_ridge_cox(*data, seed=1)
    assert clock.process_time() - start < 1.0


def several_centres(seed: int, n: int = 120):
    """Embeddings and outcomes of patients whose baseline hazard differs between three centres."""
    x, time, event = embeddings(n, 8, seed, effect=0.5)
    centre = np.random.default_rng(seed).choice(["A", "B", "C"], n)
    return x, time * np.select([centre == "A", centre == "B"], [0.2, 1.0], 4.0), event, centre


def test_strata_and_offset_are_those_of_the_ridge_cox_model_of_the_standardised_columns():
    x, time, event, centre = several_centres(3)
    known = np.random.default_rng(4).normal(size=len(time))
    about = {"stratum": centre, "offset": known}
    model = fit_ridge_cox(x, time, event, seed=1, **about)
    standard = (x - x.mean(axis=0)) / x.std(axis=0)
    unit = np.linalg.svd(standard, compute_uv=False)[0] / np.sqrt(len(x))
    direct = fit_cox(standard, time, event, ridge=model.ridge * unit**2, **about)
    assert model.predict(x) == pytest.approx(standard @ direct.coefficients, abs=1e-7)


@pytest.mark.parametrize("about", [("stratum",), ("offset",), ("stratum", "offset")])
def test_the_penalty_is_chosen_by_the_likelihood_within_strata_and_with_the_offset(about):
    x, time, event, centre = several_centres(5)
    given = {"stratum": centre, "offset": 3 * np.random.default_rng(6).normal(size=len(time))}
    given = {name: given[name] for name in about}
    grid = (1.0, 10.0, 100.0, 1000.0)
    fold = event_balanced_folds(event, 4, seed=2)
    gains = []
    for ridge in grid:
        gain = 0.0
        for held_out in range(4):
            train = fold != held_out
            own = {name: values[train] for name, values in given.items()}
            fit = fit_cox(x[train], time[train], event[train], ridge=ridge, **own)
            risk = x @ fit.coefficients
            gain += partial_log_likelihood(risk, time, event, **given)
            gain -= partial_log_likelihood(risk[train], time[train], event[train], **own)
        gains.append(gain)
    assert choose_ridge(x, time, event, seed=2, grid=grid, **given) == grid[int(np.argmax(gains))]


def test_a_column_that_only_tells_strata_apart_gets_no_weight():
    x, time, event, centre = several_centres(7)
    x[:, 0] = centre == "C"
    with_strata = fit_ridge_cox(x, time, event, seed=1, stratum=centre, components=8)
    without = fit_ridge_cox(x, time, event, seed=1, components=8)
    assert abs(with_strata.weights[0]) < abs(without.weights[0]) / 3


def test_what_the_offset_says_already_is_not_learned_again():
    x, time, event = embeddings(300, 8, 8, effect=1.0)
    latent = np.random.default_rng(8).normal(size=(300, 5))[:, 0]  # what drives the hazard
    plain = fit_ridge_cox(x, time, event, seed=1).predict(x)
    told = fit_ridge_cox(x, time, event, seed=1, offset=latent).predict(x)
    assert abs(np.corrcoef(told, latent)[0, 1]) * told.std() < 0.3 * plain.std()
