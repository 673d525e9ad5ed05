"""`pathoml init` says what it passed over; with pseudonyms nothing in the study names anybody."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from support.dicom_files import write_dicom

from pathoml.cli import guarded, main

NAME, NUMBER = "Kanarienvogel", "H21-774411"


def pathoml(*words: object) -> int:
    return guarded(lambda: main([str(word) for word in words]))


def slides_of(study: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((study / "slides.csv").read_text().splitlines()))


@pytest.fixture
def scans(tmp_path, write_slide, pink_tissue) -> Path:
    """Four slides whose names and folder are a patient's, and one of DICOM files."""
    folder = tmp_path / NAME
    folder.mkdir()
    for k in range(4):
        write_slide(folder / f"{NUMBER}{k} {NAME}.tif", pink_tissue(1024) // (k + 1), mpp=2.0)
    write_dicom(folder / "d" / NAME, np.full((300, 300, 3), 200, np.uint8), um=2.0)
    return folder


def test_what_is_passed_over_is_counted_with_its_reason(tmp_path, scans, capsys):
    (scans / "._a.tif").write_bytes(b"x")
    (scans / "list.xlsx").write_bytes(b"x")
    assert pathoml("init", tmp_path / "study", "--slides", scans) == 0
    said = capsys.readouterr().out
    assert "passed over, hidden, or of the system: 1 (._a.tif)" in said
    assert "passed over, of no slide format (.xlsx): 1 (list.xlsx)" in said
    assert len(slides_of(tmp_path / "study")) == 5


def test_with_pseudonyms_no_later_file_nor_its_name_nor_a_word_names_anybody(
    tmp_path, scans, capsys
):
    study, key = tmp_path / "study", tmp_path / "safe" / "key.csv"
    (scans / f"{NAME}.xlsx").write_bytes(b"x")
    assert pathoml("init", study, "--slides", scans, "--pseudonyms", key) == 0
    said = capsys.readouterr().out
    (study / "study.yaml").write_text(
        "endpoint: {name: pfs, time_zero: surgery, time: pfs_months, event: pfs_event}\n"
        "tiles: {mpp: 2.0, tile_px: 64}\ncompute: {workers: 1, device: cpu, compile: false}\n"
        "splits: {folds: 2}\n"
    )
    patients = [row["patient_id"] for row in slides_of(study)]
    (study / "patients.csv").write_text(
        "patient_id,centre,pfs_months,pfs_event\n"
        + "".join(f"{p},A,{k + 1},{k % 2}\n" for k, p in enumerate(patients))
    )
    assert pathoml("check", study) == 0
    torn = next((study / "slides").glob("*.tif")).resolve()
    torn.write_bytes(b"II*\0torn")  # what readers say of a damaged file repeats its name
    pathoml("tile", study)
    pathoml("status", study)
    assert pathoml("view", study, "--static", tmp_path / "pages") == 1  # without the torn one
    said += capsys.readouterr().out
    assert "FAILED S" in said
    for word in (NAME, NUMBER):
        assert word not in said.replace(str(scans), "")
        for folder in (study, tmp_path / "pages"):
            for path in folder.rglob("*"):
                assert word not in str(path.relative_to(tmp_path))
                if path.is_file() and not path.is_symlink():
                    assert word.encode() not in path.read_bytes(), path
    assert NUMBER in key.read_text()
    assert key.stat().st_mode & 0o077 == 0


def test_another_study_with_the_same_key_has_the_same_ids_and_new_slides_new_ones(
    tmp_path, scans, write_slide, pink_tissue
):
    key = tmp_path / "key.csv"
    assert pathoml("init", tmp_path / "one", "--slides", scans, "--pseudonyms", key) == 0
    write_slide(scans / "later.tif", pink_tissue(512), mpp=2.0)
    assert pathoml("init", tmp_path / "two", "--slides", scans, "--pseudonyms", key) == 0
    first, second = ({r["slide_id"] for r in slides_of(tmp_path / s)} for s in ("one", "two"))
    assert first < second
    assert len(second) == 6


def test_a_key_within_the_study_or_over_another_file_is_refused(tmp_path, scans, capsys):
    study = tmp_path / "study"
    (tmp_path / "list.csv").write_text("name\nx\n")
    (tmp_path / "into").symlink_to(study)
    for key in (study / "key.csv", tmp_path / "into" / "key.csv", tmp_path, tmp_path / "list.csv"):
        assert pathoml("init", study, "--slides", scans, "--pseudonyms", key) == 2
    assert "outside of it" in capsys.readouterr().err
    assert not study.exists()
    assert (tmp_path / "list.csv").read_text() == "name\nx\n"
