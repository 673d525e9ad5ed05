"""Concordance against hand-worked cases, R `survival`, scikit-survival, and 25 published fold
C-indices.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from support.r_oracle import r_data, run_r, unavailable

from pathoml.errors import CohortError
from pathoml.survival.concordance import (
    concordance,
    draw_counts,
    harrell_c,
    harrell_c_difference,
    harrell_c_interval,
    stratified_harrell_c,
    uno_c,
    uno_c_interval,
    uno_weights,
)

SHARED = Path(os.environ.get("PATHOML_SHARED", Path(__file__).parents[3] / "shared"))

TIED = {  # every kind of tie: event with event, event with censoring, score with score
    "time": np.array([1, 2, 2, 2, 3, 3, 4, 5, 5, 6, 7, 8], dtype=float),
    "event": np.array([1, 1, 0, 0, 1, 0, 0, 1, 0, 1, 1, 0]),
    "score": np.array([5, 3, 3, 1, 2, 6, 4, 4, 1, 0, 2, 1], dtype=float),
    "centre": np.array(list("ABABABABABAB")),
}


def synthetic_cohort(n: int, seed: int, *, ties: bool) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    score = rng.normal(size=n)
    died, left = rng.exponential(24 * np.exp(-0.7 * score)), rng.exponential(40, size=n)
    time = np.minimum(died, left)
    return {
        "time": np.ceil(time) if ties else time + 0.01,
        "event": (died <= left).astype(int),
        "score": score.round(1) if ties else score,
        "centre": rng.choice(list("ABCD"), size=n),
    }


COHORTS = {
    "tied": TIED,
    "n30": synthetic_cohort(30, 1, ties=True),
    "n500": synthetic_cohort(500, 2, ties=True),
    "n500_continuous": synthetic_cohort(500, 3, ties=False),
}


def entry_of(cohort: dict[str, np.ndarray]) -> np.ndarray:
    """Every third patient comes late, halfway to the end of follow-up."""
    return np.where(np.arange(len(cohort["time"])) % 3 == 0, cohort["time"] / 2, 0.0)


def tau_of(cohort: dict[str, np.ndarray]) -> float:
    return float(np.quantile(cohort["time"], 0.7))


@pytest.fixture(scope="module")
def answers_of_r():
    scripts = [
        r_data(cohort)
        + f"""
        y <- Surv(time, event)
        show("{name}.harrell", concordance(y ~ score, reverse = TRUE)$concordance)
        show("{name}.harrell_sd", sqrt(concordance(y ~ score, reverse = TRUE)$var))
        show("{name}.stratified",
             concordance(y ~ score + strata(centre), reverse = TRUE)$concordance)
        show("{name}.uno", concordance(y ~ score, reverse = TRUE, timewt = "n/G2")$concordance)
        weighted <- concordance(y ~ score, reverse = TRUE, timewt = "n/G2",
                                ymax = {tau_of(cohort)!r})
        show("{name}.uno_tau", weighted$concordance)
        show("{name}.uno_tau_sd", sqrt(weighted$var))
        show("{name}.stratified_sd",
             sqrt(concordance(y ~ score + strata(centre), reverse = TRUE)$var))
        entry <- ifelse((seq_along(time) - 1) %% 3 == 0, time / 2, 0)
        late <- concordance(Surv(entry, time, event) ~ score, reverse = TRUE)
        show("{name}.late", late$concordance)
        show("{name}.late_sd", sqrt(late$var))
        """
        for name, cohort in COHORTS.items()
    ]
    return {name: value[0] for name, value in run_r("".join(scripts)).items()}


@pytest.mark.parametrize("name", COHORTS)
def test_harrell_c_equals_r(name, answers_of_r):
    cohort = COHORTS[name]
    ours = harrell_c(cohort["score"], cohort["time"], cohort["event"])
    assert ours == pytest.approx(answers_of_r[f"{name}.harrell"], abs=1e-12)


@pytest.mark.parametrize("name", COHORTS)
def test_centre_stratified_c_equals_r(name, answers_of_r):
    cohort = COHORTS[name]
    ours = stratified_harrell_c(
        cohort["score"], cohort["time"], cohort["event"], stratum=cohort["centre"]
    )
    assert ours == pytest.approx(answers_of_r[f"{name}.stratified"], abs=1e-12)


@pytest.mark.parametrize("name", COHORTS)
def test_uno_c_equals_r_with_and_without_tau(name, answers_of_r):
    cohort = COHORTS[name]
    ours = [
        uno_c(cohort["score"], cohort["time"], cohort["event"], tau=end)
        for end in (None, tau_of(cohort))
    ]
    assert ours == pytest.approx(
        [answers_of_r[f"{name}.uno"], answers_of_r[f"{name}.uno_tau"]], abs=1e-9
    )


@pytest.mark.parametrize("name", COHORTS)
def test_harrell_c_equals_scikit_survival(name):
    from sksurv.metrics import concordance_index_censored

    cohort = COHORTS[name]
    theirs = concordance_index_censored(cohort["event"] == 1, cohort["time"], cohort["score"])[0]
    assert harrell_c(cohort["score"], cohort["time"], cohort["event"]) == pytest.approx(
        theirs, abs=1e-12
    )


def test_all_25_published_fold_c_indices_of_mcat_are_reproduced():
    folder = SHARED / "data" / "survival"
    if not (folder / "mcat_fold_risks.csv").is_file():
        unavailable(
            f"needs {folder}/mcat_fold_risks.csv; set PATHOML_SHARED to the folder that holds"
            " data/survival"
        )
    folds: dict[tuple[str, ...], list[tuple[float, float, int]]] = {}
    for row in csv.DictReader((folder / "mcat_fold_risks.csv").read_text().splitlines()):
        key = (row["model"], row["cancer"], row["fold"])
        folds.setdefault(key, []).append(
            (float(row["risk"]), float(row["time_months"]), int(row["event"]))
        )
    published = {
        (row["model"], row["cancer"], row["fold"]): float(row["harrell_c"])
        for row in csv.DictReader((folder / "mcat_published_cindex.csv").read_text().splitlines())
    }
    ours = {key: harrell_c(*zip(*rows)) for key, rows in folds.items()}
    assert len(published) == 25
    assert ours == pytest.approx(published, abs=1e-12)


def test_an_event_and_a_censoring_at_the_same_time_are_comparable_but_two_events_are_not():
    # Patients 0 and 1 have an event at 5, patient 2 is censored at 5: the pairs (0, 2) and (1, 2)
    # count, (0, 1) does not.
    assert harrell_c([1.0, 3.0, 2.0], [5, 5, 5], [1, 1, 0]) == 0.5


def test_a_higher_score_means_an_earlier_event():
    assert harrell_c([3.0, 2.0, 1.0], [1, 2, 3], [1, 1, 1]) == 1.0


def test_a_constant_score_gives_one_half():
    assert harrell_c(np.ones(12), TIED["time"], TIED["event"]) == 0.5


def test_reversing_the_score_reverses_c():
    ours = harrell_c(-TIED["score"], TIED["time"], TIED["event"])
    assert ours == pytest.approx(
        1 - harrell_c(TIED["score"], TIED["time"], TIED["event"]), abs=1e-12
    )


@pytest.mark.parametrize("scale", [1e-12, 1e9])
def test_c_does_not_depend_on_the_scale_of_the_score(scale):
    cohort = COHORTS["n500_continuous"]
    ours = harrell_c(scale * cohort["score"], cohort["time"], cohort["event"])
    assert ours == harrell_c(cohort["score"], cohort["time"], cohort["event"])


def test_c_does_not_depend_on_the_order_of_patients():
    order = np.random.default_rng(4).permutation(12)
    score, time, event = (TIED[name] for name in ("score", "time", "event"))
    assert uno_c(score[order], time[order], event[order]) == pytest.approx(
        uno_c(score, time, event), abs=1e-14
    )


def test_a_score_that_only_knows_the_centre_gets_one_half_within_centres():
    assert (
        stratified_harrell_c(
            [9.0] * 6 + [1.0] * 6, TIED["time"], TIED["event"], stratum=["A"] * 6 + ["B"] * 6
        )
        == 0.5
    )


def test_uno_c_without_censoring_is_harrell_c():
    everyone = np.ones(12)
    ours = uno_c(TIED["score"], TIED["time"], everyone)
    assert ours == pytest.approx(harrell_c(TIED["score"], TIED["time"], everyone), abs=1e-14)


@pytest.mark.parametrize(
    ("score", "time", "event", "sentence"),
    [
        ([1.0, np.nan, 2.0], [1, 2, 3], [1, 1, 0], "log_risk of row 1 is nan"),
        ([1.0, 2.0], [1, 2, 3], [1, 1, 0], "there are 3 patients"),
        ([1.0, 2.0, 3.0], [1, 2, 3], [1, 1], r"event \(2,\)"),
        ([1.0, 2.0, 3.0], [1, np.nan, 3], [1, 1, 0], "time_months of row 1 is nan"),
        ([1.0, 2.0, 3.0], [1, 2, 3], [1, 2, 0], "event of row 1 is .*2.*, expected 0 or 1"),
        ([1.0, 2.0, 3.0], [1, 2, 3], [0, 0, 0], "No comparable pair: 3 patients, 0 events"),
        ([1.0, 2.0, 3.0], [1, 2, 3], [0, 0, 1], "No comparable pair: 3 patients, 1 events"),
        ([], [], [], "No patients"),
    ],
)
def test_input_that_cannot_be_ranked_is_refused_with_a_reason(score, time, event, sentence):
    with pytest.raises(CohortError, match=sentence):
        harrell_c(score, time, event)


def test_strata_of_one_patient_have_no_comparable_pair():
    with pytest.raises(
        CohortError, match="No comparable pair within a stratum: 3 patients, 3 events"
    ):
        stratified_harrell_c([1.0, 2.0, 3.0], [1, 2, 3], [1, 1, 1], stratum=["A", "B", "C"])


def test_no_event_before_tau_is_named():
    with pytest.raises(CohortError, match=r"until 0\.5 months"):
        uno_c([1.0, 2.0], [1, 2], [1, 1], tau=0.5)


def test_draws_within_centres_keep_every_centre_at_its_size():
    centre = np.array(["A"] * 5 + ["B"] * 7)
    counts = draw_counts(12, 50, seed=1, resample_within=centre)
    assert set(counts[:, :5].sum(axis=1)) == {5.0}
    assert set(counts[:, 5:].sum(axis=1)) == {7.0}


@pytest.mark.parametrize("name", COHORTS)
def test_standard_errors_equal_rs_infinitesimal_jackknife(name, answers_of_r):
    cohort = COHORTS[name]
    arguments = (cohort["score"], cohort["time"], cohort["event"])
    plain = concordance(*arguments)
    within = concordance(*arguments, stratum=cohort["centre"])
    weighted = concordance(*arguments, weight=uno_weights(*arguments[1:], tau=tau_of(cohort)))
    assert [c.standard_error for c in (plain, within, weighted)] == pytest.approx(
        [answers_of_r[f"{name}.{of}_sd"] for of in ("harrell", "stratified", "uno_tau")], abs=1e-9
    )


@pytest.mark.parametrize("name", COHORTS)
def test_c_with_delayed_entry_equals_r(name, answers_of_r):
    cohort = COHORTS[name]
    ours = concordance(
        cohort["score"], cohort["time"], cohort["event"], entry_months=entry_of(cohort)
    )
    assert (ours.estimate, ours.standard_error) == pytest.approx(
        (answers_of_r[f"{name}.late"], answers_of_r[f"{name}.late_sd"]), abs=1e-9
    )


def test_the_interval_is_the_estimate_and_twice_its_error_on_both_sides(answers_of_r):
    cohort = COHORTS["n500"]
    interval = harrell_c_interval(cohort["score"], cohort["time"], cohort["event"])
    error = 1.959964 * answers_of_r["n500.harrell_sd"]
    assert (interval.low, interval.high) == pytest.approx(
        (interval.estimate - error, interval.estimate + error), abs=1e-6
    )
    assert (interval.n, interval.events) == (500, int(cohort["event"].sum()))


def test_an_interval_never_leaves_what_is_possible():
    time = np.arange(12.0)
    almost = np.array([11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 0, 1.0])
    interval = harrell_c_interval(almost, time, np.ones(12))
    assert interval.high == 1.0


def test_the_difference_of_a_score_and_itself_is_exactly_zero():
    difference = harrell_c_difference(
        TIED["score"], 2 * TIED["score"], TIED["time"], event=TIED["event"]
    )
    assert (difference.estimate, difference.low, difference.high) == (0.0, None, None)


def test_a_paired_difference_is_more_precise_than_two_separate_intervals():
    cohort = COHORTS["n500_continuous"]
    noisy = cohort["score"] + 0.3 * np.random.default_rng(5).normal(size=500)
    outcome = (cohort["time"], cohort["event"])
    difference = harrell_c_difference(cohort["score"], noisy, outcome[0], event=outcome[1])
    single = harrell_c_interval(cohort["score"], *outcome)
    assert difference.estimate == pytest.approx(
        harrell_c(cohort["score"], *outcome) - harrell_c(noisy, *outcome)
    )
    assert 0 < difference.high - difference.low < 0.7 * (single.high - single.low)


@pytest.mark.parametrize("interval", [harrell_c_interval, uno_c_interval])
def test_fewer_than_ten_patients_are_not_estimable(interval):
    with pytest.raises(CohortError, match="not estimable: 9 patients with 4 events"):
        interval(TIED["score"][:9], TIED["time"][:9], TIED["event"][:9])


@pytest.mark.parametrize("interval", [harrell_c_interval, uno_c_interval])
def test_fewer_than_five_events_are_not_estimable(interval):
    event = np.zeros(12)
    event[:4] = 1
    with pytest.raises(CohortError, match="not estimable: 12 patients with 4 events"):
        interval(TIED["score"], TIED["time"], event)


@pytest.mark.parametrize("interval", [harrell_c_interval, uno_c_interval])
def test_equal_scores_have_no_c_with_an_interval(interval):
    with pytest.raises(CohortError, match=r"not estimable: all 12 scores are equal \(0\.3\)"):
        interval(np.full(12, 0.3), TIED["time"], TIED["event"])


def test_no_event_has_no_interval():
    with pytest.raises(CohortError, match="No comparable pair: 12 patients, 0 events"):
        harrell_c_interval(TIED["score"], TIED["time"], np.zeros(12))


@pytest.mark.nightly
@pytest.mark.parametrize("interval", [harrell_c_interval, uno_c_interval])
def test_the_interval_covers_the_c_of_a_fixed_score_about_95_times_in_100(interval):
    # log hazard = b * score: two exponentials with ratio r are concordant with probability r / (1 +
    # r).
    b, rng = 0.7, np.random.default_rng(8)
    gap = np.abs(rng.normal(size=(2_000_000, 2)) @ [1, -1])
    truth = float((1 / (1 + np.exp(-b * gap))).mean())
    covered = []
    for _ in range(400):
        score = rng.normal(size=150)
        died, left = rng.exponential(np.exp(-b * score)), rng.uniform(1.0, 12.0, size=150)
        estimate = interval(score, np.minimum(died, left), died <= left)
        covered.append(estimate.low <= truth <= estimate.high)
    assert 0.90 <= np.mean(covered) <= 0.98


def test_a_perfect_order_has_an_estimate_and_no_interval():
    found = harrell_c_interval(np.arange(12.0), np.arange(12.0, 0, -1), np.ones(12))
    assert (found.estimate, found.low, found.high) == (1.0, None, None)
