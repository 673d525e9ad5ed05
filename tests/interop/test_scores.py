"""Scores of another program become a run without slides, and real clinical tables are read as they
come.
"""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import openpyxl
import pytest

from pathoml.cli.check import run as check
from pathoml.cli.console import Console
from pathoml.cli.evaluate import run as evaluate
from pathoml.cli.report import run as report
from pathoml.config import Study, load_study
from pathoml.errors import CohortError
from pathoml.evaluation.evidence import read_evidence
from pathoml.interop.scores import import_into
from pathoml.study.cohort import read_cohort
from pathoml.training.nested import read_nested, write_nested

CONFIG = Path(__file__).parents[2] / "configs" / "tcga-sarc.yaml"
SHARED = Path(
    os.environ.get("PATHOML_SHARED", ""), "data", "survival", "TCGA-SARC_clinical_CDR.csv"
)


def small_study(folder: Path) -> Study:
    (folder / "study.yaml").write_text(
        "endpoint: {name: PFS, time_zero: diagnosis, time: months, event: event}\n"
        "cohort: {covariates: [age], without_slides: keep, missing: [not done]}\nsplits: {folds: "
        "2, repeats: 1}\n"
    )
    rows = [
        f"P{k},{'ab'[k % 2]},{k + 1},{int(k % 3 > 0)},{'not done' if k == 4 else 40 + k}"
        for k in range(20)
    ]
    (folder / "patients.csv").write_text(
        "patient_id,centre,months,event,age\n" + "\n".join(rows) + "\n"
    )
    return load_study(folder)


def scores_file(folder: Path, header: str = "patient_id,score", skip: int = -1) -> Path:
    path = folder / "theirs.csv"
    columns = header.count(",")
    rows = [",".join([f"P{k}", *[str(20 - k)] * columns]) for k in range(20) if k != skip]
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_study_that_keeps_patients_without_slides_needs_no_slides_table(tmp_path: Path) -> None:
    cohort = read_cohort(small_study(tmp_path))
    assert (len(cohort.patients), cohort.excluded) == (20, ())


def test_a_spelling_of_missing_may_be_the_hospitals_own(tmp_path: Path) -> None:
    ages = {p.patient_id: p.covariates["age"] for p in read_cohort(small_study(tmp_path)).patients}
    assert [who for who, age in ages.items() if age is None] == ["P4"]


