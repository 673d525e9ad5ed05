"""cohort.csv hands R the patients as they were read: ids and levels are text, numbers have a dot,
whatever people wrote; and R's numbers are the same.
"""

from __future__ import annotations

import csv
import subprocess

import pytest
from support.r_oracle import r_survival_is_there, unavailable
from support.score_study import write_csv, write_run, write_score_study

from pathoml.config import load_study
from pathoml.evaluation.cohort_table import cohort_columns, covariate_types
from pathoml.evaluation.evidence import read_evidence
from pathoml.evaluation.sections import evaluate_scores
from pathoml.study.cohort import read_cohort
from pathoml.types import SILENT

QUICK = {"permutations": 0, "bootstraps": 200}
IDS = ["007", "7", "TRUE", "T", "1e5", "0x1F", "Inf", "F", "1", "01"]
LEVELS = ["1e5", "TRUE", "0x1F", "-low", 'said "so"', "é, ü", "Inf", "+2"]


def odd_study(folder):
    """Write a study whose cells R would read in another way, each with a plain meaning here."""
    study = write_score_study(folder, n=120, seed=3, significance=QUICK)
    with (folder / "patients.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for k, row in enumerate(rows):
        row["patient_id"] = IDS[k] if k < len(IDS) else row["patient_id"]
        row["pfs_months"] = f"{30.4375 * float(row['pfs_months']):,.1f}".translate(
            str.maketrans(",.", ".,")
        )
        row["centre"] = {"C1": "St. A 1", "C2": "007", "C3": "TRUE"}.get(row["centre"], "NA?")
        row["subtype"] = LEVELS[k % len(LEVELS)]
        row["pfs_event"] = {"0": "no", "1": "1,0", "2": "2"}[row["pfs_event"]]
        row["age"] = row["age"] and f"{row['age']},25"
        row["stage"] = ["3", "3,0", "III", "", "4"][k % 5]
        row["unused"] = "secret"
    head = " ".join(rows[0])
    write_csv(folder / "patients.csv", head, [row.values() for row in rows], ";")
    slides = [[f"S{k}", row["patient_id"], None] for k, row in enumerate(rows)]
    write_csv(folder / "slides.csv", "slide_id patient_id path", slides)
    study = load_study(
        folder,
        ["endpoint.unit=days", "evaluate.subgroups=[age <= 60.25, stage == '3', stage != 'III']"],
    )
    scores = read_cohort(study).time_months
    write_run(study, dict(zip(read_cohort(study).patient_ids, -(scores**0.3) + scores % 1)))
    return study


def test_ids_levels_and_numbers_stand_as_they_were_understood(tmp_path):
    columns = cohort_columns(read_evidence(odd_study(tmp_path)))
    place = {who: row for row, who in enumerate(columns["patient_id"])}
    rows = [place[who] for who in IDS]  # as the table has them
    understood = [
        {"1e5": "100000", "+2": "2"}.get(cell, cell) for cell in LEVELS
    ]  # one level, however written
    assert [columns["covariate subtype"][row] for row in rows[: len(LEVELS)]] == understood
    stages = [columns["subgroup stage"][row] for row in rows[:5]]
    assert stages == ["3.0", "3.0", "III", "", "4.0"]
    assert set(columns["event"]) == {"0", "1", "2"}
    assert set(columns["treated"]) == {"0.0", "1.0", ""}
    assert all("," not in cell for cell in columns["time_months"] + columns["covariate age"])


def test_a_number_keeps_all_its_digits(tmp_path):
    evidence = read_evidence(odd_study(tmp_path))
    written = [float(cell) for cell in cohort_columns(evidence)["time_months"]]
    assert written == evidence.cohort.time_months.tolist()


def test_what_the_analysis_does_not_need_is_not_copied(tmp_path):
    columns = cohort_columns(read_evidence(odd_study(tmp_path)))
    assert not any("secret" in cell for cells in columns.values() for cell in cells)


def test_a_column_with_any_text_is_a_category(tmp_path):
    kinds = covariate_types(read_evidence(odd_study(tmp_path)))
    assert kinds == {
        "age": "number",
        "n_lesions": "number",
        "subtype": "category",
        "systemic": "number",
    }


@pytest.mark.ci
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_r_finds_the_same_numbers_in_a_table_that_it_would_read_otherwise(tmp_path, locale):
    if not r_survival_is_there():
        unavailable("needs R's package survival (apt-get install r-cran-survival)")
    study = odd_study(tmp_path)
    evaluate_scores(study, SILENT, folder=study.run_folder)
    done = subprocess.run(
        ["Rscript", "analysis.R"],
        cwd=study.run_folder,
        capture_output=True,
        text=True,
        check=False,
        env={"LC_ALL": locale, "PATH": "/usr/bin:/bin:/usr/local/bin"},
    )
    assert done.returncode == 0, done.stderr
    assert " equal, 0 differ, " in done.stderr
