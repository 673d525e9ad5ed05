"""Splits of CLAM, SurvPath and earlier runs are read for the same patients, and refused where they
leak.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support.learning import planted_cohort

from pathoml.config import SplitsConfig
from pathoml.errors import CohortError
from pathoml.study.split_files import read_foreign_splits
from pathoml.study.splits import make_splits, write_splits
from pathoml.types import Cohort


@pytest.fixture
def cohort() -> Cohort:
    return planted_cohort(12)[0]


def write_columns(path: Path, columns: dict[str, list[str]]) -> None:
    longest = max(len(v) for v in columns.values())
    rows = [
        [str(i), *(v[i] if i < len(v) else "" for v in columns.values())] for i in range(longest)
    ]
    path.write_text("\n".join([",".join(["", *columns]), *(",".join(r) for r in rows)]) + "\n")


def thirds(ids: list[str]) -> list[tuple[list[str], list[str]]]:
    return [
        ([p for i, p in enumerate(ids) if i % 3 != k], [p for i, p in enumerate(ids) if i % 3 == k])
        for k in range(3)
    ]


def test_survpath_columns_of_case_ids_become_one_fold_a_file(
    cohort: Cohort, tmp_path: Path
) -> None:
    for k, (train, val) in enumerate(thirds(cohort.patient_ids)):
        write_columns(tmp_path / f"splits_{k}.csv", {"train": train, "val": val})
    [split] = read_foreign_splits(tmp_path, cohort)
    assert [sorted(f.test) for f in split.folds] == [
        sorted(val) for _, val in thirds(cohort.patient_ids)
    ]


def test_clam_columns_of_slide_ids_become_patients(cohort: Cohort, tmp_path: Path) -> None:
    slides = {p.patient_id: list(p.slide_ids) for p in cohort.patients}
    for k, (train, test) in enumerate(thirds(cohort.patient_ids)):
        sides = {"train": train[:-1], "val": train[-1:], "test": test}
        write_columns(
            tmp_path / f"splits_{k}.csv",
            {name: [f"{s}.svs" for p in side for s in slides[p]] for name, side in sides.items()},
        )
    [split] = read_foreign_splits(tmp_path, cohort)
    train, test = thirds(cohort.patient_ids)[1]
    assert set(split.folds[1].train) == set(train[:-1]), "val is neither trained on nor scored"
    assert set(split.folds[1].test) == set(test)


def test_clam_tables_of_booleans_are_read(cohort: Cohort, tmp_path: Path) -> None:
    for k, (train, _) in enumerate(thirds(cohort.patient_ids)):
        rows = [
            f"{s.slide_id},{s.patient_id in train},False,{s.patient_id not in train}"
            for s in cohort.slides
        ]
        (tmp_path / f"splits_{k}_bool.csv").write_text("\n".join([",train,val,test", *rows]))
    [split] = read_foreign_splits(tmp_path, cohort)
    assert set(split.folds[0].train) == set(thirds(cohort.patient_ids)[0][0])


def test_splits_of_an_earlier_run_are_read_back(cohort: Cohort, tmp_path: Path) -> None:
    splits = make_splits(cohort, SplitsConfig(folds=2, repeats=2))
    write_splits(tmp_path / "splits.json", splits, "stratified")
    assert read_foreign_splits(tmp_path / "splits.json", cohort) == splits


def test_a_patient_on_both_sides_by_two_slides_is_refused(cohort: Cohort, tmp_path: Path) -> None:
    both = next(p for p in cohort.patients if len(p.slide_ids) == 2)
    others = [s for p in cohort.patients if p is not both for s in p.slide_ids]
    for k in range(2):
        side = [others[i] for i in range(len(others)) if i % 2 == k]
        rest = [s for s in others if s not in side]
        write_columns(
            tmp_path / f"splits_{k}.csv",
            {"train": [*rest, both.slide_ids[0]], "test": [*side, both.slide_ids[1]]},
        )
    with pytest.raises(CohortError, match=r"both sides|exactly once"):
        read_foreign_splits(tmp_path, cohort)


def test_a_patient_who_is_never_scored_is_refused(cohort: Cohort, tmp_path: Path) -> None:
    train, val = thirds(cohort.patient_ids)[0]
    write_columns(tmp_path / "splits_0.csv", {"train": train, "val": val})
    with pytest.raises(CohortError, match="exactly once"):
        read_foreign_splits(tmp_path, cohort)


def test_a_file_that_names_nobody_says_so(cohort: Cohort, tmp_path: Path) -> None:
    write_columns(tmp_path / "splits_0.csv", {"train": ["X1"], "val": ["X2"]})
    with pytest.raises(CohortError, match="names no patient"):
        read_foreign_splits(tmp_path, cohort)
