"""Sections of metrics.json where little can be estimated: a number that means something, or the
reason why there is none; and R says the same.
"""

from __future__ import annotations

import subprocess

import pytest
from support.degenerate import (
    CASES,
    QUICK,
    as_imported,
    degenerate_study,
    numbers_without_meaning,
    one_group,
)
from support.r_oracle import r_survival_is_there, unavailable
from support.score_study import write_partitions, write_score_study

from pathoml.evaluation.evidence import read_evidence
from pathoml.evaluation.sections import evaluate_scores, metrics
from pathoml.types import SILENT

ALSO_IN_R = (  # each takes R some seconds
    "constant",
    "binary",
    "tied",
    "a centre for each",
    "all events",
    "n = 12",
    "one in a subgroup",
    "everybody is treated",
    "covariates are constant",
)


@pytest.mark.parametrize("name", CASES)
def test_every_number_is_finite_and_has_a_width_or_a_reason(tmp_path, name):
    content = metrics(read_evidence(degenerate_study(tmp_path, name)))
    assert list(numbers_without_meaning(content)) == []


def test_what_is_without_meaning_is_found():
    found = {
        "point": {"estimate": 0.5, "low": 0.5, "high": 0.5},
        "silent": {"estimate": None, "low": None, "high": None},
        "endless": [float("inf")],
        "outside": {"estimate": 0.4, "low": 0.5, "high": 0.6},
        "huge": {"estimate": 1.0, "low": 0.5, "high": 1e30},
        "good": {"estimate": 0.5, "low": 0.4, "high": 0.6},
        "open": {"estimate": 1.0, "low": None, "high": None},
        "told": {"estimate": None, "low": None, "high": None, "note": "not estimable: 3 patients"},
        "nameless": "Covariate column 0 of row 3 is missing.",
    }
    named = {line.split()[0] for line in numbers_without_meaning(found)}
    assert named == {"point", "silent", "endless.1", "outside", "huge", "nameless"}


@pytest.mark.parametrize("name", ["constant", "a centre for each", "SD of 1e-12", "perfect order"])
def test_an_estimate_has_no_interval_where_nothing_varies(tmp_path, name):
    content = metrics(read_evidence(degenerate_study(tmp_path, name)))
    for c in content["harrell_c_by_centre"].values():
        assert c["estimate"] is None or c["low"] is None or c["low"] < c["high"]


def test_one_score_group_has_a_curve_and_no_comparison(tmp_path):
    study = write_score_study(tmp_path, n=60, significance=QUICK)
    one_group(study)
    content = metrics(read_evidence(study))
    assert list(content["kaplan_meier"]["groups"]) == ["high"]
    assert content["kaplan_meier"]["log_rank_p"] is None
    assert list(numbers_without_meaning(content)) == []


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_a_score_on_a_scale_of_its_own_has_no_calibration_slope(tmp_path, scale):
    study = write_score_study(tmp_path, n=60, significance=QUICK)
    as_imported(study, "age", scale)
    slope = metrics(read_evidence(study))["calibration"]["slope"]
    assert slope["estimate"] is None
    assert slope["note"].startswith("not estimable: the score is on a scale of its own")


def test_an_imported_log_hazard_has_a_calibration_slope_and_another_unit_has_none(tmp_path):
    study = write_score_study(tmp_path, n=60, significance=QUICK)
    as_imported(study, "log_risk")
    assert metrics(read_evidence(study))["calibration"]["slope"]["estimate"] is not None
    as_imported(study, "log_risk", 1e6)
    assert "not on the scale" in metrics(read_evidence(study))["calibration"]["slope"]["note"]


def test_draws_too_few_for_an_interval_are_as_no_draws(tmp_path):
    few, none = (
        metrics(
            read_evidence(
                write_score_study(
                    tmp_path / str(n), n=60, significance={"permutations": 0, "bootstraps": n}
                )
            )
        )
        for n in (20, 0)
    )
    assert few == none
    assert few["time_dependent_auc"]["12"]["low"] is None


def test_centres_of_one_patient_do_not_make_intervals_short(tmp_path):
    alone = metrics(read_evidence(degenerate_study(tmp_path / "alone", "a centre for each")))
    single = metrics(read_evidence(degenerate_study(tmp_path / "single", "single centre")))
    for content in (alone, single):
        brier = content["brier"]["12"]["image"]
        assert 0.01 < brier["high"] - brier["low"] < 0.2


def test_slides_that_the_encoder_learned_from_are_an_alarm(tmp_path):
    quick = {"permutations": 0, "bootstraps": 200}
    named = {"encoder": "phikon", "cohort": {"source": "TCGA-SARC"}}
    content = metrics(read_evidence(write_score_study(tmp_path, n=60, significance=quick, **named)))
    assert content["pretraining"]["encoder"]["seen"] == ["TCGA-SARC"]
    [alarm] = [one for one in content["alarms"] if one["name"] == "seen_before"]
    assert "The encoder phikon learned from TCGA" in alarm["message"]


def test_seeds_without_a_pair_to_compare_have_no_c_and_leave_the_rest(tmp_path):
    study = degenerate_study(tmp_path, "a centre for each")
    write_partitions(study)
    content = metrics(read_evidence(study))
    seeds = content["seeds"]
    assert (seeds["harrell_c"], seeds["harrell_c_sd"]) == ([], None)
    assert seeds["note"].startswith("not estimable: No comparable pair")
    assert seeds["score_sd"] > 0
    assert list(numbers_without_meaning(content)) == []


@pytest.mark.ci
@pytest.mark.parametrize(
    ("name", "partitions"),
    [*((name, False) for name in ALSO_IN_R), ("a centre for each", True), ("n = 12", True)],
)
def test_r_finds_the_same_numbers_and_the_same_gaps(tmp_path, name, partitions):
    if not r_survival_is_there():
        unavailable("needs R's package survival (apt-get install r-cran-survival)")
    study = degenerate_study(tmp_path, name)
    if partitions:
        write_partitions(study)
    evaluate_scores(study, SILENT, folder=study.run_folder)
    done = subprocess.run(
        ["Rscript", "analysis.R"], cwd=study.run_folder, capture_output=True, text=True, check=False
    )
    assert " equal, 0 differ, " in done.stderr, done.stderr
    assert done.returncode == 0
