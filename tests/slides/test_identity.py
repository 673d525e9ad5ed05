"""`pathoml check` says what slide files hold that may name a patient, and never repeats it."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pathoml.cli import guarded, main
from pathoml.slides.identity import identifier_kinds, identifiers_left

STUDY = (
    "endpoint: {name: progression, time_zero: surgery, time: pfs_months, event: pfs_event}\ntiles:"
    " {mpp: 0.5}\nsplits: {folds: 2}\n"
)


def test_a_real_aperio_file_holds_a_label_a_macro_a_user_a_date_and_a_file_name(
    shared_data: Path,
) -> None:
    found = identifiers_left(shared_data / "wsi" / "CMU-1-Small-Region.svs")
    assert found == ["file name", "person", "date", "label picture", "macro picture"]


def test_a_real_dicom_file_holds_specimen_numbers_and_dates_and_its_empty_patient_is_none(
    shared_data: Path,
) -> None:
    found = identifiers_left(next((shared_data / "wsi").glob("openslide_boxes_0*")))
    assert found == ["accession or specimen number", "date"]


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("S0001.svs", []),
        ("TCGA-CR-7395-01A-01-TS1.svs", []),
        ("E 2019-01234 HE.svs", ["accession number in the file's name"]),
        ("H-21-4711.svs", ["accession number in the file's name"]),
        ("Mueller 12.03.1956.svs", ["date in the file's name"]),
        ("scan_20240301.svs", ["date in the file's name"]),
    ],
)
def test_dates_and_accession_numbers_in_file_names_are_seen(name: str, kinds: list[str]) -> None:
    assert identifier_kinds({}, name) == kinds


@pytest.fixture
def study(tmp_path: Path, write_slide, shared_data: Path) -> Path:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(1)
    for name in ("a", "b", "c"):
        write_slide(
            tmp_path / f"{name}.tif", rng.integers(0, 255, (300, 300, 3), np.uint8), mpp=0.5
        )
    shutil.copy(tmp_path / "a.tif", tmp_path / "copy.tif")
    shutil.copy(shared_data / "wsi" / "CMU-1-Small-Region.svs", tmp_path / "d.svs")
    (tmp_path / "torn.svs").write_bytes(b"II*\0torn")
    files = ["a.tif", "b.tif", "c.tif", "copy.tif", "d.svs", "torn.svs", "b.tif"]
    (tmp_path / "slides.csv").write_text(
        "slide_id,patient_id,path\n" + "".join(f"S{k},P{k},{f}\n" for k, f in enumerate(files))
    )
    (tmp_path / "patients.csv").write_text(
        "patient_id,centre,pfs_months,pfs_event\n"
        + "".join(f"P{k},A,{k + 1},{int(k % 3 > 0)}\n" for k in range(len(files)))
    )
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path


def test_check_lists_kinds_twins_and_unreadable_files_and_shows_no_identifier(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {
        p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in study.iterdir() if p.is_file()
    }
    assert guarded(lambda: main(["check", str(study)])) == 1
    said = capsys.readouterr().out
    assert "IDENTIFIERS label picture: 1 slides (S4)" in said
    assert "TWICE the same file: S0, S3." in said
    assert "TWICE the same file: S1, S6." in said, "two rows that name one file"
    assert "UNREADABLE slide S5" in said
    for secret in (
        "b414003d",
        "12/29/09",
        "CPAPERIOCS",
        "1004486",
    ):  # the user, the date, the scanner and the image of d.svs
        assert secret not in said
    assert {
        p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in study.iterdir() if p.is_file()
    } == before


def test_a_drawing_that_belongs_to_no_slide_is_said(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    square = {"type": "Polygon", "coordinates": [[[0, 0], [300, 0], [300, 300], [0, 300], [0, 0]]]}
    (study / "regions").mkdir()
    for name in ("S0", "s1"):
        (study / "regions" / f"{name}.geojson").write_text(json.dumps(square))
    assert (
        guarded(
            lambda: main(
                ["tile", str(study), "--set", "tiles.regions=regions", "--set", "tiles.tile_px=64"]
            )
        )
        == 1
    )
    said = capsys.readouterr().out
    assert "UNUSED regions/s1.geojson" in said
    assert "S0.geojson" not in said
    assert guarded(lambda: main(["tile", str(study), "--set", "tiles.regions=nowhere"])) == 2
