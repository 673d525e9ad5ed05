"""Each slide below a folder is found once, and nothing that is not one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.dicom_files import MICROSCOPY, write_dicom

from pathoml.slides import finding
from pathoml.slides.finding import find_slides

PICTURE = np.full((64, 64, 3), 200, np.uint8)


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def slides(folder: Path) -> list[str]:
    return [str(slide.path.relative_to(folder)) for slide in find_slides(folder).slides]


def passed(folder: Path) -> dict[str, list[str]]:
    found = find_slides(folder).passed_over
    return {why: [str(p.relative_to(folder)) for p in paths] for why, paths in found.items()}


def test_what_systems_put_beside_files_is_passed_over(tmp_path):
    write(tmp_path, "S1.tif", "._S1.tif", ".cache/S9.svs", "__MACOSX/S1.tif", "@eaDir/S1.jpg")
    assert slides(tmp_path) == ["S1.tif"]
    assert sorted(passed(tmp_path)[finding.HIDDEN]) == [
        "._S1.tif",
        ".cache",
        "@eaDir",
        "__MACOSX",
    ]


def test_the_parts_of_a_hamamatsu_slide_are_no_slides(tmp_path):
    write(tmp_path, "S1.jpg", "S1(1,0).jpg", "S1_photo.jpg", "S1.opt", "S2.jpg")
    (tmp_path / "S1.vms").write_text(
        "[Virtual Microscope Specimen]\nImageFile=S1.jpg\nImageFile(1,0)=C:\\x\\S1(1,0).jpg\n"
        "MacroImage = S1_photo.jpg\nMapFile=gone.jpg\nOptimisationFile=S1.opt\n"
    )
    assert slides(tmp_path) == ["S1.vms", "S2.jpg"]
    assert len(passed(tmp_path)[finding.A_PART]) == 4


def test_the_folder_of_an_mrxs_is_not_entered(tmp_path):
    write(tmp_path, "S1.mrxs", "S1/Data0000.dat", "S1/preview.jpg", "S2/S2.svs")
    assert slides(tmp_path) == ["S1.mrxs", "S2/S2.svs"]


@pytest.mark.parametrize(
    "name",
    ["S1_macro.jpg", "S1-label.png", "label.tif", "macro_S1.png", "S1 Thumbnail.jpeg",
     "labels/S1.png", "S1.label.svs", "S1_map2.jpg", "S1_MacroImage.tif"],
)  # fmt: skip
def test_macro_map_and_label_pictures_are_never_slides(tmp_path, name):
    write(tmp_path, "S1.svs", name)
    assert slides(tmp_path) == ["S1.svs"]
    assert sum(len(paths) for paths in passed(tmp_path).values()) == 1


def test_a_slide_whose_name_only_resembles_that_of_a_picture_is_one(tmp_path):
    write(tmp_path, "unlabelled.svs", "macrophages.tif", "site_map.svs", "relabel1.png")
    assert len(slides(tmp_path)) == 4


def test_links_are_followed_to_each_place_once_and_loops_end(tmp_path):
    inside, outside = tmp_path / "in", tmp_path / "out"
    write(inside, "a/S1.svs")
    write(outside, "S2.svs")
    (inside / "a" / "loop").symlink_to(inside)
    (inside / "again").symlink_to(inside / "a")
    (inside / "share").symlink_to(outside)
    (inside / "S1-too.svs").symlink_to(inside / "a" / "S1.svs")
    (inside / "gone.svs").symlink_to(tmp_path / "nowhere.svs")
    real = [slide.path.resolve() for slide in find_slides(inside).slides]
    assert sorted(path.name for path in real) == ["S1.svs", "S2.svs"]
    assert passed(inside)[finding.BROKEN] == ["gone.svs"]
    assert len(passed(inside)[finding.AGAIN]) == 3


def test_the_pictures_of_a_study_are_no_slides(tmp_path):
    write(tmp_path, "S1.svs", "study/study.yaml", "study/tiles/224px_0.5mpp/S1.png")
    assert slides(tmp_path) == ["S1.svs"]


def test_what_no_reader_knows_is_counted_by_its_suffix(tmp_path):
    write(tmp_path, "S1.svs", "S2.isyntax", "S3.isyntax", "list.xlsx", "README")
    counts = {why: len(paths) for why, paths in passed(tmp_path).items()}
    assert counts == {
        "of no slide format (.isyntax)": 2,
        "of no slide format (.xlsx)": 1,
        "of no slide format (without a suffix)": 1,
    }


def test_dicom_slides_are_found_by_content_and_each_series_is_one(tmp_path):
    write_dicom(tmp_path / "export" / "IM01", PICTURE)
    write_dicom(tmp_path / "export" / "IM02", np.full((300, 300, 3), 9, np.uint8), number=2)
    write_dicom(tmp_path / "export" / "IM03.DCM", PICTURE, series="1.2.3.11")
    write_dicom(
        tmp_path / "export" / "L", PICTURE, number=3, shows="ORIGINAL\\PRIMARY\\LABEL\\NONE"
    )
    write_dicom(tmp_path / "whole" / "1", PICTURE, series="1.2.3.12")
    write_dicom(tmp_path / "DICOMDIR", PICTURE, series="1.2.3.1", kind="1.2.840.10008.1.3.10")
    write_dicom(tmp_path / "ct", PICTURE, series="1.2.3.2", kind="1.2.840.10008.5.1.4.1.1.2")
    assert slides(tmp_path) == ["export/IM02", "export/IM03.DCM", "whole"]
    assert passed(tmp_path) == {
        finding.AN_INDEX: ["DICOMDIR"],
        finding.OTHER_DICOM: ["ct"],
        finding.A_PICTURE: ["export/L"],
    }
    assert MICROSCOPY


def test_a_folder_of_one_slide_that_is_given_itself_is_one_slide(tmp_path):
    for number in (1, 2):
        write_dicom(tmp_path / f"level{number}.dcm", PICTURE, number=number)
    Image.fromarray(PICTURE).save(tmp_path / "photo_label.png")
    assert slides(tmp_path) == ["level1.dcm"]
