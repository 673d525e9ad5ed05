"""How much room there is for a folder, whether it is there yet or not, and where links lead."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from pathoml.store import disks
from pathoml.store.disks import disks_of


def test_a_folder_that_is_not_there_yet_lies_on_the_disk_of_the_nearest_one_above(
    tmp_path: Path,
) -> None:
    [disk] = disks_of([tmp_path / "not" / "yet", tmp_path])
    assert disk.folders == (tmp_path / "not" / "yet", tmp_path)
    assert disk.device == tmp_path.stat().st_dev
    assert disk.free == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.05)


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no second disk")
def test_a_link_to_another_disk_is_followed(tmp_path: Path) -> None:
    (tmp_path / "embeddings").symlink_to("/dev/shm")
    found = disks_of([tmp_path / "runs", tmp_path / "embeddings" / "uni"])
    assert [disk.folders for disk in found] == [
        (tmp_path / "runs",),
        (tmp_path / "embeddings" / "uni",),
    ]
    assert found[1].device == os.stat("/dev/shm").st_dev


def test_a_disk_that_counts_no_files_has_room_for_any_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoCount:
        f_files, f_favail = 0, 0

    monkeypatch.setattr(disks.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 4, 5))
    monkeypatch.setattr(disks.os, "statvfs", lambda _: NoCount())
    [disk] = disks_of([tmp_path])
    assert (disk.free, disk.free_files) == (5, None)
    monkeypatch.delattr(disks.os, "statvfs")  # Windows
    assert disks_of([tmp_path])[0].free_files is None
