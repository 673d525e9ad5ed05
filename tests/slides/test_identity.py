"""`pathoml check` says what slide files hold that may name a patient, and never repeats it."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.dicom_files import write_dicom

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
    # its ImageComments are those of the Aperio file that it was made of, with its user and name
    assert found == [
        "accession or specimen number",
        "file name",
        "person",
        "date",
        "institution or computer",
        "comment in free text",
    ]


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


PATIENT = {
    (0x10, 0x10): ("PN", "KANARIENVOGEL^A"),
    (0x08, 0x20): ("DA", "20240102"),
    (0x08, 0x50): ("SH", "H21-774411"),
}
PICTURE = np.full((64, 64, 3), 200, np.uint8)


@pytest.mark.parametrize("name", ["level.dcm", "IM0001"])
def test_a_folder_of_dicom_files_holds_what_any_of_them_holds(tmp_path: Path, name: str) -> None:
    write_dicom(tmp_path / "S1" / name, PICTURE)
    write_dicom(
        tmp_path / "S1" / "z", PICTURE, number=2, shows="ORIGINAL\\PRIMARY\\LABEL\\NONE",
        patient=PATIENT,
    )  # fmt: skip
    expected = ["patient", "accession or specimen number", "date", "label picture"]
    assert identifiers_left(tmp_path / "S1") == expected
    assert identifiers_left(tmp_path / "S1" / name) == expected, "the label is of its series"


def test_a_hamamatsu_slide_holds_what_its_parts_hold(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x013B] = "A. Kanarienvogel"  # Artist
    Image.fromarray(PICTURE).save(tmp_path / "S1_macro.jpg", exif=exif)
    (tmp_path / "S1.vms").write_text("MacroImage=S1_macro.jpg\nScanDate=2024-01-02\n")
    assert identifiers_left(tmp_path / "S1.vms") == ["person", "date", "macro picture"]


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
    assert "is not read or copied by pathoml" in said
    assert "--pseudonyms" not in said, "no id and no file is named after anybody"
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


def test_where_ids_are_accession_numbers_it_is_not_said_that_nothing_is_copied(
    tmp_path: Path, write_slide, capsys: pytest.CaptureFixture[str]
) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(1)
    for k in range(4):
        write_slide(
            tmp_path / f"H21-7744{k}.tif", rng.integers(0, 255, (300, 300, 3), np.uint8), mpp=0.5
        )
    (tmp_path / "slides.csv").write_text(
        "slide_id,patient_id,path\n"
        + "".join(f"H21-7744{k},P{k},H21-7744{k}.tif\n" for k in range(4))
    )
    (tmp_path / "patients.csv").write_text(
        "patient_id,centre,pfs_months,pfs_event\n"
        + "".join(f"P{k},A,{k + 1},{k % 2}\n" for k in range(4))
    )
    (tmp_path / "study.yaml").write_text(STUDY)
    assert guarded(lambda: main(["check", str(tmp_path)])) == 0
    said = capsys.readouterr().out
    assert "IDENTIFIERS in slide_id or patient_id: 4 slides" in said
    assert "--pseudonyms KEYFILE" in said
    assert "copied" not in said


def test_rows_of_the_levels_of_one_dicom_slide_are_the_same_slide(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for k in range(3):
        series = "1.2.3.10" if k < 2 else "1.2.3.11"
        picture = np.full((256 * (k + 1), 256, 3), 200, np.uint8)
        write_dicom(tmp_path / f"{k}.dcm", picture, number=k, series=series)
    (tmp_path / "slides.csv").write_text(
        "slide_id,patient_id,path\n" + "".join(f"S{k},P{k},{k}.dcm\n" for k in range(3))
    )
    (tmp_path / "patients.csv").write_text(
        "patient_id,centre,pfs_months,pfs_event\nP0,A,1,0\nP1,A,2,1\nP2,A,3,1\nP3,A,4,0\n"
    )
    (tmp_path / "study.yaml").write_text(STUDY + "cohort: {without_slides: keep}\n")
    guarded(lambda: main(["check", str(tmp_path)]))
    (twice,) = [x for x in capsys.readouterr().out.splitlines() if "TWICE the same" in x]
    assert "S0, S1." in twice
