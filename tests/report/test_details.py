"""The second part of the report: points, guideline tables, what a page to be published hides."""

from __future__ import annotations

import json
import re

import pytest
from support.page import Page
from support.score_study import write_score_study

from pathoml.config import StainConfig
from pathoml.evaluation.evidence import read_evidence
from pathoml.evaluation.nomogram import prognostic_score
from pathoml.evaluation.sections import metrics
from pathoml.report import wording
from pathoml.report.nomogram import risk_marks
from pathoml.report.page import report_page
from pathoml.store.files import write_json


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    study = write_score_study(
        folder, n=120, centres=4, significance={"permutations": 0, "bootstraps": 200}
    )
    table = folder / "patients.csv"
    rows = table.read_text().splitlines()
    small = [
        re.sub(r",C\d,", ",TINY,", row) if k in (1, 2) else row for k, row in enumerate(rows)
    ]  # a centre of two
    table.write_text("\n".join(small) + "\n")
    write_json(
        study.run_folder / "metrics.json",
        metrics(read_evidence(study)),
    )
    return study


def page_of(study, smallest=0):
    shown = study.config.model_copy(
        update={"report": study.config.report.model_copy(update={"smallest_cell": smallest})}
    )
    return report_page(study.model_copy(update={"config": shown}))


def test_the_difference_in_points_of_two_levels_is_their_coefficient(study):
    evidence = read_evidence(study)
    content = prognostic_score(
        evidence.cohort, evidence.score, evidence.clinical, horizons_months=(12.0, 24.0)
    )
    points = {
        row["value"]: row["points"] for row in content["points"] if row["variable"] == "subtype"
    }
    coefficient = {row["name"]: row["coefficient"] for row in content["coefficients"]}
    difference = (points["UPS"] - points["LMS"]) * content[
        "log_hazard_per_point"
    ]  # LMS is the commonest level
    assert difference == pytest.approx(
        coefficient["subtype=UPS"], abs=0.1 * content["log_hazard_per_point"]
    )


def test_the_risk_of_a_total_follows_from_the_baseline_survival(study):
    content = json.loads((study.run_folder / "metrics.json").read_text())["prognostic_score"]
    row = content["totals"][3]
    relative = 2.718281828459045 ** (row["points"] * content["log_hazard_per_point"])
    assert row["risk"]["12"] == pytest.approx(1 - content["baseline_survival"]["12"] ** relative)


def test_the_methods_say_what_was_done_to_the_stain_and_nothing_if_nothing_was(study):
    stain = StainConfig(normalise="macenko", augment=0.05)
    stained = study.model_copy(update={"config": study.config.model_copy(update={"stain": stain})})
    assert (
        "each tile, normalised to a fixed reference stain by the method of Macenko and jittered in"
        " its stain by 0.05, was" in page_of(stained)
    )
    assert "each tile was turned into a vector" in page_of(study)


def test_every_section_is_a_closed_page_without_requests(study):
    text = page_of(study)
    page = Page(text)
    assert (page.open, page.wrong) == ([], [])
    assert all(r.startswith(("data:", "#")) for r in page.requests)
    assert {"risk", "points", "assumptions", "subgroups", "missing", "guidelines"} <= set(page.ids)


def test_the_guidelines_name_the_file_of_each_value_or_the_authors(study):
    text = page_of(study)
    assert "REMARK" in text
    assert "TRIPOD+AI" in text
    assert text.count("<td>the authors</td>") >= 8
    assert text.count("<td>metrics.json</td>") >= 8


def test_a_published_page_shows_no_small_centre_and_no_id(study):
    assert "TINY" in page_of(study)
    published = page_of(study, smallest=5)
    assert "TINY" not in published
    assert "other centres" in published
    assert not re.search(r"\bP0\d\d\d\b", published)


def test_a_reason_that_holds_for_neighbouring_figures_stands_once(study):
    reason = {"note": "not estimable: nobody of 120 is followed for 24 months."}
    brier = dict.fromkeys(("no_model", "clinical", "image"), reason)
    page = page_with(
        study,
        {"horizons_months": [24], "time_dependent_auc": {"24": reason}, "brier": {"24": brier}},
    )
    assert (
        page.count("nobody of 120 is followed") == 2
    )  # the AUC's cell, and one over the three Brier scores
    assert '<td colspan="3">' in page


