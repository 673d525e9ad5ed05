"""A walk ends, follows the links that it is to follow, and says what it did not see."""

from __future__ import annotations

from pathlib import Path

from pathoml.store.walk import walk


def names(folder: Path, files: tuple[Path, ...]) -> list[str]:
    return [str(path.relative_to(folder)) for path in files]


def test_a_link_to_a_folder_is_entered_where_it_may_be(tmp_path: Path) -> None:
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "x").write_text("x")
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "runs").symlink_to(tmp_path / "away")
    assert names(folder, walk(folder).files) == ["runs/x"]
    not_entered = walk(folder, enters=lambda _: False)
    assert not_entered.files == ()
    assert not_entered.unseen == ((folder / "runs", f"a link to {tmp_path / 'away'}"),)


def test_loops_end_and_links_that_lead_nowhere_are_said(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_text("x")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    walked = walk(tmp_path)
    assert names(tmp_path, walked.files) == ["a/x"]
    assert [path.name for path, _ in walked.unseen] == ["gone", "self"]


def test_a_folder_that_is_reached_by_a_link_first_has_its_own_path(tmp_path: Path) -> None:
    (tmp_path / "z").mkdir()
    (tmp_path / "z" / "x").write_text("x")
    (tmp_path / "a").symlink_to(tmp_path / "z")
    assert names(tmp_path, walk(tmp_path).files) == ["z/x"]


def test_what_is_left_out_is_not_entered(tmp_path: Path) -> None:
    (tmp_path / "slides").mkdir()
    (tmp_path / "slides" / "x").write_text("x")
    assert walk(tmp_path, without=[tmp_path / "slides"]).files == ()
