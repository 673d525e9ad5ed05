"""A run goes, what people put there stays, and what lies behind a link of theirs is not touched."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pathoml.store.removal import Failed, remove_folder, remove_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "main"
    for name in ("provenance.json", "models/a.safetensors", "attention/S1.h5", "scores.csv"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    return folder


def test_a_run_goes_with_its_folders(run: Path) -> None:
    failed: Failed = []
    remove_run(run, failed)
    assert not run.exists()
    assert failed == []


def test_texts_of_people_stay_and_so_does_what_is_to_be_kept(run: Path) -> None:
    (run / "notes.md").write_text("we should look at S1")
    (run / "models" / "notes.md").write_text("a file of ours, as any there")
    remove_run(run, [], kept=[run / "scores.csv"])
    assert sorted(path.name for path in run.rglob("*")) == ["notes.md", "scores.csv"]


def test_a_run_behind_a_link_goes_and_a_link_of_somebodys_leads_on(
    run: Path, tmp_path: Path
) -> None:
    theirs = tmp_path / "hospital"
    theirs.mkdir()
    (theirs / "x").write_text("x")
    shutil.move(run, tmp_path / "scratch")
    run.symlink_to(tmp_path / "scratch")
    (run / "data").symlink_to(theirs)
    (run / "gone").symlink_to(tmp_path / "nowhere")
    remove_run(run, [])
    assert (theirs / "x").exists()
    assert not run.is_symlink()
    assert not (tmp_path / "scratch").exists()


def test_a_part_on_another_disk_goes_too(run: Path, tmp_path: Path) -> None:
    shutil.move(run / "attention", tmp_path / "large")
    (run / "attention").symlink_to(tmp_path / "large")
    remove_run(run, [])
    assert not run.exists()
    assert not (tmp_path / "large").exists()


def test_what_cannot_be_removed_is_said_and_the_rest_goes(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failed = Path.unlink, []

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if path.name == "S1.h5":
            raise PermissionError(13, "Permission denied")
        real(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    remove_folder(run, failed)
    assert failed == [(run / "attention" / "S1.h5", "Permission denied")]
    assert [path.name for path in run.rglob("*") if path.is_file()] == ["S1.h5"]
