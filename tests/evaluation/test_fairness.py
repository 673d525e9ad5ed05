"""C and calibration by sex and by age group."""

from __future__ import annotations

import numpy as np
import pytest
from support.added_columns import with_columns
from support.score_study import write_score_study

from pathoml.evaluation.evidence import read_evidence
from pathoml.evaluation.fairness import fairness_section
from pathoml.evaluation.predicted_risk import foretold_events

QUICK = {"permutations": 0, "bootstraps": 0}


@pytest.fixture(scope="module")
def evidence(tmp_path_factory):
    study = write_score_study(tmp_path_factory.mktemp("study"), n=150, significance=QUICK)
    with_columns(study.folder, sex=lambda k: "" if k % 10 == 0 else "fm"[k % 2])
    return read_evidence(study)


@pytest.fixture(scope="module")
def section(evidence):
    return fairness_section(evidence)


def test_each_sex_and_each_age_group_has_a_row_and_the_others_are_counted(section):
    groups = [(row["variable"], row["group"]) for row in section["rows"]]
    ages = [("age", name) for name in ("under 50", "50 to 64", "65 and over")]
    assert groups == [("sex", "f"), ("sex", "m"), *ages]
    assert section["unknown"]["sex"] == 15
    assert sum(row["n"] for row in section["rows"][:2]) == 135


def test_observed_over_expected_is_that_of_the_group_by_the_other_folds(section, evidence):
    foretold = foretold_events(evidence)
    women = np.array([cell == "f" for cell in evidence.table["sex"]])
    expected = foretold.events[women].sum()
    ratio = section["rows"][0]["observed_to_expected"]
    assert ratio["estimate"] == pytest.approx(evidence.cohort.event[women].sum() / expected)
    assert section["model"] == foretold.model == "clinical_and_image"


def test_a_small_group_has_no_calibration_and_says_why(tmp_path):
    study = write_score_study(tmp_path, n=60, significance=QUICK)
    with_columns(study.folder, gender=lambda k: "diverse" if k < 3 else "fm"[k % 2])
    row = fairness_section(read_evidence(study))["rows"][0]
    assert (row["variable"], row["group"], row["n"]) == ("gender", "diverse", 3)
    assert row["observed_to_expected"]["note"].startswith("not estimable: 3 patients")


def test_without_a_column_of_sex_or_age_the_section_says_so(tmp_path):
    cohort = {"covariates": ["n_lesions"], "treatment": None}
    study = write_score_study(tmp_path, n=60, significance=QUICK, cohort=cohort, evaluate={})
    path = study.folder / "patients.csv"
    path.write_text(path.read_text(encoding="utf-8").replace(",age,", ",years,", 1))
    section = fairness_section(read_evidence(study))
    assert section["rows"] == []
    assert "no column of sex or age" in section["note"]
