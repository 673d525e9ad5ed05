"""What `evaluate` rests on is read once, and in one order: that of patients.csv."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from support.learning import planted_cohort, write_study
from support.score_study import write_score_study

from pathoml.config import load_study
from pathoml.errors import StoreError
from pathoml.evaluation.evidence import read_evidence
from pathoml.evaluation.step import evaluate_study
from pathoml.store import tables
from pathoml.training.step import train_study

FEW = [
    "splits.folds=2",
    "splits.repeats=1",
    "train.epochs=1",
    "train.hidden=4",
    "train.projection=4",
    "train.seeds=1",
    "train.nested=false",
    "significance.permutations=1",
    "significance.bootstraps=200",
]


def test_one_evaluate_opens_every_table_once_and_the_run_once(tmp_path: Path, monkeypatch) -> None:
    cohort, bags, _ = planted_cohort(24, effect=2.0, centres=2)
    write_study(tmp_path, cohort, bags)
    study = load_study(tmp_path, FEW)
    train_study(study)
    read: Counter[str] = Counter()
    for reader in ("read_csv", "read_workbook"):
        whole = getattr(tables, reader)

        def counted(path: Path, *rest: object, whole=whole) -> object:
            read[path.name] += 1
            return whole(path, *rest)

        monkeypatch.setattr(tables, reader, counted)
    from pathoml.evaluation import evidence

    load = evidence.load_run
    monkeypatch.setattr(
        evidence, "load_run", lambda *given: read.update(["the run"]) or load(*given)
    )
    evaluate_study(study)
    once = ("patients.csv", "slides.csv", "scores.csv", "baselines.csv", "the run")
    assert {name: read[name] for name in once} == dict.fromkeys(once, 1)


def test_scores_in_another_order_than_the_patients_are_evidence_in_the_order_of_the_patients(
    tmp_path: Path,
) -> None:
    study = write_score_study(tmp_path, n=30)
    before = read_evidence(study)
    path = study.run_folder / "scores.csv"
    head, *rows = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([head, *rows[::-1]]) + "\n", encoding="utf-8")
    after = read_evidence(study)
    assert after.cohort.patient_ids == before.cohort.patient_ids
    np.testing.assert_array_equal(after.score, before.score)


def test_a_patient_without_a_score_is_left_out_and_says_why(tmp_path: Path) -> None:
    study = write_score_study(tmp_path, n=30)
    for name in ("scores.csv", "baselines.csv", "seed_scores.csv"):
        path = study.run_folder / name
        if path.exists():
            lines = path.read_text(encoding="utf-8").splitlines()
            path.write_text("\n".join([lines[0], *lines[2:]]) + "\n", encoding="utf-8")
    evidence = read_evidence(study)
    gone = evidence.everyone.patient_ids[0]
    assert (gone, "no slide could be embedded") in evidence.cohort.excluded
    assert len(evidence.score) == len(evidence.everyone.patients) - 1


def test_scores_of_strangers_are_refused(tmp_path: Path) -> None:
    study = write_score_study(tmp_path, n=30)
    for name in ("scores.csv", "baselines.csv"):
        path = study.run_folder / name
        text = path.read_text(encoding="utf-8")
        known = text.splitlines()[1].split(",")[0]
        path.write_text(text.replace(f"\n{known},", "\nstranger,", 1), encoding="utf-8")
    with pytest.raises(StoreError, match=r"other patients than patients\.csv"):
        read_evidence(study)
