"""The recipe of `evaluate` sees every cell that changes a number, and no other column."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from support.score_study import write_score_study

from pathoml.config import Study
from pathoml.evaluation.evidence import read_evidence
from pathoml.evaluation.recipe import evaluate_recipe, permutation_recipe
from pathoml.evaluation.sections import metrics
from pathoml.store.files import sha256_of_json
from pathoml.study.cohort import read_cohort

OTHER = {  # column of patients.csv -> another cell for the first patient
    "centre": "C9",
    "pfs_months": "3.3",
    "pfs_event": "2",
    "age": "91",
    "n_lesions": "17",
    "subtype": "synovial",
    "systemic": "ja",
    "note": "called on Monday",
}
READ = set(OTHER) - {"note"}
SLIDES = {"specimen": "metastasis", "organ": "lung", "block": "B2"}  # of slides.csv


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = write_score_study(
        tmp_path_factory.mktemp("study"),
        n=60,
        centres=3,
        significance={"permutations": 0, "bootstraps": 0},
    )
    known = {
        "age": "60",
        "subtype": "LMS",
        "systemic": "1",
    }  # for empty cells: to impute takes long
    change(
        study.folder / "patients.csv",
        lambda _, row: {k: v or known.get(k, "") for k, v in row.items()} | {"note": ""},
    )
    change(study.folder / "slides.csv", lambda _, row: row | dict.fromkeys(SLIDES, ""))
    return study


def change(path: Path, edit) -> None:  # type: ignore[no-untyped-def]
    with path.open(encoding="utf-8") as file:
        rows = [edit(k, row) for k, row in enumerate(csv.DictReader(file))]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def seen(study: Study) -> tuple[str, str]:
    """Return the recipe, and the numbers."""
    recipe = evaluate_recipe(study, read_cohort(study)).inputs
    return sha256_of_json(recipe), sha256_of_json(metrics(read_evidence(study)))


@pytest.mark.parametrize(
    ("table", "column"), [*(("patients", c) for c in OTHER), *(("slides", c) for c in SLIDES)]
)
def test_what_changes_a_number_changes_the_recipe(study: Study, table: str, column: str) -> None:
    path = study.folder / f"{table}.csv"
    before, (recipe, numbers) = path.read_text(encoding="utf-8"), seen(study)
    value = (OTHER | SLIDES)[column]
    change(path, lambda k, row: row | {column: value} if not k else row)
    again, other = seen(study)
    path.write_text(before, encoding="utf-8")
    assert (numbers != other) <= (recipe != again)
    assert (recipe != again) == (column in READ | {"specimen", "organ"})


def test_permutations_do_not_rest_on_what_is_only_evaluated(study: Study) -> None:
    cohort = read_cohort(study)

    def recipe(**sections: object) -> object:
        config = study.config
        for name, changed in sections.items():
            section = getattr(config, name).model_copy(update=changed)
            config = config.model_copy(update={name: section})
        return permutation_recipe(study.model_copy(update={"config": config}), cohort)

    same, other = recipe(), recipe(significance={"permutations": 7})
    assert same == recipe(significance={"bootstraps": 5}, evaluate={"subgroups": ()})
    assert same == recipe(train={"nested": False}, report={"smallest_cell": 5})
    assert same != other
    assert same != recipe(train={"epochs": 3})
