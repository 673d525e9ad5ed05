"""A slide is what its files hold; whether they may have changed is known without reading them."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from pathoml.slides import contents
from pathoml.slides.contents import (
    SlideContents,
    mark_of,
    same_size,
    sha256_of_slide,
    slide_files,
)
from pathoml.store.files import sha256_of_file


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    """A file that nobody wrote to for a while, as far as can be told."""
    path = tmp_path / "slides" / "S1.svs"
    path.parent.mkdir()
    path.write_bytes(bytes(range(256)) * 4096)
    return path


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files be old enough to be remembered."""
    later = time.time() + 60
    monkeypatch.setattr(contents.time, "time", lambda: later)


def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return a list that grows by each file that is read as a whole."""
    found: list[Path] = []

    def counted(path: Path) -> str:
        found.append(path)
        return sha256_of_file(path)

    monkeypatch.setattr(contents, "sha256_of_file", counted)
    return found


def mrxs(folder: Path, name: str, data: bytes) -> Path:
    (folder / name).mkdir(parents=True)
    (folder / f"{name}.mrxs").write_bytes(b"the same picture in every slide")
    (folder / name / "Slidedat.ini").write_bytes(b"[GENERAL]")
    (folder / name / "Data0000.dat").write_bytes(data)
    return folder / f"{name}.mrxs"


def dicom(path: Path, series: bytes, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    element = b"\x20\x00\x0e\x00UI" + len(series).to_bytes(2, "little") + series
    path.write_bytes(bytes(128) + b"DICM" + element + data)
    return path


@pytest.mark.usefixtures("settled")
def test_what_was_read_once_is_not_read_again_wherever_it_lies(
    slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = reads(monkeypatch)
    before = SlideContents(tmp_path / "memory")
    sha256 = before.sha256(slide)
    before.write()
    slide.parent.rename(tmp_path / "elsewhere")
    moved = tmp_path / "elsewhere" / "S1.svs"
    after = SlideContents(tmp_path / "memory")
    assert (after.is_known(moved), after.sha256(moved)) == (True, sha256)
    assert found == [slide]


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("way", ["in place", "another file", "renamed over"])
def test_other_bytes_of_the_same_size_and_date_are_noticed(
    slide: Path, tmp_path: Path, way: str
) -> None:
    known, stat = SlideContents(), slide.stat()
    before = known.sha256(slide)
    changed = bytearray(slide.read_bytes())
    changed[500_000] ^= 1  # beyond the samples
    if way == "in place":
        with slide.open("r+b") as file:
            file.write(changed)
    else:
        other = tmp_path / "other"
        other.write_bytes(changed)
        if way == "another file":
            slide.unlink()
            shutil.copy2(other, slide)
        else:
            os.replace(other, slide)
    os.utime(slide, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert slide.stat().st_size == stat.st_size
    assert known.sha256(slide) == sha256_of_file(slide) != before


def test_a_file_that_was_written_a_moment_ago_is_not_remembered(slide: Path) -> None:
    known = SlideContents()
    known.sha256(slide)
    assert not known.is_known(slide)


@pytest.mark.usefixtures("settled")
def test_a_file_that_was_written_to_while_it_was_read_is_not_remembered(slide: Path) -> None:
    known, mark = SlideContents(), mark_of(slide)
    os.utime(slide, (1, 1))
    known.note(slide, mark, "ab")
    assert not known.is_known(slide)


@pytest.mark.parametrize("place", [10, 32_768 * 16, -10])
def test_of_a_disk_without_a_second_date_samples_are_read(
    slide: Path, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    def plain(path: Path) -> os.stat_result:  # as exFAT: the date of the content stands for both
        found = list(os.stat(path))
        return os.stat_result((*found[:9], found[8]), {"st_mtime_ns": 7, "st_ctime_ns": 7})

    monkeypatch.setattr(Path, "stat", plain)
    before, changed = mark_of(slide), bytearray(slide.read_bytes())
    assert mark_of(slide) == before
    changed[place] ^= 1
    slide.write_bytes(changed)
    assert mark_of(slide) != before


@pytest.mark.usefixtures("settled")
def test_what_is_remembered_is_merged_pruned_and_no_reason_to_fail(
    slide: Path, tmp_path: Path
) -> None:
    memory = tmp_path / "memory"
    one = SlideContents(memory)
    one.sha256(slide)
    one.write(part=".1-of-2")
    assert SlideContents(memory).is_known(slide)
    whole = SlideContents(memory)
    whole.sha256(slide)
    whole.write(whole=True)
    assert [p.name for p in memory.iterdir()] == ["known.json"]
    SlideContents(memory).write(whole=True)  # of a study without this slide
    assert not SlideContents(memory).is_known(slide)
    (memory / "known.json").write_text('{"torn')
    assert SlideContents(memory).sha256(slide) == sha256_of_file(slide)


def test_of_mrxs_the_folder_beside_it_counts_and_its_name_does_not(tmp_path: Path) -> None:
    one, other = mrxs(tmp_path, "A", b"pixels"), mrxs(tmp_path, "B", b"others")
    assert [p.name for p in slide_files(one)] == ["A.mrxs", "Data0000.dat", "Slidedat.ini"]
    assert sha256_of_slide(one) != sha256_of_slide(other)
    assert sha256_of_slide(mrxs(tmp_path, "C", b"pixels")) == sha256_of_slide(one)
    before = mark_of(one)
    (tmp_path / "A" / "Data0000.dat").write_bytes(b"PIXELS")
    assert mark_of(one) != before


def test_of_dicom_the_files_of_its_series_count_whatever_they_are_called(tmp_path: Path) -> None:
    first = dicom(tmp_path / "all" / "1.dcm", b"1.2.3", b"level 0")
    second = dicom(tmp_path / "all" / "2.dcm", b"1.2.3", b"level 1")
    dicom(tmp_path / "all" / "3.dcm", b"9.9", b"another slide")
    (tmp_path / "all" / "notes.txt").write_text("x")
    assert slide_files(first) == (first, second)
    before = sha256_of_slide(first)
    assert sha256_of_slide(second) == before
    second.rename(tmp_path / "all" / "level-1.dcm")
    assert sha256_of_slide(first) == before
    dicom(tmp_path / "all" / "level-1.dcm", b"1.2.3", b"LEVEL 1")
    assert sha256_of_slide(first) != before


def test_of_vms_the_files_that_it_lists_count(tmp_path: Path) -> None:
    path = tmp_path / "S.vms"
    path.write_text("[Virtual Microscope Specimen]\nImageFile=S.jpg\nMapFile=S_map.jpg\nNoLayers=1")
    for name in ("S.jpg", "S_map.jpg", "T.jpg"):
        (tmp_path / name).write_bytes(name.encode())
    assert {p.name for p in slide_files(path)} == {"S.vms", "S.jpg", "S_map.jpg"}
    before = sha256_of_slide(path)
    (tmp_path / "S.jpg").write_bytes(b"other")
    assert sha256_of_slide(path) != before


def test_what_a_system_hides_in_a_folder_is_no_part_of_its_slide(tmp_path: Path) -> None:
    dicom(tmp_path / "S" / "1.dcm", b"1", b"pixels")
    before = sha256_of_slide(tmp_path / "S")
    (tmp_path / "S" / ".DS_Store").write_bytes(b"x")
    assert sha256_of_slide(tmp_path / "S") == before


def test_only_slides_of_one_size_can_be_copies(tmp_path: Path) -> None:
    one, other = mrxs(tmp_path, "A", b"pixels"), mrxs(tmp_path, "B", b"others")
    assert same_size([one, other, mrxs(tmp_path, "C", b"more pixels")]) == [[one, other]]