def test_imported_scores_are_centred_and_in_units_of_their_sd(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    import_into(study, scores_file(tmp_path))
    rows = read_rows(study.run_folder / "scores.csv")
    assert float(rows[0]["log_risk"]) == pytest.approx(9.5)  # 20 less the mean of 1..20
    assert float(rows[0]["score_sd"]) == pytest.approx(
        9.5 / 35**0.5
    )  # the sample variance of 1..20 is 35
    assert {row["score_type"] for row in rows} == {"external"}


def test_nested_scores_of_an_earlier_training_do_not_outlive_an_import(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    study.run_folder.mkdir(parents=True)
    write_nested(study.run_folder, ["P0"], {"1": np.array([0.5])})
    import_into(study, scores_file(tmp_path))
    assert read_nested(study.run_folder, ["P0"]) is None
    assert evaluate(study, Console()) == 0
    note = json.loads((study.run_folder / "metrics.json").read_text())["nested_scores"]["note"]
    assert note.startswith("The score was made elsewhere")


def test_an_import_into_a_run_with_trained_models_is_refused_and_nothing_of_it_is_lost(
    tmp_path: Path,
) -> None:
    study = small_study(tmp_path)
    (study.run_folder / "models").mkdir(parents=True)
    (study.run_folder / "models" / "models.json").write_text("{}")
    with pytest.raises(
        CohortError,
        match=(
            r"holds models that were trained there\. Import into a run of its own: add --set"
            r" run=imported"
        ),
    ):
        import_into(study, scores_file(tmp_path))
    assert not (study.run_folder / "scores.csv").exists()


def test_a_patient_without_a_score_is_named_and_left_out(tmp_path: Path) -> None:
    exchange = import_into(small_study(tmp_path), scores_file(tmp_path, skip=3))
    assert exchange.failures == {"P3": "no score in theirs.csv"}


def test_two_columns_of_numbers_need_a_choice(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    with pytest.raises(CohortError, match=r"Columns of numbers: one, two\. Name it with --column"):
        import_into(study, scores_file(tmp_path, "patient_id,one,two"))
    assert (
        import_into(study, scores_file(tmp_path, "patient_id,one,two"), column="two").failures == {}
    )


def test_evaluate_and_report_say_what_imported_scores_cannot_show(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    import_into(study, scores_file(tmp_path))
    quick = study.model_copy(
        update={
            "config": study.config.model_copy(
                update={
                    "significance": study.config.significance.model_copy(update={"bootstraps": 200})
                }
            )
        }
    )
    assert (evaluate(quick, Console()), report(quick, Console())) == (0, 0)
    permutation = json.loads((study.run_folder / "permutation.json").read_text())
    assert permutation["p_value"] is None
    assert "not trained here" in permutation["note"]
    assert "without embeddings" in (study.run_folder / "report.html").read_text()


@pytest.mark.skipif(not SHARED.is_file(), reason="needs PATHOML_SHARED with the TCGA-SARC table")
@pytest.mark.parametrize(
    ("scheme", "low", "high"), [("stratified", 0.55, 0.58), ("leave_one_centre_out", 0.52, 0.56)]
)
def test_the_clinical_baseline_of_tcga_sarc_is_that_of_a_plain_ridge_cox(
    tmp_path: Path, scheme: str, low: float, high: float
) -> None:
    from pathoml.survival.concordance import harrell_c

    text = SHARED.read_text(encoding="utf-8").replace("bcr_patient_barcode", "patient_id", 1)
    (tmp_path / "patients.csv").write_text(text, encoding="utf-8")
    (tmp_path / "study.yaml").write_text(CONFIG.read_text(encoding="utf-8"), encoding="utf-8")
    study = load_study(tmp_path, [f"splits.scheme={scheme}"])
    cohort = read_cohort(study)
    assert (len(cohort.patients), int(cohort.event.sum()), len(set(cohort.centre.tolist()))) == (
        261,
        139,
        34,
    )
    import_into(study, tmp_path / "patients.csv", column="age_at_initial_pathologic_diagnosis")
    clinical = [float(row["clinical"]) for row in read_rows(study.run_folder / "baselines.csv")]
    assert low <= harrell_c(clinical, cohort.time_months, cohort.event) <= high


@pytest.mark.parametrize("word", ["1e999", "inf", "nan.", "2,5,1"])
def test_a_score_that_is_not_a_finite_number_is_refused_with_the_patient(tmp_path, word):
    study, path = small_study(tmp_path), scores_file(tmp_path)
    path.write_text(path.read_text().replace("P3,17", f'P3,"{word}"'))
    with pytest.raises(CohortError, match=r"patient P3: score = .* is not a finite number"):
        import_into(study, path, column="score")


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
def test_the_unit_of_a_score_changes_nothing_but_the_log_risk(tmp_path, unit):
    study, path = small_study(tmp_path), scores_file(tmp_path)
    rows = [f"P{k},{unit * (20 - k)!r}" for k in range(20)]
    path.write_text("\n".join(["patient_id,score", *rows]) + "\n")
    import_into(study, path)
    rows_of = {row["patient_id"]: row for row in read_rows(study.run_folder / "scores.csv")}
    scores = [float(rows_of[f"P{k}"]["score_sd"]) for k in range(20)]
    expected = (np.arange(20, 0, -1) - 10.5) / np.std(np.arange(20), ddof=1)
    np.testing.assert_allclose(scores, expected, rtol=1e-8)


@pytest.mark.parametrize("value", ["1.5", "0", "0.1", "1e12", "-3.3"])
def test_a_constant_score_has_no_spread_by_rounding(tmp_path, value):
    study, path = small_study(tmp_path), scores_file(tmp_path)
    rows = [f"P{k},{value}" for k in range(20)]
    path.write_text("\n".join(["patient_id,score", *rows]) + "\n")
    import_into(study, path)
    rows_of = read_rows(study.run_folder / "scores.csv")
    assert {float(row["score_sd"]) for row in rows_of} == {0.0}
    assert {float(row["log_risk"]) for row in rows_of} == {0.0}


def test_two_patients_are_too_few_for_a_run(tmp_path):
    study, path = small_study(tmp_path), scores_file(tmp_path)
    path.write_text("patient_id,score\nP1,1\nP2,2\n")
    with pytest.raises(CohortError, match="too few"):
        import_into(study, path)


def test_evaluate_says_that_imported_scores_have_no_permutations(tmp_path, capsys):
    study = small_study(tmp_path)
    import_into(study, scores_file(tmp_path))
    evaluate(study, Console())
    said = capsys.readouterr().out
    assert "no permutations: these scores were not trained here" in said
    assert "200 permutations" not in said


def test_check_asks_nothing_of_an_encoder_that_a_study_without_slides_does_not_use(tmp_path):
    small_study(tmp_path)
    study = load_study(tmp_path, ["encoder=of_our_own"])
    assert check(study, Console()) == 0


IDS = ["-P003", "=P001", "+S1", "@x", "00012", "1e5", "TRUE", "'=Q", "-4", "=1+1"]


def with_odd_ids(folder: Path) -> tuple[Study, Path]:
    study, source = small_study(folder), scores_file(folder)
    for path in (folder / "patients.csv", source):
        text = path.read_text()
        for k, one in enumerate(IDS):
            text = text.replace(f"P{k},", f"{one},", 1)
        path.write_text(text)
    return study, source


def test_ids_that_a_spreadsheet_would_run_or_change_go_through_a_whole_run(tmp_path: Path) -> None:
    study, source = with_odd_ids(tmp_path)
    exchange = import_into(study, source)
    assert exchange.failures == {}
    assert evaluate(study, Console()) == 0
    assert report(study, Console()) == 0
    assert set(IDS) < set(read_evidence(study).cohort.patient_ids)
    run = study.run_folder
    cells = [cell for path in run.glob("*.csv") for row in read_rows(path) for cell in row.values()]
    assert [c for c in cells if c[:1] in ("=", "+", "@")] == []
    assert [c for c in cells if c[:1] == "-" and not c[1:2].isdigit()] == []


def test_our_own_scores_come_back_with_such_ids(tmp_path: Path) -> None:
    study, source = with_odd_ids(tmp_path)
    import_into(study, source)
    again = tmp_path / "again.csv"
    again.write_bytes((study.run_folder / "scores.csv").read_bytes())
    assert import_into(study, again).failures == {}


def test_scores_that_may_be_thousands_are_refused_with_the_line(tmp_path: Path) -> None:
    study, source = small_study(tmp_path), scores_file(tmp_path)
    source.write_text(source.read_text().replace(",19\n", ',"1,900"\n'))
    with pytest.raises(CohortError, match=r"theirs.csv line 3: score = '1,900' may be 1900 or 1.9"):
        import_into(study, source)


def test_ids_that_lost_their_zeros_are_proposed(tmp_path: Path) -> None:
    study, source = small_study(tmp_path), scores_file(tmp_path)
    source.write_text(source.read_text().replace("\nP7,", "\nP007,"))
    found = import_into(study, source).failures
    assert found["P007"].startswith("not in the cohort. Is it 'P7' there?")


def test_scores_on_another_sheet_under_a_title_are_found(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    book = openpyxl.Workbook()
    book.active.append(["Notes"])
    data = book.create_sheet("Scores")
    for line in (
        ["Model of 2024"],
        ["patient_id", "score"],
        *([f"P{k}", k / 7] for k in range(20)),
    ):
        data.append(line)
    book.save(tmp_path / "theirs.xlsx")
    found = import_into(study, tmp_path / "theirs.xlsx")
    assert found.failures == {}
    assert "theirs.xlsx: the table is on sheet 'Scores'" in found.notes