def test_without_a_locked_score_the_page_has_no_section_on_new_patients(study):
    locked = {"estimate": 0.66, "low": 0.6, "high": 0.72}
    assert "A locked score on new patients" not in page_with(
        study, {"prospective": {"note": "the scores are oof"}}
    )
    assert "A locked score on new patients" in page_with(
        study, {"prospective": {"harrell_c": locked}}
    )


def test_what_one_means_stands_only_beside_a_number(study):
    beside = {
        "slope_of_risks": "neither too bold nor too timid",
        "in_the_large": "right on average",
    }
    calibration = json.loads((study.run_folder / "metrics.json").read_text())["calibration"]
    for name, meaning in beside.items():
        none = {"estimate": None, "low": None, "high": None, "note": "not estimable: 3 events"}
        if name == "slope_of_risks":
            none = dict.fromkeys(calibration[name], none)
        assert meaning in page_with(study, {"calibration": calibration})
        assert meaning not in page_with(study, {"calibration": calibration | {name: none}})
        assert meaning not in page_with(study, {"calibration": {}})


def test_the_page_says_how_far_the_maps_may_be_believed(study):
    whole = {
        "area": {"estimate": 0.21, "low": 0.17, "high": 0.24},
        "high_risk_slides": 39,
        "high_risk_better_than_random": 1.0,
    }
    page = page_with(
        study,
        {},
        faithfulness={
            "cohort": whole,
            "slides": {"S1": {"faithful": True}, "S2": {"faithful": False}},
        },
    )
    assert "0.21 (0.17 to 0.24)" in page
    assert "1 of 2 maps are faithful" in page


def test_the_nomogram_names_each_variable_and_the_risk_at_each_horizon(study):
    drawn = page_of(study)
    drawn = drawn[drawn.index('aria-label="Nomogram') :].split("</svg>")[0]
    for label in (
        "points",
        "age",
        "n_lesions",
        "subtype",
        "LMS",
        "image score (SD)",
        "total points",
        "risk by 12 months",
        "50%",
    ):
        assert f">{label}<" in drawn, label


def test_a_round_risk_stands_where_the_baseline_and_the_points_give_it():
    [(_, total)] = [mark for mark in risk_marks(0.9, 0.05, 50.0) if mark[0] == 0.5]
    assert 1 - 0.9 ** (2.718281828459045 ** (0.05 * total)) == pytest.approx(0.5)


def page_with(study, changes, faithfulness=None):
    """The page of the run as if evaluate and explain had found this."""
    path, checked = study.run_folder / "metrics.json", study.run_folder / "faithfulness.json"
    before = path.read_text(encoding="utf-8")
    try:
        write_json(path, {**json.loads(before), **changes})
        if faithfulness is not None:
            write_json(checked, faithfulness)
        return page_of(study)
    finally:
        path.write_text(before, encoding="utf-8")
        checked.unlink(missing_ok=True)


def test_what_readers_saw_stands_beside_the_phenotypes_and_their_interactions(study):
    features = study.run_folder / "features"
    features.mkdir(exist_ok=True)
    text = (
        "phenotype,name,share_mean,contribution_mean,n_patients,n_centres,hazard_ratio_sd,p_value,"
        "q_value,suspect,interaction_p,interaction_ratio\n"
        "3,,0.125,0.5,40,4,1.75,0.0005,0.004,,0.0312,0.64\n"
    )
    (features / "phenotypes.csv").write_text(text, encoding="utf-8")
    kappa = {"estimate": 0.61, "low": 0.5, "high": 0.7, "n": 40, "events": 0}
    ratio = {"estimate": 1.9, "low": 1.2, "high": 3.0, "n": 40, "events": 20}
    label = {
        "names": ["necrosis <b>"],
        "pairs": {"a / b": {"cohen": kappa, "weighted": kappa}},
        "fleiss": None,
        "itself": {},
    }
    label |= {"p_value": 0.0123, "q_value": 0.02, "hazard_ratio_sd": ratio}
    write_json(features / "labels.json", {"phenotypes": {"3": label}, "family_size": 1})
    page = page_of(study)
    assert "0.64 (0.0312)" in page
    assert "exploratory: the treatment was not given by chance" in page
    assert "necrosis &lt;b&gt;" in page, "names are text"
    assert "weighted 0.61 (0.50 to 0.70)" in page
    assert "1.90 (1.20 to 3.00)" in page
    for name in ("phenotypes.csv", "labels.json"):
        (features / name).unlink()


