"""Which columns describe the patients, and whether each is a number or a category."""

from __future__ import annotations

import pytest
from support.added_columns import with_columns
from support.score_study import write_score_study

from pathoml.evaluation.described_columns import described_columns
from pathoml.evaluation.evidence import read_evidence

QUICK = {"permutations": 0, "bootstraps": 0}


@pytest.fixture(scope="module")
def columns(tmp_path_factory):
    study = write_score_study(tmp_path_factory.mktemp("study"), n=60, significance=QUICK)
    with_columns(
        study.folder,
        Sex=lambda k: "fm"[k % 2],
        GRADE=lambda k: k % 3 + 1,
        Note=lambda k: f"called {k}",
        stage=lambda _: "",
    )
    return described_columns(read_evidence(study))


def test_covariates_treatment_and_what_is_usually_reported_are_found_by_name(columns):
    assert list(columns) == ["age", "n_lesions", "subtype", "systemic", "Sex", "GRADE"]


def test_numbers_stay_numbers_and_a_yes_or_no_is_a_category(columns):
    kinds = {name: values.dtype.kind for name, values in columns.items()}
    assert kinds["age"] == "f"
    assert kinds["GRADE"] == "f"
    assert kinds["systemic"] == kinds["subtype"] == kinds["Sex"] == "U"
    assert set(columns["systemic"].tolist()) == {"yes", "no", ""}
