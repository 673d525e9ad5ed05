"""A file of any kind that names somebody is found, and one that does not is not."""

from __future__ import annotations

import gzip
import io
import json
import sqlite3
import tarfile
import zipfile
from contextlib import closing, suppress
from pathlib import Path

import h5py
import numpy as np
import openpyxl
import pandas as pd
import pyreadstat
import pytest

from pathoml.store.mentions import Ids
from pathoml.store.searching import UnsearchedError, name_holds, names_somebody


def ids(patient: str, slide: str = "77") -> Ids:
    return Ids(patients=frozenset({patient}), slides=frozenset({slide}))


def table(folder: Path, patient: str) -> Path:
    path = folder / "table.csv"
    path.write_text(f"patient_id;fold\n9;5\n{patient};1\n")
    return path


def workbook(folder: Path, patient: str) -> Path:
    book = openpyxl.Workbook()
    book.active.append(["fold", "note"])
    book.active.append([5, "x"])
    second = book.create_sheet("second")
    second.append(["title"])
    second.append(["patient_id", "age"])
    second.append([int(patient) if patient.isdigit() else patient, 50])
    book.save(folder / "table.xlsx")
    return folder / "table.xlsx"


def splits(folder: Path, patient: str) -> Path:
    (folder / "a.json").write_text(json.dumps({"splits": [{"test": [patient], "seed": 5}]}))
    return folder / "a.json"


def hdf5(folder: Path, patient: str) -> Path:
    with h5py.File(folder / "a.h5", "w") as file:
        file["features"] = np.full(5, 5.0)
        file.create_group("of").attrs["patient_id"] = patient
    return folder / "a.h5"


def database(folder: Path, patient: str) -> Path:
    path = folder / "a.sqlite"
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE t (fold TEXT, patient TEXT)")
        connection.execute("INSERT INTO t VALUES ('5', ?)", (patient,))
    return path


def archive(folder: Path, patient: str) -> Path:
    with zipfile.ZipFile(folder / "a.zip", "w") as file:
        inner = io.BytesIO()
        with zipfile.ZipFile(inner, "w") as second:
            second.write(table(folder, patient), "deep/table.csv")
        file.writestr("inner.zip", inner.getvalue())
    return folder / "a.zip"


def tarred(folder: Path, patient: str) -> Path:
    with tarfile.open(folder / "a.tar.gz", "w:gz") as file:
        file.add(table(folder, patient), "x/table.csv")
    return folder / "a.tar.gz"


def packed(folder: Path, patient: str) -> Path:
    path = folder / "table.csv.gz"
    path.write_bytes(gzip.compress(table(folder, patient).read_bytes()))
    return path


def spss(folder: Path, patient: str) -> Path:
    frame = pd.DataFrame({"patient_id": ["9", patient], "fold": [5, 1]})
    pyreadstat.write_sav(frame, str(folder / "a.sav"))
    return folder / "a.sav"


def document(folder: Path, patient: str) -> Path:
    path = folder / "a.docx"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("word/document.xml", f"<w:t>5 folds; patient {patient}</w:t>")
    return path


KINDS = (
    table, workbook, splits, hdf5, database, archive, tarred, packed, spss, document,
)  # fmt: skip


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_a_patient_who_is_called_5_is_found_and_a_fold_5_is_not(make, tmp_path: Path) -> None:
    path = make(tmp_path, "5")
    assert names_somebody(path, ids("5"))
    path = make(tmp_path, "6")
    assert not names_somebody(path, ids("5"))


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_a_damaged_file_is_searched_as_bytes_or_said_not_to_be(make, tmp_path: Path) -> None:
    path = make(tmp_path, "5")
    path.write_bytes(path.read_bytes()[:40] + b"\xff patient 5")
    with suppress(UnsearchedError):
        assert names_somebody(path, ids("5")) in (True, False)


def test_what_cannot_be_read_is_not_called_empty(tmp_path: Path) -> None:
    (tmp_path / "letter.pdf").write_bytes(b"%PDF")
    with pytest.raises(UnsearchedError, match="pdf is not read here"):
        names_somebody(tmp_path / "letter.pdf", ids("5"))


def test_random_bytes_name_nobody_who_is_called_in_two_letters(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(8) + b" P1 \0 P1,\0")
    assert not names_somebody(tmp_path / "weights.bin", ids("P1"))
    (tmp_path / "notes.txt").write_bytes(b"asked P1 again")
    assert names_somebody(tmp_path / "notes.txt", ids("P1"))


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("77.h5", True),
        ("77_tiles.png", True),
        ("77 (1).h5", True),
        (".77.h5.node-3.4711.tmp", True),
        (".77.h5.node-3.4711-0a1b2c3d.tmp", True),
        ("770.h5", False),
        ("1-77.h5", False),
        ("5.docx", True),
    ],
)
def test_a_file_is_somebodys_by_its_name(name: str, found: bool) -> None:
    assert name_holds(name, ids("5")) is found
