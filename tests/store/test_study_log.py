"""The log of a study is bounded, written by several at once, and never in the way."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pathoml.store import study_log
from pathoml.store.study_log import append_entry, log_path, read_entries

ROOT = Path(__file__).parents[2]


def sizes(study: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in (study / "logs").iterdir()}


def test_entries_are_read_back_in_the_order_in_which_they_were_written(tmp_path: Path) -> None:
    assert [append_entry(tmp_path, {"number": n, "verb": "öffnen"}) for n in range(3)] == [True] * 3
    assert [entry["number"] for entry in read_entries(tmp_path)] == [0, 1, 2]
    assert "öffnen" in log_path(tmp_path).read_text(encoding="utf-8")


def test_it_never_grows_beyond_its_bound_and_loses_the_oldest_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_log, "MOST_BYTES", 1000)
    for number in range(500):
        assert append_entry(tmp_path, {"number": number})
    found = sizes(tmp_path)
    assert set(found) == {"pathoml.log", "pathoml.log.1", "pathoml.log.2", "pathoml.log.3"}
    assert max(found.values()) <= 1000
    numbers = [entry["number"] for entry in read_entries(tmp_path)]
    assert numbers == list(range(numbers[0], 500))
    assert len(numbers) > 150  # three files are whole: 1,000 bytes hold some 65 of these


def test_an_entry_larger_than_the_whole_log_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_log, "MOST_BYTES", 100)
    append_entry(tmp_path, {"number": 1})
    assert not append_entry(tmp_path, {"text": "x" * 200})
    assert max(sizes(tmp_path).values()) <= 100


def test_processes_that_write_at_once_lose_and_tear_nothing(tmp_path: Path) -> None:
    """Six processes write 200 entries each while the file is turned over again and again; what is
    kept is bounded, and of each process an unbroken end is kept.
    """
    program = (
        "import sys; from pathlib import Path; from pathoml.store import study_log\n"
        "study_log.MOST_BYTES = 40_000\n"
        "for n in range(200):\n"
        "    assert study_log.append_entry(Path(sys.argv[1]), {'who': sys.argv[2], 'n': n})\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    writers = [
        subprocess.Popen([sys.executable, "-c", program, tmp_path, str(who)], env=environment)
        for who in range(6)
    ]
    assert [writer.wait(60) for writer in writers] == [0] * 6
    raw = [
        line
        for path in (tmp_path / "logs").iterdir()
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    assert len(raw) == len([json.loads(line) for line in raw]) == 6 * 200


def test_a_read_only_disk_keeps_no_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(study_log.os, "open", refuse)
    assert not append_entry(tmp_path, {"number": 1})


@pytest.mark.parametrize("of", ["file", "folder"])
def test_a_link_of_a_strangers_study_is_not_followed(tmp_path: Path, of: str) -> None:
    study, outside = tmp_path / "study", tmp_path / "outside"
    study.mkdir()
    outside.mkdir()
    (outside / "pathoml.log").write_text("mine\n", encoding="utf-8")
    if of == "folder":
        (study / "logs").symlink_to(outside)
    else:
        (study / "logs").mkdir()
        log_path(study).symlink_to(outside / "pathoml.log")
    assert not append_entry(study, {"number": 1})
    assert (outside / "pathoml.log").read_text(encoding="utf-8") == "mine\n"


def test_a_pipe_of_that_name_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    os.mkfifo(log_path(tmp_path))
    assert not append_entry(tmp_path, {"number": 1})
    assert stat.S_ISFIFO(log_path(tmp_path).stat().st_mode)


def test_a_line_that_is_torn_hides_no_other(tmp_path: Path) -> None:
    append_entry(tmp_path, {"number": 1})
    with log_path(tmp_path).open("ab") as file:
        file.write(b'{"number": 2, "ver\n[1]\n\xff\xfe\n')
    append_entry(tmp_path, {"number": 3})
    assert [entry["number"] for entry in read_entries(tmp_path)] == [1, 3]


def test_without_locks_as_on_windows_it_is_bounded_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_log, "fcntl", None)
    monkeypatch.setattr(study_log, "MOST_BYTES", 1000)
    for number in range(200):
        assert append_entry(tmp_path, {"number": number})
    assert max(sizes(tmp_path).values()) <= 1000
