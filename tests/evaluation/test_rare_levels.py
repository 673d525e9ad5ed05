"""One rare level of a covariate costs that level, said, and no section of metrics.json."""

from __future__ import annotations

import csv

import pytest
import yaml
from evaluation.test_analysis_r import disagreements, evaluated_twice
from support.score_study import write_csv, write_run, write_score_study

from pathoml.config import load_study
from pathoml.evaluation.evidence import read_evidence
from pathoml.evaluation.sections import metrics

RARE = ["no event", "one early", "aliased", "all treated"]


def study_with(folder, kind, n=150):
    """Return a study whose subtype or second covariate has a level of the kind."""
    shared = {"significance": {"permutations": 0, "bootstraps": 0}, "competing": False}
    write_score_study(folder, n=n, seed=8, **shared)
    with (folder / "patients.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for k, row in enumerate(rows):
        row["stage"] = "I" if k % 3 else "II"
        row["age"], row["subtype"] = row["age"] or "58", row["subtype"] or "LMS"
    censored = [row for row in rows if row["pfs_event"] == "0"]
    seen = [row for row in rows if row["pfs_event"] == "1"]
    chosen = {
        "no event": censored[:4],
        "one early": seen[:1],
        "aliased": seen[:9] + censored[:2],
        "all treated": [r for r in seen if r["systemic"] == "1"][:6],
    }[kind]
    for row in chosen:
        row["subtype"] = "rare"
        if kind == "aliased":
            row["stage"] = "unknown"
        if kind == "one early":
            row["pfs_months"] = "0.05"
    write_csv(folder / "patients.csv", " ".join(rows[0]), [r.values() for r in rows])
    path = folder / "study.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["cohort"]["covariates"] = ["age", "subtype", "stage"]
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    study = load_study(folder)
    evidence = read_evidence(study)
    write_run(study, dict(zip(evidence.cohort.patient_ids, evidence.score)))
    return study


@pytest.mark.ci
@pytest.mark.parametrize("kind", RARE)
def test_every_section_stands_and_equals_r(tmp_path, kind):
    content, of_r = evaluated_twice(study_with(tmp_path, kind))
    assert disagreements(content, of_r) == []


@pytest.mark.parametrize("kind", RARE)
def test_a_rare_level_is_said_and_no_section_goes_with_it(tmp_path, kind):
    content = metrics(read_evidence(study_with(tmp_path, kind)))
    assert content["added_value"]["likelihood_ratio_chi2"] > 0
    assert content["treatment_interaction"]["interaction"]["estimate"] is not None
    assert content["treatment_interaction"]["overlap_weighted"]["estimate"] is not None
    assert content["leaks"]["gain_over_subtype"]["likelihood_ratio_chi2"] > 0
    terms = content["proportional_hazards"]["with_clinical"]
    assert [row["covariate"] for row in terms if row["p_value"] is not None][-1] == "all"
    for model in ("clinical", "clinical_and_image"):
        assert content["calibration"][model]["24"]["observed"]["estimate"] > 0
    assert content["prognostic_score"]["points"]
    left_out = {row["name"]: row["reason"] for row in content["added_value"]["left_out"]}
    expected = {
        "no event": {"subtype=rare": "no event among its 4 patients"},
        "one early": {
            "subtype=rare": "all events of its 1 patient came before those of all others"
        },
        "aliased": {"stage=unknown": "other columns determine it"},
        "all treated": {},
    }[kind]
    assert left_out == expected
    certain = content["treatment_interaction"]["left_out"]
    said = [row["reason"] for row in certain if row["name"] == "subtype=rare"]
    assert (kind == "all treated") == ("decides the treatment: overlap weights of 0" in said) or (
        kind == "one early"
    )
