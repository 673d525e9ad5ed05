"""A study comes back from its backup file by file, or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import stat
import threading
import time
import zipfile
from contextlib import closing
from pathlib import Path

import pytest

from pathoml.cli import guarded, main
from pathoml.config import Study, load_study
from pathoml.errors import ConfigError, PathomlError, StoreError
from pathoml.store.backup import LIST, backup_study, restore_study, unsafe_name
from pathoml.store.locks import at_work
from pathoml.store.readings import Reading, Readings

STUDY_YAML = "endpoint: {name: e, time_zero: z, time: t, event: e}\n"


def reading(number: int) -> Reading:
    return Reading(rater="KB", item=f"S{number}", slide_id=f"S{number}", name="x", presence=3)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    folder = tmp_path / "study"
    for name, content in {
        "study.yaml": STUDY_YAML,
        "patients.csv": "patient_id,t,e\nP1,3,1\nP2,4,0\n",
        "slides.csv": "slide_id,patient_id,path\nS1,P1,slides/S1.svs\nS2,P2,wsi/S2.svs\n",
        "slides/S1.svs": "pixels",
        "wsi/S2.svs": "pixels",
        "embeddings/e/S1.h5": "features",
        "tiles/g/S1.h5": "tiles",
        "runs/main/scores.csv": "patient_id\nP1\n",
        "runs/main/.new/scores.csv": "half",
        "bundles/locked/MODEL_CARD.md": "filled in by us",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    Readings(folder / "readings" / "readings.sqlite").save(reading(1), "")
    return load_study(folder)


def files(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith("readings.sqlite")
    }


def test_all_but_slides_and_embeddings_comes_back(study: Study, tmp_path: Path) -> None:
    backup_study(study, tmp_path / "study.zip")
    done = restore_study(tmp_path / "study.zip", tmp_path / "again")
    wanted = files(study.folder)
    for name in ("slides/S1.svs", "wsi/S2.svs", "embeddings/e/S1.h5", "runs/main/.new/scores.csv"):
        del wanted[name]
    assert files(tmp_path / "again") == wanted
    assert done.without == ("slides", "embeddings")
    again = Readings(tmp_path / "again" / "readings" / "readings.sqlite")
    assert [row["slide_id"] for row in again.rows()] == ["S1"]
    assert not list(tmp_path.glob(".*")), "nothing is left beside"


def test_embeddings_come_if_asked_for(study: Study, tmp_path: Path) -> None:
    backup_study(study, tmp_path / "study.zip", embeddings=True)
    restore_study(tmp_path / "study.zip", tmp_path / "again")
    assert (tmp_path / "again" / "embeddings" / "e" / "S1.h5").read_text() == "features"


def test_a_run_on_another_disk_is_in_it(study: Study, tmp_path: Path) -> None:
    shutil.move(study.run_folder, tmp_path / "away")
    study.run_folder.symlink_to(tmp_path / "away")
    (study.folder / "hospital").symlink_to(tmp_path)
    done = backup_study(study, tmp_path / "study.zip")
    restore_study(tmp_path / "study.zip", tmp_path / "again")
    assert (tmp_path / "again" / "runs" / "main" / "scores.csv").is_file()
    assert [path.name for path, _ in done.left_out] == ["hospital"]


def test_only_the_owner_may_read_a_backup(study: Study, tmp_path: Path) -> None:
    backup_study(study, tmp_path / "study.zip")
    assert stat.S_IMODE((tmp_path / "study.zip").stat().st_mode) == 0o600


def test_readings_are_whole_while_a_viewer_writes(study: Study, tmp_path: Path) -> None:
    readings, stop = Readings(study.readings_file), threading.Event()

    def read_on() -> None:
        number = 2
        while not stop.is_set():
            readings.save(reading(number), "")
            number += 1

    viewer = threading.Thread(target=read_on)
    viewer.start()
    try:
        for number in range(5):
            backup_study(study, tmp_path / f"{number}.zip")
    finally:
        stop.set()
        viewer.join()
    for number in range(5):
        restore_study(tmp_path / f"{number}.zip", tmp_path / str(number))
        path = tmp_path / str(number) / "readings" / "readings.sqlite"
        with closing(sqlite3.connect(path)) as connection:
            [counts] = connection.execute(
                "SELECT (SELECT count(*) FROM readings),"
                " (SELECT count(*) FROM audit WHERE action = 'reading')"
            )
        assert counts[0] == counts[1], "a reading and its line of the audit log are one"


def test_a_backup_that_is_killed_leaves_no_file_of_that_name(study: Study, tmp_path: Path) -> None:
    (study.folder / "large.bin").write_bytes(os.urandom(2**22))
    child = os.fork()
    if child == 0:
        from pathoml.store import backup

        add = backup._add
        backup._add = lambda *one: (add(*one), os.kill(os.getpid(), signal.SIGKILL))
        backup_study(study, tmp_path / "study.zip")
        os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    assert not (tmp_path / "study.zip").exists()
    backup_study(study, tmp_path / "study.zip")
    restore_study(tmp_path / "study.zip", tmp_path / "again")


def test_a_restore_that_is_killed_leaves_no_folder_of_that_name(
    study: Study, tmp_path: Path
) -> None:
    backup_study(study, tmp_path / "study.zip")
    child = os.fork()
    if child == 0:
        restore_study(
            tmp_path / "study.zip",
            tmp_path / "again",
            on_file=lambda done, _: done > 2 and os.kill(os.getpid(), signal.SIGKILL),
        )
        os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    assert not (tmp_path / "again").exists()
    restore_study(tmp_path / "study.zip", tmp_path / "again")
    assert (tmp_path / "again" / "study.yaml").is_file()


def test_a_folder_that_holds_something_is_not_written_into(study: Study, tmp_path: Path) -> None:
    backup_study(study, tmp_path / "study.zip")
    before = files(study.folder)
    with pytest.raises(ConfigError, match="is not empty; nothing in it is written over"):
        restore_study(tmp_path / "study.zip", study.folder)
    assert files(study.folder) == before
    (tmp_path / "empty").mkdir()
    restore_study(tmp_path / "study.zip", tmp_path / "empty")
    assert (tmp_path / "empty" / "study.yaml").is_file()


def test_an_archive_that_is_there_is_not_written_over(study: Study, tmp_path: Path) -> None:
    backup_study(study, tmp_path / "study.zip")
    with pytest.raises(ConfigError, match="exists already"):
        backup_study(study, tmp_path / "study.zip")


def rewritten(path: Path, change) -> Path:
    """Write an archive again with its parts changed: name -> (entry, content)."""
    with zipfile.ZipFile(path) as archive:
        parts = {one.filename: (one, archive.read(one)) for one in archive.infolist()}
    change(parts)
    with zipfile.ZipFile(path, "w") as archive:
        for entry, content in parts.values():
            archive.writestr(entry, content)
    return path


def listed(parts, name: str, content: bytes, mode: int = 0o100644) -> None:
    """Add a file to an archive and to its list, as an attacker would."""
    said = json.loads(parts[LIST][1])
    said["files"][name] = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "bytes": len(content),
    }
    parts[LIST] = (parts[LIST][0], json.dumps(said).encode())
    entry = zipfile.ZipInfo(name)
    entry.external_attr = mode << 16
    parts[name] = (entry, content)


@pytest.mark.parametrize(
    "name",
    ["../evil.txt", "runs/../../evil.txt", "/tmp/evil.txt", "C:/evil.txt", "a\\..\\evil", "./x"],
)
def test_a_name_that_leads_out_of_the_folder_is_refused(
    study: Study, tmp_path: Path, name: str
) -> None:
    backup_study(study, tmp_path / "study.zip")
    path = rewritten(tmp_path / "study.zip", lambda parts: listed(parts, name, b"evil"))
    assert unsafe_name(name)
    with pytest.raises(StoreError, match="that is no file of a study"):
        restore_study(path, tmp_path / "deep" / "again")
    assert not list(tmp_path.rglob("evil*"))
    assert not (tmp_path / "deep" / "again").exists()


def test_a_link_in_an_archive_is_refused(study: Study, tmp_path: Path) -> None:
    backup_study(study, tmp_path / "study.zip")
    path = rewritten(
        tmp_path / "study.zip", lambda parts: listed(parts, "runs/x", b"/etc", stat.S_IFLNK | 0o777)
    )
    with pytest.raises(StoreError, match="is a link or a folder"):
        restore_study(path, tmp_path / "again")


def changed_cell(parts) -> None:
    entry, content = parts["patients.csv"]
    parts["patients.csv"] = (entry, content.replace(b"P1,3,1", b"P1,9,1"))


def one_file_less(parts) -> None:
    del parts["patients.csv"]


def one_file_more(parts) -> None:
    parts["x"] = (zipfile.ZipInfo("x"), b"x")


def other_case(parts) -> None:
    listed(parts, "Patients.csv", b"x")


def no_list(parts) -> None:
    del parts[LIST]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (changed_cell, "patients.csv is not as it was backed up"),
        (one_file_less, "patients.csv is not as its list says"),
        (one_file_more, "x is not as its list says"),
        (other_case, "holds a file twice"),
        (no_list, "is no backup"),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_an_archive_that_was_changed_gives_no_study(
    study: Study, tmp_path: Path, change, told: str
) -> None:
    backup_study(study, tmp_path / "study.zip")
    with pytest.raises(StoreError, match=told):
        restore_study(rewritten(tmp_path / "study.zip", change), tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_any_flipped_or_lost_byte_gives_a_sentence_or_the_same_study(
    study: Study, tmp_path: Path
) -> None:
    backup_study(study, tmp_path / "study.zip")
    whole = (tmp_path / "study.zip").read_bytes()
    restore_study(tmp_path / "study.zip", tmp_path / "whole")
    wanted = files(tmp_path / "whole")
    for number, at in enumerate(range(0, len(whole), max(1, len(whole) // 60))):
        torn = tmp_path / "torn.zip"
        flipped = bytes([whole[at] ^ 0x41])
        torn.write_bytes(whole[:at] + flipped + whole[at + 1 :] if number % 3 else whole[:at])
        shutil.rmtree(tmp_path / "again", ignore_errors=True)
        try:
            restore_study(torn, tmp_path / "again")
        except PathomlError:
            assert not (tmp_path / "again").exists()
        else:
            assert files(tmp_path / "again") == wanted


def test_a_backup_waits_for_no_command_and_keeps_no_half_withdrawal(
    study: Study, tmp_path: Path
) -> None:
    (study.folder / ".withdrawing.json").write_text('{"patients": ["P1"]}')
    with pytest.raises(StoreError, match="A withdrawal was interrupted"):
        backup_study(study, tmp_path / "study.zip")
    (study.folder / ".withdrawing.json").unlink()
    child = os.fork()
    if child == 0:
        with at_work(study.folder, "train"):
            time.sleep(30)
    try:
        time.sleep(0.5)
        with pytest.raises(StoreError, match="`pathoml train` is at work"):
            backup_study(study, tmp_path / "study.zip")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_the_order_of_words_that_people_try_is_answered(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["backup", str(study.folder), str(tmp_path / "study.zip")]
    assert guarded(lambda: main(words)) == 2
    assert "The file comes first, then the study" in capsys.readouterr().err
    assert guarded(lambda: main(["restore", str(tmp_path / "no.zip"), str(tmp_path / "x")])) == 2
    assert "no.zip is not there" in capsys.readouterr().err


def test_a_backup_in_the_study_is_told_to_be_there_and_is_not_in_the_next_one(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inside = study.folder / "first.zip"
    assert guarded(lambda: main(["backup", str(inside), str(study.folder)])) == 0
    assert "WARNING: it lies in the study itself" in capsys.readouterr().out
    backup_study(study, tmp_path / "second.zip")
    with zipfile.ZipFile(tmp_path / "second.zip") as archive:
        assert "first.zip" not in archive.namelist()
