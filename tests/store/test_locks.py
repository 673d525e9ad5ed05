"""One command at a time works on a folder, and who finds it locked is told by whom."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pathoml.errors import StoreError
from pathoml.store.locks import LOCK, at_work


@contextmanager
def another(folder: Path, *, shared: bool = False, number: int = signal.SIGKILL) -> Iterator[int]:
    """Let a child work on a folder meanwhile; it is killed at the end."""
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        with at_work(folder, "train", shared=shared):
            os.write(told, b"1")
            signal.pause()
    os.read(ready, 1)
    try:
        yield child
    finally:
        os.kill(child, number)
        os.waitpid(child, 0)
        os.close(ready)
        os.close(told)


def test_who_comes_second_is_told_who_is_at_work_since_when_and_what_to_do(tmp_path):
    with (
        another(tmp_path) as child,
        pytest.raises(StoreError) as refused,
        at_work(tmp_path, "evaluate"),
    ):
        pass
    said = str(refused.value)
    assert f"`pathoml train` is at work (process {child} on " in said
    assert f"since {time.strftime('%Y-%m-%d')}" in said
    assert "`pathoml evaluate` would write into the same folder: wait until it has ended" in said


def test_who_waits_gets_the_folder_when_the_other_ends(tmp_path):
    with another(tmp_path) as child:
        os.kill(child, signal.SIGSTOP)
        os.kill(child, signal.SIGKILL)
        with at_work(tmp_path, "evaluate", patience_s=5):
            assert json.loads((tmp_path / LOCK).read_text())["doing"] == "evaluate"


def test_the_dead_keep_nothing(tmp_path):
    with another(tmp_path):
        pass
    assert (tmp_path / LOCK).exists(), "it was killed"
    with at_work(tmp_path, "evaluate"):
        pass
    assert not (tmp_path / LOCK).exists()


def test_what_a_process_holds_it_may_hold_again(tmp_path):
    with at_work(tmp_path, "run"):
        with at_work(tmp_path, "train"):
            pass
        with at_work(tmp_path, "evaluate", shared=True):
            pass
        assert (tmp_path / LOCK).exists()
    assert not (tmp_path / LOCK).exists()


def test_parts_share_a_folder_and_keep_out_who_wants_it_alone(tmp_path):
    with another(tmp_path, shared=True), another(tmp_path, shared=True):
        with at_work(tmp_path, "evaluate", shared=True):
            pass
        with pytest.raises(StoreError, match="is at work"), at_work(tmp_path, "withdraw"):
            pass
    with at_work(tmp_path, "withdraw"):
        pass
    assert not (tmp_path / LOCK).exists()


def test_another_container_with_our_host_name_and_process_number_is_another(tmp_path):
    with another(tmp_path):
        said = json.loads((tmp_path / LOCK).read_text())
        boot, space, _, started = said["process"].split(" ")
        said["process"] = f"{boot} another{space} {os.getpid()} {started}"
        (tmp_path / LOCK).write_text(json.dumps({**said, "pid": os.getpid()}))
        with pytest.raises(StoreError, match="is at work"), at_work(tmp_path, "train"):
            pass


def test_a_folder_that_may_not_be_written_is_not_locked(tmp_path, monkeypatch):
    def refused(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refused)
    with at_work(tmp_path, "run"):  # where all is up to date nothing is written
        assert not (tmp_path / LOCK).exists()
