"""A patient who withdraws is nowhere in the study afterwards, the others are, and what had learned
from them is listed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import zipfile
from pathlib import Path

import openpyxl
import pytest
from support.viewing import trained_study

from pathoml.cli import guarded, main
from pathoml.config import Study, load_study
from pathoml.store.packs import packed_files
from pathoml.store.readings import Reading, Readings
from pathoml.store.tables import read_table
from pathoml.store.withdrawal import plan_withdrawal, remove_rows, withdraw
from pathoml.tiling.quality import write_quality
from pathoml.tiling.step import sheet_is_behind

NAMES = (b"P1", b"S1", b"S1-met")


def pathoml(*arguments: str) -> int:
    return guarded(lambda: main(list(arguments)))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = trained_study(tmp_path_factory.mktemp("withdrawal") / "study")
    assert pathoml("lock", str(study.folder)) == 0
    readings = Readings(study.folder / "readings" / "readings.sqlite")
    for slide_id in ("S0", "S1"):
        readings.save(
            Reading(rater="KB", item=slide_id, slide_id=slide_id, name="necrosis", presence=4), ""
        )
    (study.folder / "slurm").mkdir()
    (study.folder / "slurm" / "tile_1.log").write_text("  FAILED S1: broken\n", encoding="utf-8")
    return study.folder


@pytest.fixture
def study(made: Path, tmp_path: Path) -> Study:
    shutil.copytree(made, tmp_path / "study")
    return load_study(tmp_path / "study")


def naming(folder: Path) -> set[str]:
    """Return the files that hold an id of the patient as a word, found by splitting into words,
    unlike the code under test.
    """
    found = set()
    for path in folder.rglob("*"):
        if path.is_file() and path.relative_to(folder).parts[0] != "slides":
            separated = bytes(
                c if chr(c).isascii() and (chr(c).isalnum() or c in b"_-") else 32
                for c in path.read_bytes()
            )
            if set(separated.split()) & set(NAMES) or path.stem.encode() in NAMES:
                found.add(str(path.relative_to(folder)))
    return found


def test_nothing_is_removed_until_it_is_confirmed(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {
        p: hashlib.sha256(p.read_bytes()).hexdigest()
        for p in study.folder.rglob("*")
        if p.is_file() and p.suffix != ".sqlite"
    }
    assert pathoml("withdraw", "P1", str(study.folder)) == 0
    said = capsys.readouterr().out
    assert "nothing was removed; add --confirm" in said
    assert "AFFECTED locked model locked: it learned from this patient and STAYS" in said
    assert said.count("yours to remove") == 2
    assert all(hashlib.sha256(p.read_bytes()).hexdigest() == digest for p, digest in before.items())


def test_after_a_withdrawal_no_file_names_the_patient_and_the_others_are_untouched(
    study: Study,
) -> None:
    assert len(naming(study.folder)) > 8
    slide = hashlib.sha256((study.folder / "slides" / "S1.tiff").read_bytes()).hexdigest()
    other = hashlib.sha256(
        (study.folder / "embeddings" / "efficientnet_lite0@128px_0.5mpp" / "S2.h5").read_bytes()
    ).hexdigest()
    assert pathoml("withdraw", "P1", str(study.folder), "--confirm", "--bundles") == 0
    assert naming(study.folder) == set()
    assert (
        hashlib.sha256((study.folder / "slides" / "S1.tiff").read_bytes()).hexdigest() == slide
    ), "slide files are the hospital's"
    assert (
        hashlib.sha256(
            (study.folder / "embeddings" / "efficientnet_lite0@128px_0.5mpp" / "S2.h5").read_bytes()
        ).hexdigest()
        == other
    )
    assert [row["patient_id"] for row in read_table(study.folder / "patients.csv").rows] == [
        "P0",
        "P2",
        "P3",
        "P4",
        "P5",
    ]
    readings = Readings(study.folder / "readings" / "readings.sqlite")
    assert [row["slide_id"] for row in readings.rows()] == ["S0"]
    assert readings.audit_rows()[-1]["action"] == "withdrawn"


def test_a_locked_model_that_stays_is_said_to_name_the_patient(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pathoml("withdraw", "P1", str(study.folder), "--confirm") == 1
    assert (
        "STILL NAMES the patient or a slide: bundles/locked/models/models.json"
        in capsys.readouterr().out
    )
    assert all(name.startswith("bundles/") for name in naming(study.folder))


def test_packed_embeddings_of_the_patient_go_too(study: Study) -> None:
    assert pathoml("pack", str(study.folder)) == 0
    folder = study.folder / "embeddings" / "efficientnet_lite0@128px_0.5mpp"
    assert "S1.h5" in packed_files(folder)
    assert pathoml("withdraw", "P1", str(study.folder), "--confirm", "--bundles") == 0
    assert naming(study.folder) == set()
    assert "S2.h5" in packed_files(folder)


def test_an_unknown_patient_is_refused(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    assert pathoml("withdraw", "P9", str(study.folder), "--confirm") == 2
    assert "Neither patients.csv nor slides.csv names patient 'P9'" in capsys.readouterr().err


def test_a_german_table_keeps_its_separator_its_letters_and_its_other_rows(tmp_path: Path) -> None:
    path = tmp_path / "patients.csv"
    path.write_bytes('patient_id;Größe;Notiz\r\nP1;3,5;x\r\nP10;4,5;"a;b"\r\n'.encode("cp1252"))
    remove_rows(path, "patient_id", ["P1"])
    assert path.read_bytes() == 'patient_id;Größe;Notiz\r\nP10;4,5;"a;b"\r\n'.encode("cp1252")


@pytest.mark.parametrize("codec", ["utf-8", "utf-16", "cp1252"])
@pytest.mark.parametrize("above", ["", "sep=;\n", "Größe 2024\n\n"])
@pytest.mark.parametrize("patient", ["=P001", "-P003", "'=Q", "00012", "1e5", "TRUE", "P1"])
def test_rows_go_by_the_id_as_it_is_read_whatever_it_begins_with(
    tmp_path: Path, patient: str, above: str, codec: str
) -> None:
    path, others = tmp_path / "patients.csv", ["=P00", "P003", "=Q", "12", "100000", "true", "P10"]
    lines = [f"{one};ü" for one in [*others, patient]]
    path.write_bytes((above + "\n".join(["patient_id;Notiz", *lines]) + "\n").encode(codec))
    remove_rows(path, "patient_id", [patient])
    kept = path.read_bytes().decode(codec)
    assert kept == above + "\n".join(["patient_id;Notiz", *lines[:-1]]) + "\n"


def test_whoever_calls_withdraw_the_readings_of_the_patient_are_forgotten(study: Study) -> None:
    withdraw(study, plan_withdrawal(study, "P1"), bundles_too=True)
    readings = Readings(study.folder / "readings" / "readings.sqlite")
    assert [row["slide_id"] for row in readings.rows()] == ["S0"]
    assert [row["slide_id"] for row in readings.audit_rows()] == ["S0", ""]
    assert readings.audit_rows()[-1]["action"] == "withdrawn"


def test_a_study_that_nobody_read_gets_no_file_of_readings(study: Study) -> None:
    shutil.rmtree(study.folder / "readings")
    withdraw(study, plan_withdrawal(study, "P1"), bundles_too=True)
    assert not (study.folder / "readings").exists()


def test_the_sheet_of_the_tiles_loses_the_patient_and_is_drawn_anew_by_tile(study: Study) -> None:
    grid = study.folder / "tiles" / "128px_0.5mpp"
    write_quality(grid, {})
    withdraw(study, plan_withdrawal(study, "P1"), bundles_too=True)
    assert [row["slide_id"] for row in read_table(grid / "quality.csv").rows] == [
        "S0-met",
        "S0",
        "S2",
        "S3",
        "S4",
        "S5",
    ]
    assert sheet_is_behind(grid)


def test_a_slide_that_failed_and_left_no_file_is_taken_off_the_list_of_failures(
    study: Study,
) -> None:
    for folder in (
        study.folder / "tiles" / "128px_0.5mpp",
        study.folder / "embeddings" / "efficientnet_lite0@128px_0.5mpp",
    ):
        (folder / "failures.csv").write_text(
            "slide_id,reason\nS1,broken\nS1-met,broken\nS2,broken\n", encoding="utf-8"
        )
        for name in ("S1.h5", "S1-met.h5"):
            (folder / name).unlink()
    assert pathoml("withdraw", "P1", str(study.folder), "--confirm", "--bundles") == 0
    assert naming(study.folder) == set()


def add_readings_of_a_sheet(study: Study) -> Path:
    """Write a naming sheet of two slides on which somebody has rated both, twice."""
    sheet = study.run_folder / "features" / "naming_sheet"
    sheet.mkdir(parents=True)
    (sheet / "key.csv").write_text("item,slide_id,phenotype\niaa,S1,0\nibb,S2,0\n")
    (sheet / "index.html").write_text("<p>iaa ibb")
    (sheet / "ratings_rater1.csv").write_text(
        "rater,phenotype,item,name,presence,repeat,note,read_at\n"
        "rater1,0,iaa,necrosis,4,0,,\nrater1,0,ibb,necrosis,2,0,,\n"
    )
    return sheet


def test_what_raters_said_of_others_stays_and_of_the_patient_goes(study: Study) -> None:
    sheet = add_readings_of_a_sheet(study)
    assert pathoml("withdraw", "P1", str(study.folder), "--confirm", "--bundles") == 0
    assert [row["item"] for row in read_table(sheet / "ratings_rater1.csv").rows] == ["ibb"]
    assert [row["item"] for row in read_table(sheet / "key.csv").rows] == ["ibb"]
    assert not (sheet / "index.html").exists()
    assert not (study.run_folder / "scores.csv").exists()


def test_two_who_withdraw_one_after_the_other_leave_what_was_said_of_others(study: Study) -> None:
    sheet = add_readings_of_a_sheet(study)
    for patient in ("P1", "P2"):
        assert pathoml("withdraw", patient, str(study.folder), "--confirm", "--bundles") == 0
    assert read_table(sheet / "ratings_rater1.csv").rows == ()


def test_several_withdraw_at_once(study: Study) -> None:
    assert pathoml("withdraw", "P1", "P3", str(study.folder), "--confirm", "--bundles") == 0
    left = {row["patient_id"] for row in read_table(study.folder / "slides.csv").rows}
    assert left == {"P0", "P2", "P4", "P5"}


def test_a_run_that_names_others_by_the_same_number_stays_and_so_do_its_notes(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("patients.csv", "slides.csv"):
        path = study.folder / name
        path.write_text(path.read_text().replace(",P", ",").replace("\nP", "\n"))
    other = study.runs_folder / "other"
    other.mkdir()
    (other / "scores.csv").write_text("patient_id,log_risk,fold\n99,0.25,1\n")
    (other / "log.csv").write_text("model,epoch,loss\n1,1,0.1\n")
    (other / "note.txt").write_text("1 of 5 folds\n")
    assert pathoml("withdraw", "1", str(study.folder), "--confirm", "--bundles") == 0
    assert (other / "log.csv").exists()
    assert "STILL NAMES" not in capsys.readouterr().out


def test_what_people_made_is_listed_before_and_stays(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    (study.folder / "old").mkdir()
    (study.folder / "old" / "patients_2023.csv").write_text("patient_id;age\nP1;50\n")
    (study.run_folder / "notes.md").write_text("P1 looks odd\n")
    (study.run_folder / "ours.md").write_text("all look odd\n")
    assert pathoml("withdraw", "P1", str(study.folder)) == 0
    said = capsys.readouterr().out
    assert "not touched, yours to remove: old/patients_2023.csv" in said
    assert pathoml("withdraw", "P1", str(study.folder), "--confirm", "--bundles") == 1
    said = capsys.readouterr().out
    assert "STILL NAMES the patient or a slide: old/patients_2023.csv" in said
    assert "STILL NAMES the patient or a slide: runs/main/notes.md" in said
    assert sorted(p.name for p in study.run_folder.iterdir()) == ["notes.md", "ours.md"]


def test_a_copy_of_the_viewer_goes(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    copy = study.folder / "for Anna"
    assert pathoml("view", str(study.folder), "--static", str(copy)) == 0
    assert pathoml("withdraw", "P1", str(study.folder), "--confirm", "--bundles") == 0
    assert "the copy for Anna" in capsys.readouterr().out
    assert not copy.exists()


def test_a_copy_of_a_pack_loses_the_slide_too(study: Study) -> None:
    assert pathoml("pack", str(study.folder)) == 0
    folder = study.folder / "embeddings" / "efficientnet_lite0@128px_0.5mpp"
    shutil.copy(folder / "pack-00001.zip", folder / "pack-00001 (1).zip")
    assert pathoml("withdraw", "P1", str(study.folder), "--confirm", "--bundles") == 0
    for pack in folder.glob("*.zip"):
        with zipfile.ZipFile(pack) as archive:
            assert "S1.h5" not in archive.namelist()
            assert "S2.h5" in archive.namelist()


def test_stray_files_and_links_neither_end_a_withdrawal_nor_are_followed_astray(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hospital, away = tmp_path / "hospital", tmp_path / "scratch"
    hospital.mkdir()
    (hospital / "P1.csv").write_text("patient_id\nP1\n")
    (study.folder / "all of them").symlink_to(hospital)
    for name in ("tiles/.DS_Store", "embeddings/Thumbs.db", "runs/.DS_Store", ".DS_Store"):
        (study.folder / name).write_bytes(b"\0\1x")
    (study.folder / "tiles" / "empty").mkdir()
    shutil.move(study.run_folder, away)
    (away / "theirs").symlink_to(hospital)
    study.run_folder.symlink_to(away)
    (study.folder / "bundles" / "loop").symlink_to(study.folder)
    assert pathoml("withdraw", "P1", str(study.folder), "--confirm", "--bundles") == 0
    assert (hospital / "P1.csv").exists(), "what is not the study's is not touched"
    assert not study.run_folder.is_symlink()
    assert not away.exists()
    assert "NOT SEARCHED all of them: a link to" in capsys.readouterr().out


def test_a_disk_that_is_away_is_said_and_the_withdrawal_is_not_called_complete(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    (study.runs_folder / "old").symlink_to(study.folder / "nowhere")
    assert pathoml("withdraw", "P1", str(study.folder), "--confirm", "--bundles") == 1
    assert "NOT SEARCHED runs/old: a link that leads nowhere" in capsys.readouterr().out
    assert (study.runs_folder / "old").is_symlink()


def test_a_patient_whom_only_the_runs_know_any_more(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("patients.csv", "slides.csv"):
        remove_rows(study.folder / name, "patient_id", ["P1"])
    assert pathoml("withdraw", "P1", str(study.folder), "--confirm", "--bundles") == 0
    said = capsys.readouterr().out
    assert "slides.csv does not say whose these slides were: S1, S1-met" in said
    assert not study.run_folder.exists()
    words = ["--slide", "S1", "--slide", "S1-met", "--confirm"]
    assert pathoml("withdraw", *words, str(study.folder)) == 0
    assert naming(study.folder) == set()


def test_a_patient_without_slides(study: Study) -> None:
    with (study.folder / "patients.csv").open("a") as file:
        file.write("P7,north,9,1\n")
    assert pathoml("withdraw", "P7", str(study.folder), "--confirm") == 0
    assert "P7" not in (study.folder / "patients.csv").read_text()
    assert (study.run_folder / "scores.csv").exists(), "no model learned from them"


def test_tables_that_are_workbooks(study: Study) -> None:
    for stem in ("patients", "slides"):
        rows = read_table(study.folder / f"{stem}.csv").rows
        book = openpyxl.Workbook()
        book.active.append(list(rows[0]))
        for row in rows:
            book.active.append(list(row.values()))
        book.save(study.folder / f"{stem}.xlsx")
        (study.folder / f"{stem}.csv").unlink()
    assert pathoml("withdraw", "P1", str(study.folder), "--confirm", "--bundles") == 0
    assert len(read_table(study.folder / "slides.xlsx").rows) == 6
    assert len(read_table(study.folder / "patients.xlsx").rows) == 5


def test_a_second_time_the_patient_is_not_known(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pathoml("withdraw", "P1", str(study.folder), "--confirm", "--bundles") == 0
    assert pathoml("withdraw", "P1", str(study.folder), "--confirm", "--bundles") == 2
    assert "nor does any other file of the study" in capsys.readouterr().err


def everything(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith("readings.sqlite")
    }


def killed_at_change(folder: Path, number: int) -> bool:
    """Withdraw P1 in a child that is killed before the given change of the disk; return whether it
    came so far.
    """
    child = os.fork()
    if child == 0:
        changes = iter(range(10**6))

        def before(change):
            def wrapped(*arguments, **named):
                if next(changes) == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                return change(*arguments, **named)

            return wrapped

        for name in ("unlink", "remove", "rmdir", "replace"):
            setattr(os, name, before(getattr(os, name)))
        withdraw(load_study(folder), plan_withdrawal(load_study(folder), "P1"), bundles_too=True)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def test_killed_at_any_change_it_is_finished_by_the_next_one(study: Study, tmp_path: Path) -> None:
    add_readings_of_a_sheet(study)
    shutil.copytree(study.folder, tmp_path / "whole")
    whole = load_study(tmp_path / "whole")
    withdraw(whole, plan_withdrawal(whole, "P1"), bundles_too=True)
    number, wanted = 0, everything(whole.folder)
    again = tmp_path / "again"
    while True:
        shutil.rmtree(again, ignore_errors=True)
        shutil.copytree(study.folder, again)
        if not killed_at_change(again, number):
            break
        half = load_study(again)
        withdraw(half, plan_withdrawal(half, "P1"), bundles_too=True)
        assert everything(again) == wanted, f"killed before change {number}"
        number += 1 if number < 9 else 17
    assert number > 30


def test_until_it_is_finished_nobody_learns_from_the_patient(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = study.folder / ".withdrawing.json"
    journal.write_text('{"patients": ["P1"], "slides": ["S1", "S1-met"]}')
    assert pathoml("train", str(study.folder), "--set", "splits.seed=2") == 2
    assert "A withdrawal was interrupted, and slides.csv still names" in capsys.readouterr().err
    assert pathoml("withdraw", str(study.folder), "--confirm", "--bundles") == 0
    assert "the withdrawal of P1, which was interrupted" in capsys.readouterr().out
    assert not journal.exists()
    assert naming(study.folder) == set()


def test_a_file_that_cannot_be_removed_is_said_and_the_rest_goes(
    study: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if path.name == "S1.h5" and path.parent.parent.name == "tiles":
            raise PermissionError(13, "Permission denied")
        real(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    assert pathoml("withdraw", "P1", str(study.folder), "--confirm", "--bundles") == 1
    said = capsys.readouterr().out
    assert "FAILED tiles/128px_0.5mpp/S1.h5 could not be removed: Permission denied" in said
    assert not study.run_folder.exists()
    monkeypatch.setattr(Path, "unlink", real)
    assert pathoml("withdraw", str(study.folder), "--confirm", "--bundles") == 0
    assert naming(study.folder) == set()


def test_ids_of_slides_that_begin_alike_are_told_apart(study: Study) -> None:
    """S0 is P0's, as S0-met is; a slide of P2 is called S0.2 now."""
    for folder in (study.all_tiles / "128px_0.5mpp", study.all_embeddings):
        for path in sorted(folder.rglob("S2.*")):
            path.rename(path.with_name(path.name.replace("S2.", "S0.2.")))
    table = study.folder / "slides.csv"
    table.write_text(table.read_text().replace("S2,P2", "S0.2,P2"))
    withdraw(study, plan_withdrawal(study, "P0"), bundles_too=True)
    left = {path.name for path in study.all_embeddings.rglob("*.h5")}
    assert "S0.2.h5" in left
    assert not left & {"S0.h5", "S0-met.h5"}
