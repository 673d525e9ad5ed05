"""A file that is gone is told from a disk that is not mounted."""

from __future__ import annotations

from pathlib import Path

import pytest

from pathoml.slides.whereabouts import whereabouts


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    (tmp_path / "slides").mkdir()
    (tmp_path / "slides" / "other.svs").write_bytes(b"x")
    return tmp_path / "slides"


def test_a_file_that_is_not_beside_others_is_gone(slides: Path) -> None:
    assert whereabouts(slides / "S1.svs") == "gone"
    assert whereabouts(slides / "other.svs") == "there"
    assert whereabouts(slides) == "there"  # a slide may be a folder


def test_where_its_folder_is_not_there_or_empty_a_file_is_away(slides: Path) -> None:
    (slides / "other.svs").rename(slides / ".hidden")  # what a system leaves there is no file
    assert whereabouts(slides / "S1.svs") == "away"
    assert whereabouts(slides / "2021" / "S1.svs") == "away"
    assert whereabouts(slides / ".hidden" / "S1.svs") == "away"  # a file where a folder should be


def test_of_a_link_it_counts_where_it_leads(slides: Path, tmp_path: Path) -> None:
    (slides / "S1.svs").symlink_to(tmp_path / "archive" / "S1.svs")
    assert whereabouts(slides / "S1.svs") == "away"
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "S2.svs").write_bytes(b"x")
    assert whereabouts(slides / "S1.svs") == "gone"


def test_a_drive_that_does_not_answer_is_away(
    slides: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stale(_: Path) -> None:
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr(Path, "stat", stale)
    assert whereabouts(slides / "other.svs") == "away"
