"""The generated R script, run by R on a run folder, gives the numbers that pathoml gives."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from r_oracle import run_r

from pathoml.errors import CohortError
from pathoml.survival.concordance import harrell_c, stratified_harrell_c, uno_c
from pathoml.survival.cox import fit_cox, hazard_ratio, likelihood_ratio_test, wald_test
from pathoml.survival.design import fit_design
from pathoml.survival.kaplan_meier import kaplan_meier, log_rank, median_survival, survival_at
from pathoml.survival.r_script import analysis_script

NASTY = "Alter `bei\" ] OP\\'; stop(1) # @tau@ (Jahre, é)"
TIME, EVENT = "PFS months", "event?"


@pytest.fixture(scope="module")
def cohort():
    rng = np.random.default_rng(1)
    n = 120
    score = rng.normal(size=n)
    died, left = rng.exponential(24 * np.exp(-0.7 * score)), rng.exponential(40, size=n)
    age = [None if k % 11 == 0 else round(float(v), 1) for k, v in enumerate(rng.normal(60, 10, size=n))]
    subtype = [["LMS", "UPS", "", "T"][k] for k in rng.integers(4, size=n)]
    return {
        "patient_id": [f"{k:04d}" for k in range(n)],  # leading zeros must survive
        "centre": rng.choice(["01", "1", "2"], size=n).tolist(),  # 01 and 1 are two centres
        "score": score,
        "group": np.where(score > 0.2, "high", "low").tolist(),
        "time": np.ceil(np.minimum(died, left)),
        "event": np.where(died <= left, 1, np.where(np.arange(n) % 5 == 0, 2, 0)),  # 2: competing event
        "age": age,
        "subtype": subtype,
    }


@pytest.fixture(scope="module")
def answers_of_r(cohort, tmp_path_factory):
    study = tmp_path_factory.mktemp("study")
    run = study / "runs" / "main"
    run.mkdir(parents=True)
    n = len(cohort["score"])
    with (run / "scores.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        header = "patient_id centre log_risk score_sd score_type fold n_repeats repeat_sd n_slides n_tiles model_sha256"
        writer.writerow([*header.split(), "splits_sha256", "data_cut", "score_group"])
        for k in range(n):
            log_risk = float(cohort["score"][k]) / 3
            row = [cohort["patient_id"][k], cohort["centre"][k], log_risk, float(cohort["score"][k]), "oof", "1;2", 2, 0.1]
            writer.writerow([*row, 1, 500, "ab", "cd", "2024-01-01", cohort["group"][k]])
    with (study / "patients.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(["id", "centre", TIME, EVENT, NASTY, "subtype"])
        for k in np.random.default_rng(2).permutation(n):  # another order
            age = "" if cohort["age"][k] is None else str(cohort["age"][k]).replace(".", ",")
            days = cohort["time"][k] * 30.4375
            row = [cohort["patient_id"][k], cohort["centre"][k], str(days).replace(".", ","), cohort["event"][k]]
            writer.writerow([*row, age, cohort["subtype"][k]])
        writer.writerow(["9999", "1", "5", "0", "50", "LMS"])  # a patient without a score
    script = analysis_script(
        time_column=TIME,
        event_column=EVENT,
        patient_column="id",
        covariates=[NASTY, "subtype"],
        tau_months=36.0,
        months_per_unit=1 / 30.4375,
        separator=";",
        decimal=",",
    )
    (run / "analysis.R").write_text(script, encoding="utf-8")
    return {name: value[0] for name, value in run_r(script, folder=run).items()}


def outcome(cohort):
    return cohort["time"], cohort["event"] == 1


def test_concordances_of_the_script_equal_ours(cohort, answers_of_r):
    score, (time, event) = cohort["score"], outcome(cohort)
    ours = [
        harrell_c(score, time, event),
        stratified_harrell_c(score, time, event, cohort["centre"]),
        uno_c(score, time, event, tau=36.0),
    ]
    theirs = [answers_of_r[name] for name in ("harrell_c", "harrell_c_stratified", "uno_c")]
    assert ours == pytest.approx(theirs, abs=1e-9)


def test_the_hazard_ratio_per_sd_of_the_script_equals_ours(cohort, answers_of_r):
    x = cohort["score"][:, None]
    fit, null = fit_cox(x, *outcome(cohort)), fit_cox(x[:, :0], *outcome(cohort))
    ratio, test = hazard_ratio(fit, 0), likelihood_ratio_test(fit, null)
    theirs = [answers_of_r[f"score.{key}"] for key in ("hr", "hr_low", "hr_high", "wald_p", "lr_chi2", "lr_p")]
    assert [ratio.estimate, ratio.low, ratio.high, wald_test(fit, 0), test.chi2, test.p] == pytest.approx(theirs, rel=1e-6)


def test_the_centre_stratified_hazard_ratio_of_the_script_equals_ours(cohort, answers_of_r):
    fit = fit_cox(cohort["score"][:, None], *outcome(cohort), stratum=cohort["centre"])
    assert hazard_ratio(fit, 0).estimate == pytest.approx(answers_of_r["score_stratified.hr"], rel=1e-6)


def test_the_added_value_of_the_script_equals_ours_with_the_same_imputation(cohort, answers_of_r):
    columns = {"age": cohort["age"], "subtype": cohort["subtype"]}
    clinical = fit_design(columns).transform(columns)
    reduced = fit_cox(clinical, *outcome(cohort))
    full = fit_cox(np.column_stack([clinical, cohort["score"]]), *outcome(cohort))
    test = likelihood_ratio_test(full, reduced)
    theirs = [answers_of_r[f"added_value.{key}"] for key in ("lr_chi2", "lr_p", "hr")]
    assert [test.chi2, test.p, hazard_ratio(full, clinical.shape[1]).estimate] == pytest.approx(theirs, rel=1e-6)


def test_the_curves_of_the_script_equal_ours(cohort, answers_of_r):
    time, event = outcome(cohort)
    high = np.array(cohort["group"]) == "high"
    curve = kaplan_meier(time[high], event[high])
    ours = [high.sum(), event[high].sum(), median_survival(curve), survival_at(curve, 12.0), *log_rank(time, event, high)]
    names = ("km.high.n", "km.high.events", "km.high.median", "km.high.survival_12", "km.log_rank_chi2", "km.log_rank_p")
    assert ours == pytest.approx([answers_of_r[name] for name in names], rel=1e-8)


def test_the_intervals_of_the_script_are_log_log_intervals(cohort, answers_of_r):
    time, event = outcome(cohort)
    high = np.array(cohort["group"]) == "high"
    curve = kaplan_meier(time[high], event[high])
    at_12 = np.searchsorted(curve.times, 12.0, side="right") - 1
    theirs = [answers_of_r["km.high.survival_12_low"], answers_of_r["km.high.survival_12_high"]]
    assert [curve.low[at_12], curve.high[at_12]] == pytest.approx(theirs, rel=1e-8)


def test_the_script_counts_patients_and_events(cohort, answers_of_r):
    assert (answers_of_r["n"], answers_of_r["events"]) == (120, (cohort["event"] == 1).sum())


def test_the_script_is_ascii_whatever_the_columns_are_called():
    assert analysis_script(time_column="Überleben", event_column="é", covariates=[NASTY]).isascii()


def test_the_script_says_that_its_p_values_are_anticonservative():
    assert "anticonservative" in analysis_script(time_column="t", event_column="e")


def test_a_script_without_covariates_has_no_clinical_model():
    assert "clinical" not in analysis_script(time_column="t", event_column="e")


def test_a_tau_of_zero_is_refused():
    with pytest.raises(CohortError, match="expected a positive number of months"):
        analysis_script(time_column="t", event_column="e", tau_months=0.0)