def test_three_answers_to_empty_cells_stand_in_one_table(study):
    page = page_of(study)
    section = json.loads((study.run_folder / "metrics.json").read_text(encoding="utf-8"))[
        "missing_covariates"
    ]
    assert f"{section['incomplete']} patients" in page
    assert f"{section['imputations']} imputed sets" in page
    for answer in ("complete_case", "median", "multiple_imputation"):
        ratio = section["hazard_ratios"][0][answer]
        assert f"{ratio['estimate']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})" in page


def test_few_incomplete_patients_are_not_counted_on_a_page_to_be_published(study):
    path = study.run_folder / "metrics.json"
    whole = json.loads(path.read_text(encoding="utf-8"))
    few = {**whole["missing_covariates"], "incomplete": 3, "share": 3 / whole["n"]}
    write_json(path, {**whole, "missing_covariates": few})
    try:
        assert "3 patients (2 %)" in page_of(study)
        page = page_of(study, smallest=5)
        assert "&lt;5 patients lack" in page
        assert "(2 %) lack" not in page
    finally:
        write_json(path, whole)


def test_a_study_without_empty_cells_says_so(study):
    path = study.run_folder / "metrics.json"
    whole = json.loads(path.read_text(encoding="utf-8"))
    said = "No covariate is empty in any patient: nothing is imputed."
    write_json(path, {**whole, "missing_covariates": {"incomplete": 0, "note": said}})
    try:
        assert said in page_of(study)
    finally:
        write_json(path, whole)


def test_every_hospital_its_mean_and_the_next_stand_in_the_report(study):
    page = page_of(study)
    section = json.loads((study.run_folder / "metrics.json").read_text(encoding="utf-8"))[
        "between_centres"
    ]
    assert section["sentence"] in page
    for name, own in section["centres"].items():
        row = re.search(rf"<tr><th>{name}</th>.*?</tr>", page[page.index('id="hospitals"') :])[0]
        assert wording.estimate(own["harrell_c"]) in row
        assert wording.estimate(own["observed_to_expected"]) in row
    c = section["harrell_c"]
    assert f"{c['prediction_low']:.2f} to {c['prediction_high']:.2f}" in page
    assert 'aria-label="C and calibration of every hospital, and of the next"' in page


def test_a_page_to_be_published_names_no_small_hospital_and_no_total_that_gives_it_away(study):
    page = page_of(study, smallest=5)
    part = page[page.index('id="hospitals"') : page.index('id="points"')]
    assert "TINY" not in part
    assert "Small hospitals are not shown" in part
    mean = re.search(r"<tr><th>Mean of hospitals</th>(.*?)</tr>", part)[1]
    assert mean.startswith('<td class="n"></td><td class="n"></td>')


def test_one_centre_is_said_in_the_report_without_a_figure(study):
    path = study.run_folder / "metrics.json"
    whole = json.loads(path.read_text(encoding="utf-8"))
    alone = {**whole["between_centres"], "centres": {}, "sentence": "All patients are of one."}
    write_json(path, {**whole, "between_centres": alone})
    try:
        part = page_of(study)
        part = part[part.index('id="hospitals"') : part.index('id="points"')]
        assert "All patients are of one." in part
        assert "<svg" not in part
    finally:
        write_json(path, whole)


def test_the_methods_say_how_cells_were_imputed_and_hospitals_pooled_where_they_were(study):
    page = page_of(study)
    assert "besides imputed 20 times by chained equations" in page
    assert "hospitals was pooled on the logit scale" in page
    path = study.run_folder / "metrics.json"
    whole = json.loads(path.read_text(encoding="utf-8"))
    none = {"missing_covariates": {"incomplete": 0, "note": "nothing"}, "between_centres": {}}
    write_json(path, {**whole, **none})
    try:
        page = page_of(study)
        assert "chained equations" not in page
        assert "on the logit scale" not in page
    finally:
        write_json(path, whole)
