"""A study that a landed version made is opened, made anew, or refused by a sentence; what people
wrote is as it was.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import zipfile
from pathlib import Path

import pytest

from pathoml.bundles.opening import open_bundle
from pathoml.cli import guarded, main
from pathoml.config import load_study
from pathoml.store.embeddings import read_embeddings
from pathoml.store.maps import read_assignments, read_attention
from pathoml.store.packs import stored_paths
from pathoml.store.published import published_by
from pathoml.store.ratings import naming_sheets
from pathoml.store.readings import Readings
from pathoml.store.scores import read_scores
from pathoml.store.tables import read_table
from pathoml.store.tiles import read_tiles

LANDED = sorted((Path(__file__).parents[1] / "support" / "landed").glob("*.zip"))
BY_PEOPLE = ("bundles/", "readings/", "runs/main/features/naming_sheet/ratings_rater1.csv")


@pytest.fixture(params=LANDED, ids=lambda path: path.stem)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    with zipfile.ZipFile(request.param) as archive:
        archive.extractall(tmp_path / "study")
    return tmp_path / "study"


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def by_people(folder: Path) -> dict[str, str]:
    return {name: one for name, one in hashes(folder).items() if name.startswith(BY_PEOPLE)}


def pathoml(*words: object) -> int:
    return guarded(lambda: main([str(word) for word in words]))


def test_there_is_a_study_of_every_form_that_landed() -> None:
    assert LANDED
    assert all(path.stat().st_size < 400_000 for path in LANDED)


def test_every_file_of_it_can_be_read(old: Path) -> None:
    study = load_study(old)
    [encoding] = study.all_embeddings.iterdir()
    [grid] = study.all_tiles.iterdir()
    assert len([read_embeddings(path) for path in stored_paths(encoding)]) == 8
    assert len([read_tiles(path) for path in sorted(grid.glob("*.h5"))]) == 8
    assert len(read_scores(study.run_folder).score_type) == 8
    maps = sorted((study.run_folder / "attention").glob("*.h5"))
    assert len([read_attention(path) for path in maps]) == 8
    assigned = sorted((study.run_folder / "features" / "assignments").glob("*.h5"))
    assert len([read_assignments(path) for path in assigned]) == 8
    assert len(Readings(study.readings_file).rows()) == 1
    assert open_bundle(old / "bundles" / "locked")["name"] == "locked"
    [sheet] = naming_sheets(study.run_folder / "features")
    assert re.fullmatch("[0-9a-f]{8}", sheet.codebook)
    assert sheet.is_used()


def test_status_says_what_is_to_do_again_and_changes_nothing(
    old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = hashes(old / "runs")
    assert pathoml("status", old) in (0, 1)
    assert "is to do again" in capsys.readouterr().out
    assert hashes(old / "runs") == before


@pytest.mark.parametrize(
    "words",
    [
        ("view", "STUDY", "--static", "NEW"),
        ("export", "STUDY", "--to", "qupath", "--out", "NEW"),
        ("export", "STUDY", "--to", "figures", "--out", "NEW"),
        ("predict", "STUDY", "--bundle", "BUNDLE"),
        ("explain", "STUDY"),
        ("report", "STUDY"),
        ("lock", "STUDY", "--name", "second"),
        ("discover", "STUDY", "--labels", "RATINGS"),
        ("check", "STUDY"),
        ("runs", "STUDY"),
    ],
    ids=lambda words: words[0] + words[3] if words[0] == "export" else words[0],
)
def test_each_verb_does_its_work_or_says_a_sentence(
    old: Path, tmp_path: Path, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    places = {
        "STUDY": old,
        "NEW": tmp_path / "new",
        "BUNDLE": old / "bundles" / "locked",
        "RATINGS": old / "runs/main/features/naming_sheet/ratings_rater1.csv",
    }
    before = by_people(old)
    code = pathoml(*(places.get(word, word) for word in words))
    said = capsys.readouterr()
    assert code in (0, 1, 2), said.err
    assert code == 0 or re.search(r"[a-z`]\.$", (said.err or said.out).strip()), "a sentence"
    kept = by_people(old)
    assert {name: kept.get(name) for name in before if "sqlite" not in name} == {
        name: one for name, one in before.items() if "sqlite" not in name
    }


def test_the_run_that_was_locked_stays_and_the_way_to_another_is_said(
    old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert published_by(old / "runs" / "main") == "bundles/locked was locked from it"
    before = hashes(old / "runs" / "main")
    assert pathoml("run", old) == 2
    assert "--set run=main-2" in capsys.readouterr().err
    assert hashes(old / "runs" / "main") == before


def test_what_is_made_anew_keeps_what_raters_wrote_with_its_codebook(old: Path) -> None:
    before = by_people(old)
    [sheet] = naming_sheets(old / "runs" / "main" / "features")
    assert pathoml("run", old, "--replace") == 0
    now = by_people(old)
    assert {name for name in before if before[name] != now.get(name)} <= {
        name for name in before if "sqlite" in name
    }
    sheets = naming_sheets(old / "runs" / "main" / "features")
    assert [one.folder.name for one in sheets] == ["naming_sheet", "naming_sheet-2"]
    assert sheets[0].codebook == sheet.codebook
    assert sheets[0].slide_of == sheet.slide_of
    rated = old / "runs/main/features/naming_sheet/ratings_rater1.csv"
    assert pathoml("discover", old, "--labels", rated) == 0
    labels = (old / "runs" / "main" / "features" / "labels.json").read_text()
    assert f"of codebook {sheet.codebook}" in labels


def test_a_patient_withdraws_from_it(old: Path) -> None:
    assert pathoml("withdraw", "P1", old, "--confirm", "--bundles") == 0
    assert "P1" not in [row["patient_id"] for row in read_table(old / "patients.csv").rows]
    assert not (old / "runs" / "main" / "scores.csv").exists()
    assert (old / "runs/main/features/naming_sheet/ratings_rater1.csv").is_file()


def test_it_is_backed_up_and_comes_back(old: Path, tmp_path: Path) -> None:
    assert pathoml("backup", tmp_path / "old.zip", old, "--embeddings") == 0
    assert pathoml("restore", tmp_path / "old.zip", tmp_path / "again") == 0
    shutil.rmtree(old / "slides")
    assert hashes(old).keys() ^ hashes(tmp_path / "again").keys() <= {
        "readings/readings.sqlite-shm",
        "readings/readings.sqlite-wal",
        "logs/pathoml.log",
    }
