"""A naming sheet on which somebody wrote is known as such, with its codebook."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pathoml.store.ratings import current_sheet, is_rated, naming_sheets, state_codebook

HEADER = "rater,phenotype,item,name,presence,repeat,note,read_at\n"


def write_sheet(features: Path, name: str, row: str = "rater1,0,iaa,,,0,,") -> Path:
    folder = features / name
    folder.mkdir(parents=True)
    (folder / "key.csv").write_text("item,slide_id,phenotype\niaa,S1,0\niaa,S1,2\n")
    (folder / "ratings_rater1.csv").write_text(HEADER + row + "\n")
    return folder


@pytest.mark.parametrize(
    ("row", "written"),
    [
        ("rater1,0,iaa,,,0,,", False),
        ("rater1,0,iaa,,4,0,,", True),
        ("rater1,0,iaa,necrosis,,0,,", True),
        ("rater1,0,iaa,,,0,cannot be judged,", True),
        ('"rater1;0;iaa;;4;0;;"', True),  # saved by a program that puts semicolons
    ],
)
def test_any_cell_of_a_rater_makes_a_file_theirs(tmp_path: Path, row: str, written: bool) -> None:
    assert is_rated(write_sheet(tmp_path, "naming_sheet", row) / "ratings_rater1.csv") is written


def test_a_file_in_another_format_is_theirs(tmp_path: Path) -> None:
    path = tmp_path / "ratings_rater1.csv"
    path.write_bytes(b"PK\x03\x04 saved as a workbook")
    assert is_rated(path)


def test_sheets_are_listed_in_the_order_of_their_numbers_with_their_codebook(
    tmp_path: Path,
) -> None:
    features = tmp_path / "features"
    for name in ("naming_sheet", "naming_sheet-2", "naming_sheet-10"):
        write_sheet(features, name)
    (features / "naming_sheet-2" / "sheet.json").write_text('{"codebook": "bbb"}')
    (features / "codebook.json").write_text(
        json.dumps({"hash": "aaa", "naming_sheet": "naming_sheet-10"})
    )
    (features / "naming_sheet copy").mkdir()
    found = naming_sheets(features)
    assert [one.folder.name for one in found] == [
        "naming_sheet",
        "naming_sheet-2",
        "naming_sheet-10",
    ]
    assert [one.codebook for one in found] == ["aaa", "bbb", "aaa"]
    assert found[0].phenotypes == (0, 2)
    assert current_sheet(features) == "naming_sheet-10"


def test_a_sheet_of_before_keeps_the_codebook_that_it_had(tmp_path: Path) -> None:
    features = tmp_path / "features"
    write_sheet(features, "naming_sheet")
    (features / "codebook.json").write_text('{"hash": "aaa"}')
    state_codebook(naming_sheets(features)[0])
    (features / "codebook.json").write_text('{"hash": "bbb"}')
    assert naming_sheets(features)[0].codebook == "aaa"


def test_a_sheet_is_used_once_its_items_were_read_in_the_viewer(tmp_path: Path) -> None:
    write_sheet(tmp_path / "features", "naming_sheet")
    [sheet] = naming_sheets(tmp_path / "features")
    assert not sheet.is_used()
    assert sheet.is_used({"iaa"})
    assert not sheet.is_used({"ibb"})
