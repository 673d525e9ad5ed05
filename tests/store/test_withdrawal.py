"""A patient who withdraws is nowhere in the study afterwards, the others are, and what had learned
from them is listed.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

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
