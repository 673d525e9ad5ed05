"""`check` says what a run takes, within a factor of two; a run that will not fit is not begun."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.tiny_study import pathoml, tiny_study

from pathoml.cli import ahead
from pathoml.cli.ahead import needs_of, on_disks
from pathoml.cli.console import Console
from pathoml.config import load_study
from pathoml.store import disks
from pathoml.study.cohort import read_cohort


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_study(tmp_path_factory.mktemp("ahead") / "study", patients=8)


@pytest.fixture
def study(drawn: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(drawn, tmp_path / "study"))


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, int]]:
    """What the disks say is free; a test lowers it."""
    free = {"bytes": 10**15, "files": 10**9}

    class Counted:
        f_files = 10**9

        @property
        def f_favail(self) -> int:
            return free["files"]

    monkeypatch.setattr(
        disks.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**15, 0, free["bytes"])
    )
    monkeypatch.setattr(disks.os, "statvfs", lambda _: Counted())
    return free


def written(folder: Path) -> tuple[int, int]:
    """Return the bytes and the number of files below a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files), len(files)


@pytest.mark.ci
def test_the_estimate_of_a_whole_run_holds_within_a_factor_of_two(study: Path) -> None:
    loaded = load_study(study)
    needs = needs_of(loaded, read_cohort(loaded))
    assert {need.step for need in needs} == {
        "tile",
        "embed",
        "train",
        "evaluate",
        "explain",
        "discover",
        "report",
        "temporary",
    }
    assert pathoml("run", str(study)) == 0
    for name in ("tiles", "embeddings", "runs"):
        size, files = written(study / name)
        mine = [need for need in needs if need.folder.is_relative_to(study / name)]
        assert size / 2 <= sum(need.size for need in mine) <= size * 2, name
        assert files / 2 <= sum(need.files for need in mine) <= files * 2, name
    assert needs_of(loaded, read_cohort(loaded)) == []


def test_the_estimate_of_tiling_holds_within_a_factor_of_two(study: Path) -> None:
    loaded = load_study(study)
    [need] = [n for n in needs_of(loaded, read_cohort(loaded)) if n.step == "tile"]
    assert pathoml("tile", str(study)) == 0
    size, files = written(study / "tiles")
    assert size / 2 <= need.size <= size * 2
    assert files / 2 <= need.files <= files * 2


@pytest.mark.parametrize("verb", ["run", "tile", "embed", "submit"])
@pytest.mark.parametrize("what", ["bytes", "files"])
def test_what_does_not_fit_is_refused_before_it_begins(
    study: Path,
    room: dict[str, int],
    verb: str,
    what: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    room[what] = 1
    assert pathoml(verb, str(study)) == 2
    said = capsys.readouterr().err
    assert "Nothing was begun" in said
    assert "--set compute.check_space=false" in said
    assert ("1 B" if what == "bytes" else "1 files are free") in said
    assert not any((study / name).exists() for name in ("tiles", "embeddings", "runs", "slurm"))


def test_who_knows_better_goes_on(
    study: Path, room: dict[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    room["bytes"] = 1
    assert pathoml("tile", str(study), "--set", "compute.check_space=false") == 0
    capsys.readouterr()


def test_a_study_that_is_done_is_not_refused_on_a_full_disk(
    study: Path, room: dict[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert pathoml("tile", str(study)) == 0
    room["bytes"] = 1
    assert pathoml("tile", str(study)) == 0
    assert "0 of" in capsys.readouterr().out


@pytest.mark.usefixtures("room")
def test_a_disk_with_room_for_the_largest_slides_costs_no_look(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looked(*_: object) -> None:
        raise AssertionError("a slide was opened")

    monkeypatch.setattr(ahead, "needs_of", looked)
    assert pathoml("tile", str(study)) == 0


def test_check_says_what_is_needed_and_what_is_there(
    study: Path, room: dict[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    room |= {"bytes": 1_500_000_000, "files": 77_000}
    pathoml("check", str(study))
    said = capsys.readouterr().out
    assert "stands on" in said
    assert "slides looked at" in said
    assert "1.5 GB and 77000 files are free" in said
    assert "quota" in said
    room["bytes"] = 10_000_000
    pathoml("check", str(study))
    assert "WARNING disk of" in capsys.readouterr().out


def test_each_disk_is_counted_for_itself(study: Path) -> None:
    if not Path("/dev/shm").is_dir() or os.stat("/dev/shm").st_dev == study.stat().st_dev:
        pytest.fail("this test needs a second file system at /dev/shm")
    (study / "embeddings").symlink_to("/dev/shm")
    loaded = load_study(study)
    needs = needs_of(loaded, read_cohort(loaded))
    of_disk = {disk.device: size for disk, size, _ in on_disks(needs)}
    assert of_disk[os.stat("/dev/shm").st_dev] == sum(
        need.size for need in needs if need.step == "embed"
    )
    assert sum(of_disk.values()) == sum(need.size for need in needs)


def test_a_slide_that_cannot_be_opened_stops_no_estimate(study: Path) -> None:
    for path in (study / "slides").iterdir():
        path.write_bytes(b"no slide")
    loaded = load_study(study)
    needs = {need.step: need for need in needs_of(loaded, read_cohort(loaded))}
    assert "6000 tiles a slide assumed" in needs["tile"].stands_on
    ahead.say_ahead(loaded, read_cohort(loaded), Console())
