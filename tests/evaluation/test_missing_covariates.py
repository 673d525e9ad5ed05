"""Three answers to empty cells stand side by side, and what nobody lacks is said, not computed."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from support.score_study import write_score_study

from pathoml.evaluation.evidence import read_evidence
from pathoml.evaluation.missing_covariates import (
    missing_alarms,
    missing_covariates_section,
    observed_design,
    write_imputed,
)
from pathoml.evaluation.sections import metrics
from pathoml.store.scores import write_repeats
from pathoml.study.run_folder import RunFolder
from pathoml.survival.cox import fit_cox
from pathoml.training.baselines import clinical_folds
from pathoml.training.scoring import repeat_table

QUICK = {"permutations": 0, "bootstraps": 0}


def rewritten(folder, change):
    """Apply `change` to every row of patients.csv."""
    path = folder / "patients.csv"
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for k, row in enumerate(rows):
        change(k, row)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def evidence(tmp_path_factory):
    study = write_score_study(tmp_path_factory.mktemp("missing"), n=150, significance=QUICK)
    evidence = read_evidence(study)  # and what `train` leaves of each partition
    folds = clinical_folds(evidence.cohort, evidence.splits)
    path = RunFolder(study.run_folder).repeat_scores
    write_repeats(path, evidence.cohort.patient_ids, repeat_table({"clinical": folds}))
    return read_evidence(study)


@pytest.fixture(scope="module")
def section(evidence):
    return missing_covariates_section(evidence)


def test_all_three_answers_are_given_of_c_of_the_added_value_and_of_every_hazard_ratio(section):
    answers = ["complete_case", "median", "multiple_imputation"]
    assert list(section["clinical_harrell_c"]) == list(section["added_value"]) == answers
    names = [row["covariate"] for row in section["hazard_ratios"]]
    assert names[:2] == ["age", "n_lesions"]
    assert names[-1] == "image score"
    for row in section["hazard_ratios"]:
        assert all(row[answer]["estimate"] > 0 for answer in answers)


def test_complete_cases_are_fewer_and_the_others_are_everybody(section, evidence):
    ratio = section["hazard_ratios"][0]
    complete = len(evidence.score) - section["incomplete"]
    assert ratio["complete_case"]["n"] == complete < 150
    assert ratio["median"]["n"] == ratio["multiple_imputation"]["n"] == 150
    assert section["clinical_harrell_c"]["complete_case"]["n"] == complete


def test_the_complete_case_answer_is_a_cox_model_of_the_complete_patients(evidence, section):
    columns, cohort = evidence.clinical, evidence.cohort
    rows = [k for k in range(150) if all(columns[name][k] is not None for name in columns)]
    age, lesions, treated = (
        np.array([columns[name][k] for k in rows], dtype=float)
        for name in ("age", "n_lesions", "systemic")
    )
    subtype = np.array([columns["subtype"][k] for k in rows])
    levels = ["DDLPS", "UPS", "other"]
    x = np.column_stack(
        [age, lesions, *(subtype == level for level in levels), treated, evidence.score[rows]]
    )
    fit = fit_cox(x, cohort.time_months[rows], cohort.event[rows])
    shown = section["hazard_ratios"][0]
    sd = np.std([v for v in columns["age"] if v is not None])
    assert shown["unit"] == f"SD ({sd:.3g})"
    assert np.log(shown["complete_case"]["estimate"]) == pytest.approx(fit.coefficients[0] * sd)
    assert section["added_value"]["complete_case"]["hazard_ratio_per_sd"][
        "estimate"
    ] == pytest.approx(np.exp(fit.coefficients[-1]))


def test_the_median_answer_is_that_of_the_rest_of_the_file(evidence, section):
    content = metrics(evidence)
    ours = section["added_value"]["median"]
    assert ours["statistic"] == pytest.approx(content["added_value"]["likelihood_ratio_chi2"])
    same = content["added_value"]["hazard_ratio_per_sd"]
    for end in ("estimate", "low", "high"):
        assert ours["hazard_ratio_per_sd"][end] == pytest.approx(same[end])
    assert ours["p_value_anticonservative"] == content["added_value"]["p_value_anticonservative"]
    headline = content["headline"]
    assert section["clinical_harrell_c"]["median"] == content["clinical"][headline]


def test_a_pooled_interval_carries_what_is_not_known(section):
    for row in section["hazard_ratios"]:
        pooled = row["multiple_imputation"]
        assert 0 < pooled["missing_information"] < 1
        assert pooled["df"] < pooled["events"]
        assert pooled["low"] < pooled["estimate"] < pooled["high"]


def test_the_same_study_gives_the_same_section_twice(evidence, section):
    again = missing_covariates_section(read_evidence(evidence.study))
    assert json.dumps(again) == json.dumps(section)


def test_without_an_empty_cell_it_is_said_and_nothing_is_computed(tmp_path):
    study = write_score_study(tmp_path, n=60, significance=QUICK)
    rewritten(
        tmp_path,
        lambda _, row: row.update(
            age=row["age"] or "50", subtype=row["subtype"] or "LMS", systemic=row["systemic"] or "0"
        ),
    )
    evidence = read_evidence(study)
    section = missing_covariates_section(evidence)
    assert section == {
        "incomplete": 0,
        "note": "No covariate is empty in any patient: nothing is imputed.",
    }
    assert evidence.imputed == ()
    write_imputed(tmp_path / "imputed.csv", evidence)
    assert len((tmp_path / "imputed.csv").read_text(encoding="utf-8").splitlines()) == 1


def test_without_covariates_nothing_can_be_missing(tmp_path):
    study = write_score_study(tmp_path, n=40, significance=QUICK, cohort={})
    assert missing_covariates_section(read_evidence(study)) == {
        "incomplete": 0,
        "note": "No covariates in study.yaml: nothing can be missing.",
    }


def test_more_than_thirty_per_cent_missing_is_an_alarm_with_name_and_share(tmp_path):
    study = write_score_study(tmp_path, n=80, significance=QUICK)
    rewritten(tmp_path, lambda k, row: row.update(n_lesions="" if k % 5 < 2 else row["n_lesions"]))
    alarms = metrics(read_evidence(study))["alarms"]
    (ours,) = [alarm for alarm in alarms if alarm["name"] == "missing covariate"]
    assert "'n_lesions' is missing in 40 % of the patients" in ours["message"]


def test_thirty_per_cent_is_no_alarm_yet():
    row = {"covariate": "grade", "missing": 30, "share": 0.3}
    assert missing_alarms([row]) == []
    assert len(missing_alarms([{**row, "share": 0.31}])) == 1


def test_as_many_sets_as_per_cent_incomplete(tmp_path):
    study = write_score_study(tmp_path, n=80, significance=QUICK)
    rewritten(tmp_path, lambda k, row: row.update(n_lesions="" if k % 5 < 2 else row["n_lesions"]))
    evidence = read_evidence(study)
    section = missing_covariates_section(evidence)
    assert section["imputations"] == np.ceil(100 * section["share"]) > 40
    assert len(evidence.imputed) == section["imputations"]


def test_a_covariate_that_nobody_has_complete_leaves_the_other_two_answers(tmp_path):
    study = write_score_study(tmp_path, n=80, significance=QUICK)

    def hole(k, row):
        row["age" if k % 2 else "n_lesions"] = ""

    rewritten(tmp_path, hole)
    section = missing_covariates_section(read_evidence(study))
    assert "no patient has all covariates" in section["added_value"]["complete_case"]["note"]
    assert section["added_value"]["multiple_imputation"]["statistic"] > 0
    assert section["clinical_harrell_c"]["complete_case"]["estimate"] is None
    assert section["clinical_harrell_c"]["multiple_imputation"]["estimate"] > 0


def test_a_level_without_an_event_is_said_and_the_rest_is_estimated(tmp_path):
    study = write_score_study(tmp_path, n=120, competing=False, significance=QUICK)
    censored = iter(range(4))

    def rare(_, row):
        if row["pfs_event"] == "0" and next(censored, None) is not None:
            row["subtype"] = "rare"

    rewritten(tmp_path, rare)
    section = missing_covariates_section(read_evidence(study))
    rows = {row["covariate"]: row for row in section["hazard_ratios"]}
    assert "say nothing of it" in rows["subtype=rare"]["median"]["note"]
    assert rows["subtype=UPS"]["multiple_imputation"]["estimate"] > 0


def test_imputed_csv_has_every_set_of_every_patient(evidence, tmp_path):
    path = tmp_path / "imputed.csv"
    write_imputed(path, evidence)
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 150 * len(evidence.imputed)
    assert list(rows[0]) == ["imputation", "patient_id", *evidence.clinical]
    assert not any(cell == "" for row in rows for cell in row.values())


def test_a_treatment_of_0_and_1_is_not_turned_into_standard_deviations():
    design = observed_design({"treated": [0.0, 1.0, None, 1.0], "age": [40.0, 60.0, 50.0, None]})
    assert (design.columns[0].mean, design.columns[0].sd) == (0.0, 1.0)
    np.testing.assert_array_equal(design.transform({"treated": [1.0], "age": [50.0]}), [[1.0, 0.0]])
