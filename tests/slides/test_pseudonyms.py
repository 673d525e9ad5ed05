"""Neutral names: the key is for its owner, links open the slides, and no name is left in them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.dicom_files import write_dicom

from pathoml.errors import ConfigError
from pathoml.slides.finding import FoundSlide, find_slides
from pathoml.slides.pseudonyms import (
    Pseudonym,
    draw_pseudonyms,
    link_slide,
    read_key,
    write_key,
)
from pathoml.slides.reading import open_slide

PICTURE = np.full((300, 520, 3), 200, np.uint8)


def names_below(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*")}


def test_a_key_that_is_written_is_read_and_is_its_owners_alone(tmp_path):
    rows = [Pseudonym(slide_id="S0001", patient_id="P0001", file='/data/K, "A".svs')]
    assert write_key(tmp_path / "safe" / "key.csv", rows)
    assert read_key(tmp_path / "safe" / "key.csv") == {rows[0].file: rows[0]}
    assert (tmp_path / "safe" / "key.csv").stat().st_mode & 0o777 == 0o600
    (tmp_path / "safe" / "key.csv").chmod(0o644)
    write_key(tmp_path / "safe" / "key.csv", rows)
    assert (tmp_path / "safe" / "key.csv").stat().st_mode & 0o777 == 0o600


def test_numbers_do_not_follow_the_files_and_none_is_given_twice():
    slides = [FoundSlide(path=Path(f"/data/{k:05d}.svs")) for k in range(300)]
    drawn = draw_pseudonyms(slides, {})
    ids = [row.slide_id for row in drawn]
    assert len(set(ids)) == 300
    assert ids != sorted(ids)


def test_a_slide_of_the_key_keeps_its_pseudonym_and_the_patient_that_was_written_there():
    known = Pseudonym(slide_id="S7", patient_id="P-both", file=str(Path("/data/a.svs").resolve()))
    slides = [FoundSlide(path=Path("/data/a.svs")), FoundSlide(path=Path("/data/b.svs"))]
    first, second = draw_pseudonyms(slides, {known.file: known})
    assert first == known
    assert second.slide_id != "S7"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("patient,name\n1,K\n", "is no key of pseudonyms"),
        ("slide_id,patient_id,file\nS1,P1,/a\nS1,P2,/b\n", "S1 to two files"),
    ],
)
def test_a_file_that_is_no_key_is_not_overwritten(tmp_path, text, sentence):
    (tmp_path / "key.csv").write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        read_key(tmp_path / "key.csv")


def test_a_link_opens_the_slide_under_its_neutral_name(tmp_path, write_slide):
    write_slide(tmp_path / "Kanarienvogel.tif", PICTURE, mpp=0.5)
    (slide,) = find_slides(tmp_path).slides
    opens = link_slide(slide, "S1", tmp_path / "study")
    assert opens == tmp_path / "study" / "S1.tif"
    with open_slide(opens) as reader:
        assert reader.size_l0 == (520, 300)


def test_two_dicom_slides_of_one_folder_become_two_folders_of_their_levels(tmp_path):
    for number in (1, 2):
        write_dicom(
            tmp_path / "in" / f"Kanarienvogel{number}",
            PICTURE[:: 4 ** (number - 1), :: 4 ** (number - 1)],
            number=number,
            um=0.5 * 4 ** (number - 1),
        )
    write_dicom(tmp_path / "in" / "Kanarienvogel3", PICTURE[:256, :256], series="1.2.3.11")
    sizes = []
    for number, slide in enumerate(find_slides(tmp_path / "in").slides):
        with open_slide(link_slide(slide, f"S{number}", tmp_path / "study")) as reader:
            sizes.append((reader.size_l0, len(reader.level_downsamples)))
    assert sizes == [((520, 300), 2), ((256, 256), 1)]
    assert names_below(tmp_path / "study") == {"S0", "S1", "000.dcm", "001.dcm"}


def test_the_folder_of_an_mrxs_is_linked_beside_it(tmp_path):
    (tmp_path / "in" / "Kanarienvogel").mkdir(parents=True)
    (tmp_path / "in" / "Kanarienvogel.mrxs").write_bytes(b"x")
    (tmp_path / "in" / "Kanarienvogel" / "Slidedat.ini").write_bytes(b"y")
    (slide,) = find_slides(tmp_path / "in").slides
    opens = link_slide(slide, "S1", tmp_path / "study")
    assert (opens.with_suffix("") / "Slidedat.ini").read_bytes() == b"y"


def test_a_vms_is_written_anew_without_its_photograph_and_with_neutral_parts(tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("Kanarienvogel.jpg", "Kanarienvogel(1,0).jpg", "Kanarienvogel_macro.jpg"):
        (tmp_path / "in" / name).write_bytes(name.encode())
    (tmp_path / "in" / "Kanarienvogel.vms").write_text(
        "[Virtual Microscope Specimen]\nNoJpegColumns=2\nCopyright=Kanarienvogel\n"
        "ImageFile=Kanarienvogel.jpg\nImageFile(1,0)=Kanarienvogel(1,0).jpg\nPhysicalWidth=123\n"
        "MacroImage=Kanarienvogel_macro.jpg\nScanDate=2024-01-02\n"
    )
    (slide,) = find_slides(tmp_path / "in").slides
    opens = link_slide(slide, "S1", tmp_path / "study")
    assert opens.read_text() == (
        "[Virtual Microscope Specimen]\nNoJpegColumns=2\nImageFile=000.jpg\n"
        "ImageFile(1,0)=001.jpg\nPhysicalWidth=123\n"
    )
    assert (opens.parent / "001.jpg").read_bytes() == b"Kanarienvogel(1,0).jpg"
    assert names_below(tmp_path / "study") == {"S1", "000.jpg", "001.jpg", "slide.vms"}


def test_a_file_system_without_links_is_refused_in_a_sentence(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    with pytest.raises(ConfigError, match="the file system has none"):
        link_slide(FoundSlide(path=tmp_path / "a.svs"), "S1", tmp_path / "study")
