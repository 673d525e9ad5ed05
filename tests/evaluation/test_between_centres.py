"""Every hospital's own C and calibration, their mean, and what the next hospital may be like."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from support.r_oracle import run_r
from support.score_study import write_score_study

from pathoml.evaluation.analysis_r import write_analysis
from pathoml.evaluation.between_centres import between_centres_section
from pathoml.evaluation.cohort_table import write_cohort_table
from pathoml.evaluation.evidence import read_evidence
from pathoml.evaluation.missing_covariates import write_imputed
from pathoml.evaluation.sections import metrics
from pathoml.evaluation.start_stop import write_start_stop
from pathoml.store.scores import RepeatTable, write_repeats
from pathoml.study.run_folder import RunFolder
from pathoml.survival.random_effects import pool_concordance, pool_observed_to_expected

QUICK = {"permutations": 0, "bootstraps": 0}
LOCO = {"scheme": "leave_one_centre_out"}


def section_of(folder, **sections):
    return between_centres_section(
        read_evidence(write_score_study(folder, significance=QUICK, **sections))
    )


def with_scores(study, change):
    """Rewrite cells of scores.csv: `change` gets a row."""
    path = study.run_folder / "scores.csv"
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        change(row)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return read_evidence(study)


@pytest.fixture(scope="module")
def loco(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loco")
    study = write_score_study(folder, significance=QUICK, splits=LOCO)

    def is_left_out(row):
        row["score_type"], row["fold"] = "loco", row["centre"]

    return with_scores(study, is_left_out)


def test_the_means_are_those_of_the_hospitals_that_are_listed(loco):
    section = between_centres_section(loco)
    own = list(section["centres"].values())
    assert len(own) == 6
    c = pool_concordance(
        [h["harrell_c"]["estimate"] for h in own], [h["harrell_c"]["standard_error"] for h in own]
    )
    ratio = pool_observed_to_expected([h["events"] for h in own], [h["expected"] for h in own])
    for found, pooled in ((section["harrell_c"], c), (section["observed_to_expected"], ratio)):
        for name in ("estimate", "low", "high", "prediction_low", "prediction_high", "tau2", "i2"):
            assert found[name] == pytest.approx(getattr(pooled, name))
        assert found["hospitals"] == 6
        assert found["n"] == 246


def test_the_sentence_speaks_of_a_new_hospital_where_each_was_left_out(loco):
    section = between_centres_section(loco)
    c = section["harrell_c"]
    ends = f"between {c['prediction_low']:.2f} and {c['prediction_high']:.2f}"
    assert section["sentence"].startswith(f"In a new hospital of this kind C would lie {ends}")
    assert "from 6 hospitals" in section["sentence"]
    assert "times those foretold" in section["sentence"]
    assert "to which it was new" in section["meaning"]


def test_expected_events_of_all_hospitals_are_those_of_the_calibration_in_the_large(loco):
    content = metrics(loco)
    own = content["between_centres"]["centres"].values()
    ratio = sum(h["events"] for h in own) / sum(h["expected"] for h in own)
    assert ratio == pytest.approx(content["calibration"]["in_the_large"]["estimate"])


def test_k_folds_say_that_the_hospitals_were_known_to_the_models(tmp_path):
    section = section_of(tmp_path, n=160, centres=3)
    assert "of which other patients were in training" in section["sentence"]
    assert "leave_one_centre_out" in section["meaning"]


def test_folds_of_whole_centres_are_as_new_as_leaving_one_out(tmp_path):
    section = section_of(
        tmp_path, n=160, centres=6, splits={"scheme": "centre_preserving", "folds": 3}
    )
    assert section["sentence"].startswith("In a new hospital")


def test_one_centre_is_said_and_nothing_is_pooled(tmp_path):
    section = section_of(tmp_path, n=60, centres=1)
    assert section["centres"] == {}
    assert section["harrell_c"]["estimate"] is None
    assert "one centre" in section["sentence"]


def test_two_hospitals_have_a_mean_and_no_word_on_a_third(tmp_path):
    section = section_of(tmp_path, n=120, centres=2)
    assert section["harrell_c"]["estimate"] > 0.5
    assert section["harrell_c"]["prediction_low"] is None
    assert "cannot be computed" in section["sentence"]


def test_small_hospitals_are_listed_with_the_reason_and_are_not_in_the_mean(tmp_path):
    section = section_of(tmp_path, n=60, centres=9)
    small = [name for name, h in section["centres"].items() if h["n"] < 10]
    assert small
    for name in small:
        assert section["centres"][name]["harrell_c"]["estimate"] is None
        assert name in section["left_out"]
    assert "fewer than 10 patients or 5 events" in section["left_out"]
    pooled = section["harrell_c"]
    assert pooled["n"] == sum(h["n"] for name, h in section["centres"].items() if name not in small)


def test_a_hospital_without_an_event_is_in_no_mean_and_the_leaning_is_said(tmp_path):
    study = write_score_study(tmp_path, n=160, centres=4, significance=QUICK)
    path = tmp_path / "patients.csv"
    rows = [row.split(",") for row in path.read_text(encoding="utf-8").splitlines()]
    for row in rows[1:]:
        row[3] = "0" if row[1] == "C2" else row[3]
    path.write_text("\n".join(",".join(row) for row in rows) + "\n", encoding="utf-8")
    section = between_centres_section(read_evidence(study))
    assert section["observed_to_expected"]["hospitals"] == 3
    assert (
        "C2 (no event was seen, so that the mean of the others leans upwards)"
        in (section["left_out"])
    )
    assert section["centres"]["C2"]["expected"] > 0


def test_a_hospital_with_every_pair_in_order_has_no_logit_and_is_listed(tmp_path):
    study = write_score_study(tmp_path, n=160, centres=4, competing=False, significance=QUICK)
    time = {p.patient_id: p.time_months for p in read_evidence(study).cohort.patients}

    def in_order(row):
        if row["centre"] == "C3":
            row["score_sd"] = row["log_risk"] = str(-time[row["patient_id"]])

    section = between_centres_section(with_scores(study, in_order))
    assert section["harrell_c"]["hospitals"] == 3
    assert "C3 (C is 1 of pairs that all say the same" in section["left_out"]
    assert section["observed_to_expected"]["hospitals"] == 4


def test_scores_made_elsewhere_say_that_nothing_is_known_of_their_training(tmp_path):
    study = write_score_study(tmp_path, n=160, centres=3, significance=QUICK)
    evidence = with_scores(study, lambda row: row.update(score_type="external", fold=""))
    section = between_centres_section(evidence)
    assert section["sentence"].startswith("If the score learned from none of these hospitals")
    assert section["harrell_c"]["estimate"] > 0.5


def test_hospitals_that_differ_in_hazard_have_a_wider_interval_for_the_next(tmp_path):
    study = write_score_study(tmp_path / "alike", n=246, significance=QUICK)
    alike = between_centres_section(read_evidence(study))["observed_to_expected"]
    other = write_score_study(tmp_path / "apart", n=246, significance=QUICK)
    path = tmp_path / "apart" / "patients.csv"
    rows = [row.split(",") for row in path.read_text(encoding="utf-8").splitlines()]
    for row in rows[1:]:  # time runs slower in one half of the hospitals
        row[2] = f"{float(row[2]) * (4 if row[1] in ('C1', 'C2', 'C3') else 1):.1f}"
    path.write_text("\n".join(",".join(row) for row in rows) + "\n", encoding="utf-8")
    apart = between_centres_section(read_evidence(other))["observed_to_expected"]
    assert apart["tau2"] > alike["tau2"] + 0.1
    assert np.log(apart["prediction_high"] / apart["prediction_low"]) > np.log(
        alike["prediction_high"] / alike["prediction_low"]
    )


@pytest.mark.ci
@pytest.mark.parametrize("by", ["metafor", "own lines"])
def test_r_repeats_every_number_from_the_scores_of_every_partition(tmp_path, by):
    study = write_score_study(tmp_path, n=150, centres=5, significance=QUICK)
    before = read_evidence(study)
    rng = np.random.default_rng(2)
    splits = before.splits
    fold = np.array(
        [
            [next(f.name for f in split.folds if p in f.test) for p in before.cohort.patient_ids]
            for split in splits
        ]
    )
    scores = before.score + rng.normal(0, 0.3, fold.shape)
    files = RunFolder(study.run_folder)
    table = RepeatTable(
        repeats=tuple(s.name for s in splits), fold=fold, scores={"log_risk": scores}
    )
    write_repeats(files.repeat_scores, before.cohort.patient_ids, table)
    evidence = read_evidence(study)
    content = metrics(evidence)
    write_start_stop(files.start_stop, evidence.cohort, evidence.score)
    write_cohort_table(files.cohort_table, evidence)
    write_imputed(files.imputed, evidence)
    write_analysis(files.analysis_r, evidence, tau_months=content["tau_months"])
    script = files.analysis_r.read_text(encoding="utf-8")
    if by == "own lines":
        script = "requireNamespace <- function(...) FALSE\n" + script
    of_r = run_r(script, folder=study.run_folder)
    section = content["between_centres"]
    assert section["harrell_c"]["hospitals"] == 5
    for name in ("harrell_c", "observed_to_expected"):
        for key, ours in section[name].items():
            theirs = of_r[f"between_centres.{name}.{key}"]
            assert theirs[0] == pytest.approx(ours, rel=1e-6, abs=1e-8), (name, key)
    for centre, own in section["centres"].items():
        for key in ("estimate", "low", "high", "standard_error"):
            theirs = of_r[f"between_centres.centres.{centre}.harrell_c.{key}"]
            assert theirs[0] == pytest.approx(own["harrell_c"][key], rel=1e-9)
