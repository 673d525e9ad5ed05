"""The page with several endpoints: side by side, each by its own name, small counts hidden."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.page import section, text_of
from support.two_endpoints import OS, QUICK, two_endpoint_study, with_os_as_primary

from pathoml.bundles.locking import lock
from pathoml.config import Study, load_study
from pathoml.evaluation.step import evaluate_study
from pathoml.report.page import report_page
from pathoml.training.step import train_study


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = two_endpoint_study(
        tmp_path_factory.mktemp("paged"), patients=36, without_os={"P3", "P8"}
    )
    train_study(study)
    evaluate_study(study)
    return study


def test_the_endpoints_stand_side_by_side_with_their_numbers(study):
    said = text_of(section(report_page(study), "endpoints"))
    metrics = evaluate_study(study).metrics
    own = metrics["endpoints"][OS]
    assert "progression (primary) 36" in said
    assert f"{OS} 34 {own['events']} {own['harrell_c']['estimate']:.2f}" in said
    crossed = metrics["endpoint_comparison"]["trained_on"][OS]["progression"][metrics["headline"]]
    assert f"{crossed['estimate']:.2f} ({crossed['low']:.2f}" in said
    assert "The family has 2" in said
    assert "Correlation of the scores for progression and overall survival" in said


def test_the_methods_say_how_further_endpoints_were_trained(study):
    said = text_of(section(report_page(study), "methods"))
    assert f"Models of {OS} were trained on the same folds, those of the primary endpoint" in said


def test_a_study_of_one_endpoint_has_no_such_part(tmp_path):
    alone = two_endpoint_study(tmp_path, yaml="")
    train_study(alone)
    evaluate_study(alone)
    assert 'id="endpoints"' not in report_page(alone)


def test_figures_of_several_endpoints_share_no_id(study):
    page = report_page(study)
    assert 'id="survival-' in page
    assert 'id="survival-2-' in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_counts_that_would_tell_of_a_few_patients_are_not_shown(study):
    hidden = load_study(study.folder, [*QUICK, "report.smallest_cell=5"])
    said = text_of(section(report_page(hidden), "endpoints"))
    assert f"{OS} not shown not shown" in said
    assert not re.search(r"(?<![.\d])34(?![.\d])", said)


def test_no_page_of_overall_survival_speaks_of_progression(tmp_path):
    whole = two_endpoint_study(tmp_path, patients=36)
    train_study(whole)
    swapped = with_os_as_primary(whole, "swapped")
    train_study(swapped)
    evaluate_study(swapped)
    folder = lock(swapped, "swapped")
    said = [
        text_of(report_page(swapped)),
        (folder / "MODEL_CARD.md").read_text(encoding="utf-8"),
        (swapped.run_folder / "scores.dictionary.csv").read_text(encoding="utf-8"),
    ]
    for text in said:
        assert OS in text
        assert "progress" not in text.lower()


def test_no_sentence_of_the_package_that_a_reader_sees_knows_the_endpoint():
    package = Path(__file__).parents[2] / "pathoml"
    seen = [*package.glob("report/*"), *package.glob("viewer/web/*.*"), *package.glob("bundles/*")]
    seen += [package / "store" / "scores.py", package / "evaluation" / "sections.py"]
    for path in seen:
        if path.is_file() and path.suffix != ".pyc":
            assert "progression" not in path.read_text(encoding="utf-8").lower(), path


def test_a_bundle_says_which_endpoints_it_does_not_predict(study):
    folder = lock(study, "first")
    card = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "| predicts | relative risk of: progression, from ablation |" in card
    assert f"| does not predict | {OS}, " in card
