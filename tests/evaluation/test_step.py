"""Step `evaluate` without slides: every section of metrics.json is there, means what it says, or
says why it is not.
"""

from __future__ import annotations

import csv
import hashlib
import math

import numpy as np
import pytest
from support.locked_run import lock
from support.score_study import write_run, write_score_study

from pathoml.cli import main
from pathoml.config import load_study
from pathoml.errors import CohortError, ConfigError, StoreError
from pathoml.evaluation.evidence import read_evidence
from pathoml.evaluation.sections import metrics
from pathoml.study.cohort import read_cohort

QUICK = {"permutations": 0, "bootstraps": 200}


def evaluated(study):
    return metrics(read_evidence(study))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_score_study(tmp_path_factory.mktemp("study"), significance=QUICK)


@pytest.fixture(scope="module")
def content(study):
    return evaluated(study)


def test_a_horizon_with_fewer_than_ten_patients_left_is_not_estimable(content):
    assert content["time_dependent_auc"]["60"]["estimate"] is None
    assert "it needs 10" in content["time_dependent_auc"]["60"]["note"]


def test_the_image_score_beats_no_model_on_the_brier_score_it_was_drawn_to_explain(content):
    assert (
        content["integrated_brier"]["image"]["estimate"]
        < content["integrated_brier"]["no_model"]["estimate"]
    )


def test_out_of_fold_risks_of_a_cox_model_foretell_about_as_many_events_as_were_seen(content):
    assert content["calibration"]["in_the_large"]["estimate"] == pytest.approx(1, abs=0.05)


def test_the_interval_of_every_horizon_holds_its_estimate(content):
    known = [e for e in content["time_dependent_auc"].values() if e["estimate"] is not None]
    assert all(e["low"] < e["estimate"] < e["high"] for e in known)


def test_overlap_weights_balance_every_covariate_of_the_propensity_model(content):
    balance = content["treatment_interaction"]["balance"]
    assert max(abs(row["before"]) for row in balance) > 0.3
    assert max(abs(row["after"]) for row in balance) < 1e-6


def test_without_a_stamped_plan_interactions_are_exploratory(content):
    assert content["treatment_interaction"]["exploratory"] is True
    assert [row["planned"] for row in content["subgroups"]] == [False, False, False]


def test_a_subgroup_and_its_complement_and_the_unknown_are_everybody(content):
    row = content["subgroups"][0]
    assert row["score"]["n"] + row["complement"]["n"] + row["unknown"] == content["n"]


def test_q_values_count_every_hypothesis_that_was_ever_tested(tmp_path):
    first = write_score_study(tmp_path, significance=QUICK)
    evaluated(first)
    another = first.model_copy(update={"config": first.config.model_copy(update={"run": "main"})})
    narrowed = another.config.evaluate.model_copy(update={"subgroups": ("n_lesions >= 6",)})
    another = another.model_copy(
        update={"config": another.config.model_copy(update={"evaluate": narrowed})}
    )
    assert (
        evaluated(another)["multiplicity"]["size"] == 9
    )  # 3 subgroups x (score, treatment) + 1, and two new ones


