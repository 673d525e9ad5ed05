"""Whole files or none: old content stays until the new one is complete, and what killed jobs left
is swept.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from pathoml.errors import StoreError
from pathoml.store import files


def test_a_write_that_fails_leaves_the_old_file_and_no_temporary(tmp_path):
    files.write_text(tmp_path / "a.txt", "old")
    with pytest.raises(UnicodeEncodeError):
        files.write_text(
            tmp_path / "a.txt", "half of the n\ud800"
        )  # a lone surrogate cannot be written
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"a.txt": "old"}


def test_a_writer_that_is_killed_leaves_the_old_file(tmp_path):
    files.write_text(tmp_path / "a.txt", "old")
    code = (
        "import os, sys, pathlib; from pathoml.store.files import atomic_path\n"
        "with atomic_path(pathlib.Path(sys.argv[1])) as t: t.write_text('new'); "
        "os.kill(os.getpid(), 9)"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "a.txt")], check=False
        ).returncode
        == -9
    )
    assert (tmp_path / "a.txt").read_text() == "old"
    files.sweep_temporaries(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_sweeping_spares_living_processes_other_nodes_and_hidden_files(tmp_path):
    with files.atomic_path(tmp_path / "mine.h5") as mine:
        mine.touch()
        other = (
            tmp_path / ".theirs.h5.node17.4194305.tmp"
        )  # no such process here, but it is another node's
        old = tmp_path / ".theirs.h5.node18.4194305.tmp"
        for path in (other, old, tmp_path / ".DS_Store"):
            path.touch()
        os.utime(old, (time.time() - 2 * files.SECONDS_A_DAY,) * 2)
        files.sweep_temporaries(tmp_path)
        assert {p.name for p in tmp_path.iterdir()} == {mine.name, other.name, ".DS_Store"}


def test_two_containers_of_one_host_name_do_not_take_each_others_files(tmp_path, monkeypatch):
    monkeypatch.setattr(files.os, "getpid", lambda: 2**22 + 1)  # in each of them, and not here
    other_boot, other_processes = tmp_path / "boot", tmp_path / "processes"
    other_boot.write_text("another")
    other_processes.touch()
    with files.atomic_path(tmp_path / "a.h5") as mine:
        mine.touch()
        for name, other in (("BOOT_ID", other_boot), ("PROCESSES", other_processes)):
            with monkeypatch.context() as container:
                container.setattr(files, name, other)
                files.sweep_temporaries(tmp_path)
                assert mine.exists()
                with files.atomic_path(tmp_path / "a.h5") as theirs:
                    assert theirs != mine
                    theirs.touch()
        files.sweep_temporaries(tmp_path)
        assert not mine.exists(), "here the process is known to be gone"
        mine.touch()


def test_two_threads_that_write_one_file_do_not_share_a_temporary(tmp_path):
    with files.atomic_path(tmp_path / "a") as first, files.atomic_path(tmp_path / "a") as second:
        first.write_text("1")
        second.write_text("2")
    assert (tmp_path / "a").read_text() == "1"


def test_the_longest_name_that_a_disk_takes_is_written(tmp_path):
    path = tmp_path / f"{'a' * 247}.geojson"
    files.write_text(path, "x")
    assert path.read_text() == "x"


def test_json_is_readable_and_has_no_nan(tmp_path):
    files.write_json(tmp_path / "a.json", {"Zürich": 1.5})
    assert "Zürich" in (tmp_path / "a.json").read_text(encoding="utf-8")
    assert files.read_json(tmp_path / "a.json") == {"Zürich": 1.5}
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "a.json", {"x": float("nan")})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"Zürich": 1.5}


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff"])
def test_what_is_no_json_object_is_refused(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(StoreError, match=r"a\.json"):
        files.read_json(tmp_path / "a.json")
