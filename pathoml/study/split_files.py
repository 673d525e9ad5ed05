"""Splits made elsewhere: splits.json of another run, or CSV files as CLAM, MCAT and SurvPath write
them.

Of CLAM `splits_K.csv` has columns train, val, test with slide ids (or a table of booleans); of
SurvPath and MCAT train and val hold case ids, and val is what is scored. One file is one fold. A
patient who is scored in no file or in two is refused, as is a patient on both sides; val beside
test is left out of training and of scoring, since nothing is selected here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from pathoml.errors import CohortError
from pathoml.store.tables import read_table
from pathoml.study.splits import check_splits, read_splits
from pathoml.types import Cohort, Fold, Split

SUFFIX = re.compile(r"\.(svs|tiff?|ndpi|mrxs|h5|pt)$", re.IGNORECASE)
TRUE_WORDS = {"true", "1", "1.0"}


def read_foreign_splits(path: Path, cohort: Cohort) -> tuple[Split, ...]:
    """Read splits and restrict them to the cohort.

    Args:
        path: splits.json, one CSV file (one fold), or a folder of CSV files.

    Raises:
        CohortError: nobody of the cohort is named; a patient is on both sides, scored twice or
            never.
    """
    if not path.exists():
        raise CohortError(
            f"splits.file {path} does not exist. Name a splits.json, a CSV file, or a folder of CSV"
            " files."
        )
    splits = read_splits(path) if path.suffix == ".json" else (_from_tables(path, cohort),)
    known = set(cohort.patient_ids)
    splits = tuple(
        Split(
            name=split.name,
            seed=split.seed,
            folds=tuple(
                Fold(
                    name=f.name,
                    train=tuple(p for p in f.train if p in known),
                    test=tuple(p for p in f.test if p in known),
                )
                for f in split.folds
            ),
        )
        for split in splits
    )
    events = dict(zip(cohort.patient_ids, cohort.event))
    for split in splits:
        for fold in split.folds:
            if not any(events[p] for p in fold.train):
                raise CohortError(
                    f"{path}: fold {fold.name} has no event among its training patients. Use other"
                    " splits."
                )
    check_splits(splits, cohort)
    return splits


def _from_tables(path: Path, cohort: Cohort) -> Split:
    files = sorted(path.glob("*.csv"), key=_number) if path.is_dir() else [path]
    if not files:
        raise CohortError(f"{path} holds no CSV files.")
    patient_of = {s.slide_id: s.patient_id for s in cohort.slides} | {
        p: p for p in cohort.patient_ids
    }
    folds = [_fold(file, str(k), patient_of) for k, file in enumerate(files, 1)]
    return Split(name="repeat-1", seed=0, folds=tuple(f for f in folds if f.test))


def _fold(file: Path, name: str, patient_of: Mapping[str, str]) -> Fold:
    table = read_table(file)
    table.require(("train",))
    scored = "test" if "test" in table.columns else "val"
    table.require((scored,))
    sides: dict[str, list[str]] = {"train": [], scored: []}
    booleans = all(
        row[side].lower() in {*TRUE_WORDS, "false", "0", "0.0", ""}
        for row in table.rows
        for side in sides
    )
    for row in table.rows:
        for side, members in sides.items():
            item = next(iter(row.values())) if booleans else row[side]
            chosen = row[side].lower() in TRUE_WORDS if booleans else bool(item)
            patient = patient_of.get(SUFFIX.sub("", item))
            if chosen and patient is not None and patient not in members:
                members.append(patient)
    if not any(sides.values()):
        raise CohortError(
            f"{file} names no patient and no slide of this study. Compare its ids with slides.csv."
        )
    return Fold(name=name, train=tuple(sides["train"]), test=tuple(sides[scored]))


def _number(file: Path) -> tuple[int, str]:
    found = re.search(r"(\d+)", file.stem)
    return int(found.group(1)) if found else 0, file.name