def test_a_changed_analysis_plan_is_refused_and_a_stamped_one_counts(tmp_path):
    study = write_score_study(tmp_path, significance=QUICK)
    plan = tmp_path / "analysis_plan.yaml"
    plan.write_text("treatment_interaction: true\nsubgroups: ['age <= 60']\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="not stamped"):
        evaluated(study)
    (tmp_path / "analysis_plan.sha256").write_text(
        hashlib.sha256(plan.read_bytes()).hexdigest() + "  analysis_plan.yaml\n", encoding="utf-8"
    )
    planned = evaluated(study)
    assert planned["treatment_interaction"]["exploratory"] is False
    assert [row["planned"] for row in planned["subgroups"]] == [True, False, False]
    plan.write_text("treatment_interaction: true\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="changed after it was stamped"):
        evaluated(study)


def test_a_subgroup_of_an_unknown_column_names_the_nearest(tmp_path):
    study = write_score_study(tmp_path, significance=QUICK, evaluate={"subgroups": ["agee <= 60"]})
    with pytest.raises(CohortError, match="Did you mean 'age'"):
        evaluated(study)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("1", "0"), "given to 25%"),
        (("ja", "nein"), "given to 25%"),
        (("A", "B"), "holds 'A', 'B'"),
    ],
)
def test_power_takes_the_treated_share_from_numbers_or_words_or_says_why_not(
    tmp_path, capsys, words, said
):
    write_score_study(tmp_path, n=80, significance=QUICK)
    head, *rows = (tmp_path / "patients.csv").read_text(encoding="utf-8").splitlines()
    rows = [f"{row},{words[i % 4 > 0]}" for i, row in enumerate(rows)]
    (tmp_path / "patients.csv").write_text("\n".join([f"{head},lat", *rows]), encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        main(["power", str(tmp_path), "--set", "cohort.treatment=lat"])
    assert ended.value.code == 0
    assert said in " ".join(capsys.readouterr().out.split())


def test_a_treatment_column_with_other_words_is_refused(tmp_path):
    study = write_score_study(
        tmp_path, significance=QUICK, cohort={"treatment": "subtype"}, evaluate={"subgroups": []}
    )
    with pytest.raises(CohortError, match="must be 0 or 1"):
        evaluated(study)


def test_a_constant_score_has_neither_c_nor_hazard_ratio(tmp_path):
    study = write_score_study(tmp_path, significance=QUICK)
    write_run(study, dict.fromkeys(read_cohort(study).patient_ids, 0.0))
    content = evaluated(study)
    for name in (
        "harrell_c",
        "uno_c",
        "hazard_ratio_per_sd",
        "spline",
        "hazard_ratio_per_sd_centre_stratified",
    ):
        assert content[name]["estimate"] is None
        assert content[name]["note"].startswith("not estimable")


def test_one_centre_is_no_obstacle(tmp_path):
    content = evaluated(write_score_study(tmp_path, centres=1, significance=QUICK))
    assert content["harrell_c_centre_stratified"]["estimate"] == content["harrell_c"]["estimate"]


def test_a_covariate_that_separates_perfectly_is_named_and_costs_only_what_needs_it(tmp_path):
    write_score_study(tmp_path, significance=QUICK)
    lines = (tmp_path / "patients.csv").read_text(encoding="utf-8").splitlines()
    told = [lines[0] + ",tell_tale"] + [
        f"{line},{int(line.split(',')[3] == '1')}" for line in lines[1:]
    ]
    (tmp_path / "patients.csv").write_text("\n".join(told) + "\n", encoding="utf-8")
    study = load_study(tmp_path, ["cohort.covariates=[age, tell_tale]"])
    content = evaluated(study)
    assert "runs to infinity" in content["added_value"]["note"]
    assert content["harrell_c"]["estimate"] is not None


def test_a_locked_score_is_validated_against_the_bundle_that_made_it(tmp_path):
    study = write_score_study(tmp_path, significance=QUICK, competing=False)
    lock(study, 0.8, 1 / 16)  # drawn with 0.4 a SD and about 16 months to an event
    whole = evaluated(study)
    content, hospitals = whole["prospective"], whole["between_centres"]
    assert content["slope"]["estimate"] == pytest.approx(0.5, abs=0.15)
    assert (
        content["hazard_ratio_per_sd"]["low"]
        < math.exp(0.4)
        < content["hazard_ratio_per_sd"]["high"]
    )
    expected = (
        np.array([math.exp(0.8 * s) for s in scores_of(study)])
        * np.floor(read_cohort(study).time_months)
        / 16
    )
    assert content["in_the_large"]["estimate"] == pytest.approx(
        read_cohort(study).event.sum() / expected.sum(), rel=1e-9
    )
    of_hospitals = sum(h["expected"] for h in hospitals["centres"].values())
    assert of_hospitals == pytest.approx(expected.sum())  # foretold by the bundle, not fitted here
    assert hospitals["sentence"].startswith("In a new hospital of this kind")


def scores_of(study):
    with (study.run_folder / "scores.csv").open(encoding="utf-8") as file:
        of_patient = {row["patient_id"]: float(row["score_sd"]) for row in csv.DictReader(file)}
    return [of_patient[p] for p in read_cohort(study).patient_ids]


def test_another_bundle_than_the_one_that_made_the_scores_is_refused(tmp_path):
    study = write_score_study(tmp_path, significance=QUICK)
    lock(study, 0.8, 1 / 16)
    (tmp_path / "bundles" / "main" / "bundle.json").write_text("{}", encoding="utf-8")
    with pytest.raises(StoreError, match="is not the bundle"):
        evaluated(study)


@pytest.mark.parametrize("patients", [30])
def test_a_small_cohort_gives_numbers_or_reasons_everywhere(tmp_path, patients):
    content = evaluated(write_score_study(tmp_path, n=patients, centres=2, significance=QUICK))

    def reasons(node):
        if isinstance(node, dict):
            if "estimate" in node and node["estimate"] is None:
                yield "note" in node
            for value in node.values():
                yield from reasons(value)
        elif isinstance(node, list):
            for value in node:
                yield from reasons(value)

    assert all(reasons(content))
    assert np.isfinite(content["harrell_c"]["estimate"])
