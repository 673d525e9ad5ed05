"""A study in a notebook: what is wrong is said at once, and results are there by attribute."""

from __future__ import annotations

import json
import pickle

import pytest
from support.learning import planted_cohort, write_study

from pathoml.config import load_study
from pathoml.errors import CohortError, StoreError
from pathoml.study.cohort import read_cohort
from pathoml.study.results import Study, open_study
from pathoml.types import Estimate

C = {"estimate": 0.641, "low": 0.574, "high": 0.706, "n": 24, "events": 12}


@pytest.fixture
def study(tmp_path):
    cohort, bags, _ = planted_cohort(12)
    write_study(tmp_path, cohort, bags)
    return open_study(tmp_path)


def write(study, name, content):
    study.run_folder.mkdir(parents=True, exist_ok=True)
    (study.run_folder / name).write_text(json.dumps(content))


def test_a_concordance_is_an_estimate_with_its_interval(study):
    write(study, "metrics.json", {"harrell_c": C})
    assert isinstance(study.metrics.harrell_c, Estimate)
    assert repr(study.metrics.harrell_c) == "0.64 (95 % interval 0.57 to 0.71)"


def test_what_holds_more_than_an_estimate_begins_with_it_and_shows_the_rest(study):
    write(study, "metrics.json", {"hazard_ratio_per_sd": C | {"wald_p": 0.01}})
    ratio = study.metrics.hazard_ratio_per_sd
    assert repr(ratio) == "0.64 (95 % interval 0.57 to 0.71)"
    assert ratio.wald_p == 0.01


def test_what_is_not_estimable_says_why(study):
    write(study, "metrics.json", {"uno_c": dict.fromkeys(C) | {"note": "no events"}})
    assert repr(study.metrics.uno_c) == "not estimable: no events"


def test_a_p_value_says_of_how_many_permutations_it_is(study):
    write(study, "permutation.json", {"p_value": 0.004, "permutations": 1000, "null": [0.5] * 1000})
    assert study.permutation.p_value == 0.004
    assert repr(study.permutation) == "permutation.json: p = 0.004, of 1000 permutations"
    assert "1000 entries" in study.permutation._repr_html_()


def test_a_typo_names_the_nearest_result(study):
    write(study, "metrics.json", {"harrell_c": C})
    with pytest.raises(AttributeError, match="Did you mean 'harrell_c'"):
        study.metrics.harell_c  # noqa: B018


def test_results_that_are_not_there_yet_name_command_and_function(study):
    with pytest.raises(StoreError, match=r"`pathoml run`, or pathoml.run\(study\)"):
        study.metrics  # noqa: B018


def test_a_row_that_is_refused_is_said_when_the_study_is_opened(study):
    table = study.folder / "patients.csv"
    table.write_text(table.read_text().replace("P1,C1,", "P1,C1,-"))
    with pytest.raises(CohortError, match="P1"):
        open_study(study.folder)


def test_an_opened_study_is_one_that_every_step_takes_and_other_processes_get(study):
    read = load_study(study.folder)
    assert (study.folder, study.config) == (read.folder, read.config)
    assert isinstance(pickle.loads(pickle.dumps(study)), Study)  # noqa: S301 - ours


def test_a_cohort_is_read_from_a_study_or_its_folder(study):
    assert read_cohort(str(study.folder)) == read_cohort(study)


def test_a_study_says_its_folder_and_run_and_not_its_whole_configuration(study):
    assert str(study) == repr(study) == f"Study({str(study.folder)!r}, run 'main')"
