"""The page with an offset score: beside the plain one, said in the methods, rare levels hidden."""

from __future__ import annotations

import pytest
from support.page import section, text_of
from support.two_endpoints import QUICK, two_endpoint_study

from pathoml.bundles.locking import lock
from pathoml.config import Study, load_study
from pathoml.evaluation.step import evaluate_study
from pathoml.report.page import report_page
from pathoml.training.step import train_study

OFFSET = (
    *QUICK,
    "train.head=abmil",
    "train.offset=clinical",
    "train.strata=centre",
    "cohort.covariates=[age, stage]",
)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("paged")
    two_endpoint_study(folder, patients=36, yaml="")
    path = folder / "patients.csv"
    header, *rows = path.read_text(encoding="utf-8").splitlines()
    stage = ["IV" if k < 3 else ("II", "III")[k % 2] for k in range(len(rows))]
    lines = [f"{row},{s}" for row, s in zip(rows, stage)]
    path.write_text("\n".join([f"{header},stage", *lines]) + "\n", encoding="utf-8")
    study = load_study(folder, list(OFFSET))
    train_study(study)
    evaluate_study(study)
    return study


def test_both_scores_stand_side_by_side_with_their_numbers(study):
    said = text_of(section(report_page(study), "offset"))
    found = evaluate_study(study)
    content = found.metrics["offset_score"]
    for key in ("plain", "offset"):
        c = content[key][content["headline"]]
        assert f"{key} score {c['estimate']:.2f} ({c['low']:.2f}" in said
        chi2 = content[key]["added_value"]["likelihood_ratio_chi2"]
        assert f" {chi2:.1f} " in said
    p = found.permutation["offset_score"]["added_value"]["p_value"]
    assert f"{p:.2f}" in said
    for row in content["correlations"]:
        name = f"{row['variable']} {row['level']}" if row["level"] else row["variable"]
        assert f"{name} {row['plain']['estimate']:.2f}" in said


def test_the_methods_say_how_it_was_made_and_within_which_strata_the_loss_compares(study):
    said = text_of(section(report_page(study), "methods"))
    assert "An offset score of what the covariates do not say stands beside the plain one" in said
    assert "partial likelihood within strata by centre for 4 epochs" in said


def test_levels_of_few_patients_are_not_shown_on_a_page_to_be_published(study):
    hidden = load_study(study.folder, [*OFFSET, "report.smallest_cell=5"])
    said = text_of(section(report_page(hidden), "offset"))
    assert "stage II " in said
    assert "stage IV" not in said


def test_a_run_without_it_has_no_such_part(tmp_path):
    alone = two_endpoint_study(tmp_path, yaml="")
    train_study(alone)
    evaluate_study(alone)
    page = report_page(alone)
    assert 'id="offset"' not in page
    assert "offset score" not in page
    assert "within strata" not in page


def test_a_bundle_says_that_it_does_not_predict_the_offset_score(study):
    card = (lock(study, "first") / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "| does not predict | the offset score, which the study trained beside it |" in card
