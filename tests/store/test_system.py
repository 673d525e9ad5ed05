"""What systems do differently is asked of the system, and never of Linux alone."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pathoml.store import system
from pathoml.store.system import READ_BYTES, is_running, read_at, sync_folder, usable_cores


def test_cores_are_those_this_process_may_use_and_elsewhere_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert usable_cores() == len(os.sched_getaffinity(0))
    monkeypatch.delattr(os, "sched_getaffinity")
    assert usable_cores() == os.cpu_count()


def test_a_process_is_known_to_run_or_to_be_gone_with_and_without_proc(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert (is_running(os.getpid()), is_running(gone.pid)) == (True, False)
    monkeypatch.setattr(system, "Path", lambda _: Path("/nowhere/at/all"))  # macOS
    assert (is_running(os.getpid()), is_running(gone.pid)) == (True, False)
    monkeypatch.delattr(os, "fork")  # Windows, where to ask so would end the process
    monkeypatch.delattr(os, "kill")
    assert is_running(os.getpid()) is None


def test_a_folder_that_cannot_be_opened_is_left_to_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    asked = []
    monkeypatch.setattr(os, "fsync", asked.append)
    sync_folder(tmp_path)
    assert asked == []


@pytest.mark.parametrize("way", ["pread", "seek"])
def test_many_threads_read_one_file_at_their_own_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    if way == "seek":
        monkeypatch.delattr(os, "pread")
    (tmp_path / "numbers").write_bytes(b"".join(n.to_bytes(4, "big") for n in range(20_000)))
    handle = os.open(tmp_path / "numbers", READ_BYTES)
    with ThreadPoolExecutor(8) as threads:
        found = threads.map(
            lambda n: int.from_bytes(read_at(handle, 4, 4 * n), "big"), range(20_000)
        )
        assert list(found) == list(range(20_000))
    os.close(handle)
