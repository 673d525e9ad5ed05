"""The header of a DICOM file says of which series it is and what it shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.dicom_files import write_dicom

from pathoml.slides.dicom import DicomHeader, read_header, series_of

PICTURE = np.full((64, 64, 3), 200, np.uint8)
NAME = {(0x10, 0x10): ("PN", "KANARIENVOGEL^A"), (0x10, 0x20): ("LO", "^^")}


@pytest.mark.parametrize("undefined", [False, True])
def test_series_flavour_and_filled_elements_are_read_also_within_sequences(tmp_path, undefined):
    path = write_dicom(
        tmp_path / "IM0001", PICTURE, patient=NAME, specimen="H21-774411", undefined=undefined
    )
    header = read_header(path)
    assert header is not None
    assert (header.series, header.shows, header.is_microscopy) == ("1.2.3.10", "volume", True)
    assert header.filled == {
        "PatientName": "KANARIENVOGEL^A",
        "SpecimenIdentifier": "H21-774411",
    }, "an empty patient's number is none"


def test_a_real_file_is_read_as_openslide_reads_it(shared_data: Path):
    import openslide

    path = next((shared_data / "wsi").glob("openslide_boxes_0*"))
    header = read_header(path)
    assert header is not None
    with openslide.OpenSlide(path) as handle:
        assert header.series == handle.properties["dicom.SeriesInstanceUID"]


@pytest.mark.parametrize("cut", [0, 100, 131, 140, 200, 300, 411])
def test_a_torn_file_has_what_was_read_of_it_or_no_header(tmp_path, cut):
    path = write_dicom(tmp_path / "a.dcm", PICTURE, patient=NAME)
    path.write_bytes(path.read_bytes()[:cut])
    header = read_header(path)
    assert (header is None) == (cut < 132)


def test_noise_behind_the_mark_ends(tmp_path):
    rng = np.random.default_rng(1)
    for number in range(50):
        path = tmp_path / f"{number}.dcm"
        path.write_bytes(bytes(128) + b"DICM" + rng.bytes(3000))
        assert read_header(path) == DicomHeader(series="", kind="", flavour="", filled={})


def test_files_are_sorted_into_slides_and_label_and_overview_are_none(tmp_path):
    big = np.full((300, 300, 3), 200, np.uint8)
    write_dicom(tmp_path / "b", PICTURE, number=2, shows="DERIVED\\PRIMARY\\VOLUME\\RESAMPLED")
    write_dicom(tmp_path / "a", big)
    write_dicom(tmp_path / "label", big, number=3, shows="ORIGINAL\\PRIMARY\\LABEL\\NONE")
    write_dicom(tmp_path / "c", PICTURE, series="1.2.3.11")
    write_dicom(tmp_path / "ct", PICTURE, series="1.2.3.12", kind="1.2.840.10008.5.1.4.1.1.2")
    (tmp_path / "notes").write_text("none")
    found = series_of(sorted(tmp_path.iterdir()))
    assert {s: [p.name for p in files] for s, files in found.items()} == {
        "1.2.3.10": ["a", "b"],
        "1.2.3.11": ["c"],
    }
