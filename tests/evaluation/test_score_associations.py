"""The score is held against every column of Table 1."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.score_study import write_score_study

from pathoml.evaluation.evidence import read_evidence
from pathoml.evaluation.score_associations import score_associations_section


@pytest.fixture(scope="module")
def evidence(tmp_path_factory):
    study = write_score_study(
        tmp_path_factory.mktemp("study"), n=120, significance={"permutations": 0, "bootstraps": 0}
    )
    return read_evidence(study)


def row_of(evidence, variable):
    rows = score_associations_section(evidence)["rows"]
    return next(row for row in rows if row["variable"] == variable)


def test_a_score_that_is_the_age_is_found_out(evidence):
    ages = np.array([np.nan if a is None else a for a in evidence.clinical["age"]])
    disguised = replace(evidence, score=np.where(np.isnan(ages), 0.0, -ages))
    row = row_of(disguised, "age")
    assert row["spearman"]["estimate"] == pytest.approx(-1)
    assert row["p_value"] < 1e-10
    assert row["n"] == int((~np.isnan(ages)).sum())


def test_a_score_that_is_the_subtype_has_its_means_by_level(evidence):
    is_lms = np.array([s == "LMS" for s in evidence.clinical["subtype"]], dtype=float)
    row = row_of(replace(evidence, score=is_lms), "subtype")
    means = {level["level"]: level["mean"] for level in row["levels"]}
    assert means == {"LMS": 1.0, "UPS": 0.0, "DDLPS": 0.0, "other": 0.0}
    assert row["p_value"] < 1e-10


def test_centre_and_number_of_tiles_are_among_the_columns(evidence):
    assert len(row_of(evidence, "centre")["levels"]) == 6
    assert row_of(evidence, "tiles")["spearman"]["n"] == 120


def test_equal_scores_go_with_nothing_and_it_is_said(evidence):
    row = row_of(replace(evidence, score=np.zeros(120)), "age")
    assert row["p_value"] is None
    assert "all values are equal" in row["note"]
