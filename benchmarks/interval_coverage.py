"""How often do the intervals hold the truth? Fixed scores, and scores of a cross-validation, over
many simulated cohorts of one law.

    python benchmarks/interval_coverage.py            # 1,000 cohorts of 246 patients, a fixed score
    python benchmarks/interval_coverage.py --trained  # 200 cohorts: the interval ignores training

Fixed: C of a score that exists before the cohort; the truth is C in 400,000 pairs of a large cohort
with the same follow-up. Trained: each cohort trains a ridge Cox model on 30 features by 5-fold
cross-validation (or leaving one of six centres out, centres with their own shift). The truth for
the reader is what that way of training gives on new patients, so the spread of C over cohorts is
what an interval should cover; the bootstrap given one set of models knows only a part of it.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import numpy.typing as npt

from pathoml.survival.concordance import harrell_c, harrell_c_interval
from pathoml.survival.cox import fit_cox
from pathoml.survival.ridge_cox import event_balanced_folds

Array = npt.NDArray[np.float64]
PATIENTS, CENTRES, FEATURES = 246, 6, 30
FOLLOW_UP_MONTHS = (24.0, 84.0)  # recruited evenly over five years, cut two years later
MEAN_MONTHS_TO_EVENT = 88.0  # about 110 events of 246


def outcome(log_hazard: Array, rng: np.random.Generator) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Return rounded follow-up with ties, and events."""
    n = len(log_hazard)
    event_at, left_at = (
        rng.exponential(MEAN_MONTHS_TO_EVENT * np.exp(-log_hazard)),
        rng.uniform(*FOLLOW_UP_MONTHS, size=n),
    )
    return np.ceil(10 * np.minimum(event_at, left_at)) / 10, event_at <= left_at


def large_cohort_c(effect: float, rng: np.random.Generator) -> float:
    """Return C of the fixed score in the law itself, by many cohorts of 1,000 pooled (the mean of
    unbiased ratios).
    """
    values = []
    for _ in range(200):
        score = rng.normal(size=1000)
        values.append(harrell_c(score, *outcome(effect * score, rng)))
    return float(np.mean(values))


def fixed_scores(cohorts: int, bootstraps: int) -> None:
    for effect in (0.0, 0.4, 0.9):
        rng = np.random.default_rng(1)
        truth = 0.5 if effect == 0 else large_cohort_c(effect, rng)
        held, width, events, seconds = 0, 0.0, 0, time.process_time()
        for seed in range(cohorts):
            score, centre = rng.normal(size=PATIENTS), rng.integers(CENTRES, size=PATIENTS)
            months, event = outcome(effect * score, rng)
            interval = harrell_c_interval(
                score, months, event, resample_within=centre, bootstraps=bootstraps, seed=seed
            )
            assert interval.low is not None
            assert interval.high is not None
            held += interval.low <= truth <= interval.high
            width += (interval.high - interval.low) / 2 / cohorts
            events += interval.events
        seconds = time.process_time() - seconds
        print(
            f"fixed score, log hazard {effect:g} per SD: C {truth:.3f},"
            f" {events / cohorts:.0f} events, interval +- {width:.3f} holds the truth in"
            f" {100 * held / cohorts:.1f} % of {cohorts} cohorts ({seconds:.0f} CPU s)",
            flush=True,
        )


def trained_scores(cohorts: int, bootstraps: int) -> None:
    for scheme in ("5 folds", "leave one centre out"):
        rng = np.random.default_rng(2)
        weights = rng.normal(size=FEATURES) * 0.5 / np.sqrt(FEATURES)
        values, widths, lows, highs = [], [], [], []
        for seed in range(cohorts):
            centre = rng.integers(CENTRES, size=PATIENTS)
            shift = rng.normal(
                size=(CENTRES, FEATURES)
            )  # stain and scanner move the features of a centre
            signal = rng.normal(size=(PATIENTS, FEATURES))
            own_rate = 0.3 * rng.normal(size=CENTRES)
            months, event = outcome(signal @ weights * 1.5 + own_rate[centre], rng)
            features = signal + shift[centre]
            fold = event_balanced_folds(event, 5, seed) if scheme == "5 folds" else centre
            score = np.empty(PATIENTS)
            for k in np.unique(fold):
                train = fold != k
                fit = fit_cox(features[train], months[train], event[train], ridge=100.0)
                score[~train] = (features[~train] - features[train].mean(axis=0)) @ fit.coefficients
            interval = harrell_c_interval(
                score, months, event, resample_within=centre, bootstraps=bootstraps, seed=seed
            )
            assert interval.low is not None
            assert interval.high is not None
            values.append(interval.estimate)
            widths.append((interval.high - interval.low) / 2)
            lows.append(interval.low)
            highs.append(interval.high)
        mean, spread = float(np.mean(values)), float(np.std(values))
        held = float(np.mean((np.array(lows) <= mean) & (mean <= np.array(highs))))
        print(
            f"trained, {scheme}: C {mean:.3f}, 1.96 SD over {cohorts} cohorts {1.96 * spread:.3f},"
            " mean half-width of the interval"
            f" {np.mean(widths):.3f} ({np.mean(widths) / (1.96 * spread):.2f} of it); holds the"
            f" mean C in {100 * held:.1f} %",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trained", action="store_true")
    parser.add_argument("--cohorts", type=int, default=None)
    parser.add_argument("--bootstraps", type=int, default=1000)
    given = parser.parse_args()
    if given.trained:
        trained_scores(given.cohorts or 200, given.bootstraps)
    else:
        fixed_scores(given.cohorts or 1000, given.bootstraps)
