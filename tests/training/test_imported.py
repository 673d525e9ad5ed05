"""A run of imported scores follows the tables: who corrects them need not import again."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from support.tiny_study import pathoml

from pathoml.config import Study, load_study
from pathoml.errors import StoreError
from pathoml.evaluation.step import evaluate_study
from pathoml.interop.scores import import_into
from pathoml.pipeline import run, run_states, step_states
from pathoml.store.files import read_json
from pathoml.study.cohort import read_cohort
from pathoml.training.step import train_study

PATIENTS = 40


def write_patients(folder: Path, *, events: int, left_out: str = "", note: str = "") -> None:
    """Write patients.csv, of whom the first `events` had one; they are older."""
    rows = [
        [f"P{k:02d}", "ab"[k % 2], 60 - k, int(k < events), 80 - k if k < events else 50 + k, note]
        for k in range(PATIENTS)
        if f"P{k:02d}" != left_out
    ]
    with (folder / "patients.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(
            [["patient_id", "centre", "months", "event", "age", "note"], *rows]
        )


@pytest.fixture
def study(tmp_path: Path) -> Study:
    (tmp_path / "study.yaml").write_text(
        "endpoint: {name: PFS, time_zero: diagnosis, time: months, event: event}\n"
        "cohort: {covariates: [age], without_slides: keep}\nsplits: {folds: 2, repeats: 1}\n"
        "significance: {permutations: 0, bootstraps: 200}\n",
        encoding="utf-8",
    )
    write_patients(tmp_path, events=12)
    scores = [f"P{k:02d},{np.sin(k):.6f}" for k in range(PATIENTS)]
    (tmp_path / "theirs.csv").write_text("\n".join(["patient_id,score", *scores]) + "\n")
    study = load_study(tmp_path)
    import_into(study, tmp_path / "theirs.csv")
    return study


def rows(study: Study, name: str) -> list[dict[str, str]]:
    with (study.run_folder / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def states(study: Study) -> dict[str, str]:
    return run_states(study, read_cohort(study))


def test_corrected_events_are_in_the_report_without_another_import(study: Study) -> None:
    run(study)
    assert states(study) == {"import": "done", "evaluate": "done", "report": "done"}
    write_patients(study.folder, events=20)
    assert set(states(study).values()) == {"to do again"}
    found = run(study).found
    assert list(found) == ["evaluate", "report"]
    assert found["evaluate"].metrics["events"] == 20
    assert "(20 with an event" in found["report"].read_text(encoding="utf-8")
    assert set(states(study).values()) == {"done"}


def test_the_clinical_baseline_is_fitted_to_the_corrected_table(
    study: Study,
) -> None:
    write_patients(study.folder, events=20)
    evaluate_study(study)
    other = study.model_copy(update={"config": study.config.model_copy(update={"run": "again"})})
    import_into(other, study.folder / "theirs.csv")
    for name in ("baselines.csv", "scores.csv", "splits.json"):
        again = (other.run_folder / name).read_bytes()
        assert (study.run_folder / name).read_bytes() == again


def test_a_patient_who_is_gone_and_comes_back_has_the_score_still(study: Study) -> None:
    before = rows(study, "scores.csv")
    write_patients(study.folder, events=12, left_out="P03")
    evaluate_study(study)
    assert "P03" not in {row["patient_id"] for row in rows(study, "scores.csv")}
    write_patients(study.folder, events=12)
    evaluate_study(study)
    assert rows(study, "scores.csv") == before


def test_other_folds_are_those_of_the_baseline(study: Study) -> None:
    other = load_study(study.folder, ["splits.folds=4"])
    evaluate_study(other)
    assert len(read_json(other.run_folder / "splits.json")["splits"][0]["folds"]) == 4


def test_a_column_that_nothing_reads_costs_nothing(study: Study) -> None:
    run(study)
    write_patients(study.folder, events=12, note="called on Monday")
    assert set(states(study).values()) == {"done"}
    assert evaluate_study(study).fresh


def test_status_says_that_the_file_of_the_scores_changed(study: Study) -> None:
    run(study)
    text = (study.folder / "theirs.csv").read_text(encoding="utf-8")
    (study.folder / "theirs.csv").write_text(text.replace("P00,0.000000", "P00,3.5"))
    state = step_states(study, read_cohort(study))["import"]
    assert (state.state, state.why) == ("to do again", ("imported scores",))


def test_the_same_file_saved_again_is_the_same_import(study: Study) -> None:
    path = study.folder / "theirs.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("0.000000", "0.0"), encoding="utf-8")
    assert states(study)["import"] == "done"


def test_training_into_a_run_of_imported_scores_is_refused(study: Study) -> None:
    with pytest.raises(StoreError, match=r"not trained there .* add --set run=trained"):
        train_study(study)


def test_an_import_of_before_the_scores_were_kept_says_what_to_do(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    (study.run_folder / "imported.csv").unlink()
    write_patients(study.folder, events=20)
    assert pathoml("evaluate", str(study.folder)) == 2
    assert "Run `pathoml import` with the scores again" in capsys.readouterr().err
