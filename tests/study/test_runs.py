"""The runs of a study are listed, and one that nobody rests on is deleted, but for what people
wrote.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pathoml.cli import guarded, main
from pathoml.config import Study, load_study
from pathoml.errors import StoreError
from pathoml.store.published import publish
from pathoml.study.runs import delete_run, runs_of

STUDY_YAML = "endpoint: {name: e, time_zero: z, time: t, event: e}\n"


@pytest.fixture
def study(tmp_path: Path) -> Study:
    (tmp_path / "study.yaml").write_text(STUDY_YAML)
    for run in ("main", "other"):
        features = tmp_path / "runs" / run / "features" / "naming_sheet"
        features.mkdir(parents=True)
        (tmp_path / "runs" / run / "provenance.json").write_text(
            json.dumps({"steps": {"train": {"recipe_sha256": run}}})
        )
        (tmp_path / "runs" / run / "scores.csv").write_text("patient_id\nP1\n" * 100_000)
        (features / "key.csv").write_text("item,slide_id,phenotype\niaa,S1,0\n")
        (features / "index.html").write_text("<p>iaa")
    (tmp_path / "runs" / "ledger.csv").write_text("family,hypothesis,run\n")
    (tmp_path / "runs" / "ideas").mkdir()
    return load_study(tmp_path)


def rate(study: Study, run: str) -> Path:
    path = study.runs_folder / run / "features" / "naming_sheet" / "ratings_rater1.csv"
    path.write_text(
        "rater,phenotype,item,name,presence,repeat,note,read_at\nrater1,0,iaa,necrosis,4,0,,\n"
    )
    return path


def test_every_run_is_listed_with_its_steps_and_size(study: Study) -> None:
    found = runs_of(study)
    assert [one.name for one in found] == ["main", "other"]
    assert found[0].steps == ("train",)
    assert found[0].size_bytes > 10**6


def test_a_run_is_deleted_and_the_others_stay(study: Study) -> None:
    assert delete_run(study, "other") == []
    assert [one.name for one in runs_of(study)] == ["main"]
    assert not (study.runs_folder / "other").exists()


def test_what_raters_wrote_stays_with_its_key(study: Study) -> None:
    path = rate(study, "other")
    (study.runs_folder / "other" / "notes.md").write_text("ours")
    delete_run(study, "other")
    left = [one for one in (study.runs_folder / "other").rglob("*") if one.is_file()]
    assert sorted(one.name for one in left) == [
        "key.csv",
        "notes.md",
        "ratings_rater1.csv",
        "sheet.json",
    ]
    assert "necrosis" in path.read_text()


def test_a_published_run_is_not_deleted(study: Study) -> None:
    publish(study.runs_folder / "main")
    with pytest.raises(StoreError, match=r"is not deleted\. If it may go, say so first"):
        delete_run(study, "main")


@pytest.mark.parametrize("name", ["mian", "..", "ideas", "../runs/main", "ledger.csv", ""])
def test_what_is_no_run_is_not_deleted(study: Study, name: str) -> None:
    with pytest.raises(StoreError, match=r"has no run .*; it has main, other"):
        delete_run(study, name)


def test_the_verb_asks_before_it_deletes(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    rate(study, "other")
    words = ["runs", str(study.folder), "--delete", "other"]
    assert guarded(lambda: main(words)) == 0
    said = capsys.readouterr().out
    assert "nothing was deleted; add --confirm" in said
    assert "KEPT runs/other/features/naming_sheet/ratings_rater1.csv" in said
    assert (study.runs_folder / "other" / "scores.csv").exists()
    assert guarded(lambda: main([*words, "--confirm"])) == 0
    assert not (study.runs_folder / "other" / "scores.csv").exists()


def test_the_verb_marks_and_lists_what_is_published(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    assert guarded(lambda: main(["runs", str(study.folder), "--publish", "main"])) == 0
    assert guarded(lambda: main(["runs", str(study.folder)])) == 0
    said = capsys.readouterr().out
    assert "marked as published on" in said
    assert "only a published run is protected" in said
    assert guarded(lambda: main(["runs", str(study.folder), "--unpublish", "main"])) == 0
    assert guarded(lambda: main(["runs", str(study.folder), "--publish", "x"])) == 2
