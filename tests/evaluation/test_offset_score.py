"""The offset score is judged beside the plain one by the same functions, and nothing of the plain
one's numbers changes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr
from support.score_study import write_score_study
from support.two_endpoints import QUICK, two_endpoint_study

from pathoml.config import Study, load_study
from pathoml.errors import StoreError
from pathoml.evaluation.evidence import read_evidence
from pathoml.evaluation.metrics import Metrics
from pathoml.evaluation.sections import metrics
from pathoml.evaluation.step import evaluate_study
from pathoml.pipeline import status
from pathoml.store.files import read_json
from pathoml.store.scores import read_repeats, read_scores
from pathoml.study.cohort import read_cohort
from pathoml.survival.concordance import pooled_concordance
from pathoml.training.step import train_study

from .test_endpoints import differing
from .test_metrics import misfits

SETTINGS = (*QUICK, "train.nested=true", "significance.bootstraps=200")
OFFSET = (*SETTINGS, "train.offset=clinical", "cohort.covariates=[age, stage]")
PLAIN = (*SETTINGS, "cohort.covariates=[age, stage]")


def study_with_stage(folder: Path, settings) -> Study:
    """A covariate that is a category, which one patient lacks and one level of which is rare."""
    two_endpoint_study(folder, patients=36, yaml="", settings=SETTINGS)
    path = folder / "patients.csv"
    header, *rows = path.read_text(encoding="utf-8").splitlines()
    stage = ["", "IV", *("II" if k % 3 else "III" for k in range(len(rows) - 2))]
    lines = [f"{row},{s}" for row, s in zip(rows, stage)]
    path.write_text("\n".join([f"{header},stage", *lines]) + "\n", encoding="utf-8")
    return load_study(folder, list(settings))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = study_with_stage(tmp_path_factory.mktemp("offset"), OFFSET)
    train_study(study)
    evaluate_study(study)
    return study


def found(study: Study) -> tuple[dict, dict]:
    return tuple(read_json(study.run_folder / f"{n}.json") for n in ("metrics", "permutation"))


def test_the_section_is_as_its_type_says(study):
    wrong = misfits(found(study)[0], Metrics)
    assert [one for one in wrong if one.startswith(".offset_score")] == []


def test_nothing_of_the_plain_score_changes(study, tmp_path):
    alone = study_with_stage(tmp_path, PLAIN)
    train_study(alone)
    evaluate_study(alone)
    (both, both_p), (one, one_p) = found(study), found(alone)
    assert both.keys() - one.keys() == {"offset_score"}
    assert {name: both[name] for name in one} == one
    assert both_p.keys() - one_p.keys() == {"offset_score"}
    numbers = one_p.keys() - {"recipe_sha256"}  # of all that was permuted
    assert {name: both_p[name] for name in numbers} == {name: one_p[name] for name in numbers}


def test_the_plain_score_has_the_numbers_that_it_has_elsewhere(study):
    content = found(study)[0]
    section = content["offset_score"]
    for name in ("harrell_c", "harrell_c_centre_stratified", "hazard_ratio_per_sd", "added_value"):
        assert section["plain"][name] == content[name], name
    for name in ("harrell_c", "harrell_c_centre_stratified"):
        assert section["clinical"][name] == content["clinical"][name], name
    assert section["headline"] == content["headline"]


def test_clinical_and_offset_score_are_added_in_the_fold_that_did_not_see_the_patient(study):
    cohort = read_cohort(study)
    table = read_repeats(study.run_folder / "offset" / "repeat_scores.csv", cohort.patient_ids)
    expected = pooled_concordance(
        table.scores["log_risk"] + table.scores["clinical"],
        cohort.time_months,
        cohort.event,
        group=table.fold,
        stratum=cohort.centre,
    ).estimate
    said = found(study)[0]["offset_score"]["clinical_and_offset"]["harrell_c_centre_stratified"]
    assert said["estimate"] == pytest.approx(expected, abs=1e-12)


def test_rank_correlations_are_with_each_number_and_each_level(study):
    rows = found(study)[0]["offset_score"]["correlations"]
    assert [(r["variable"], r["level"], r["n"]) for r in rows] == [
        ("age", None, 36),
        ("stage", "II", 22),
        ("stage", "III", 12),
        ("stage", "IV", 1),
        ("stage", "missing", 1),
    ]
    patients = read_cohort(study).patients
    columns = (
        [p.covariates["age"] for p in patients],
        [p.covariates["stage"] == "III" for p in patients],
    )
    for folder, name in ((study.run_folder, "plain"), (study.run_folder / "offset", "offset")):
        score = read_scores(folder).score_sd
        for row, column in zip((rows[0], rows[2]), columns):
            expected = spearmanr(score, column)[0]
            assert row[name]["estimate"] == pytest.approx(expected, abs=1e-9)


def test_the_permutation_test_repeats_the_offset_score_too(study):
    tested = found(study)[1]["offset_score"]
    assert len(tested["null"]) == len(tested["added_value"]["null"]) == 3
    assert len({*tested["null"], tested["observed"]}) > 1
    for one in (tested, tested["added_value"]):
        larger = sum(value >= one["observed"] for value in one["null"])
        assert one["p_value"] == (1 + larger) / 4


def test_permutations_are_kept_when_only_a_horizon_changes(study, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr("pathoml.evaluation.permutation.fit_models", refuse)
    before = found(study)[1]
    evaluate_study(load_study(study.folder, [*OFFSET, "evaluate.horizons_months=[9.0]"]))
    assert found(study)[1] == before
    evaluate_study(study)


def test_asking_for_it_makes_training_and_evaluation_stale(tmp_path):
    alone = study_with_stage(tmp_path, PLAIN)
    train_study(alone)
    evaluate_study(alone)
    asked = load_study(tmp_path, list(OFFSET))
    assert status(asked)["train"] == "to do again"
    train_study(asked)
    assert status(asked)["evaluate"] == "to do again"


def test_an_offset_score_that_was_changed_makes_evaluation_stale(tmp_path):
    study = study_with_stage(tmp_path, [*OFFSET, "significance.permutations=0"])
    train_study(study)
    evaluate_study(study)
    path = study.run_folder / "offset" / "scores.csv"
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert status(study)["evaluate"] == "to do again"


def test_scores_of_which_patients_were_taken_out_are_refused(tmp_path):
    study = study_with_stage(tmp_path, [*OFFSET, "significance.permutations=0"])
    train_study(study)
    for name in ("scores.csv", "baselines.csv"):
        path = study.run_folder / "offset" / name
        header, _, *rows = path.read_text(encoding="utf-8").splitlines()
        path.write_text("\n".join([header, *rows]), encoding="utf-8")
    with pytest.raises(StoreError, match=r"2 files of offset/ were changed since"):
        evaluate_study(study)


def test_scores_from_elsewhere_have_no_offset_score(tmp_path):
    write_score_study(tmp_path, n=40, significance={"permutations": 0, "bootstraps": 0})
    imported = load_study(tmp_path, ["train.offset=clinical"])
    assert "offset_score" not in metrics(read_evidence(imported))


@pytest.mark.ci
def test_r_repeats_the_numbers_of_both_scores(study):
    of_offset, of_plain = differing(study.run_folder / "offset"), differing(study.run_folder)
    assert [name for name in of_plain if name.startswith("offset_score")] == []
    assert of_offset - of_plain == set()


def test_numbers_of_the_offset_score_lie_beside_it_for_r(study):
    folder = study.run_folder / "offset"
    own, section = read_json(folder / "metrics.json"), found(study)[0]["offset_score"]["offset"]
    for name in section:
        assert own[name] == section[name], name
    assert np.isfinite(own["tau_months"])
