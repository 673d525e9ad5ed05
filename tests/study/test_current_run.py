"""What an earlier state of a run left is not found by who shows or exports the run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pathoml.config import Study, load_study
from pathoml.errors import StoreError
from pathoml.store import publishing as module
from pathoml.store.files import sha256_of_file
from pathoml.store.publishing import Outputs, publishing
from pathoml.study.current_run import current_run, outdated, refuse_unfinished
from pathoml.types import Recipe

GLOBS = {
    "train": ("models/models.json", "scores.csv"),
    "explain": ("attention/*.h5", "faithfulness.json"),
    "discover": ("features/phenotypes.csv", "features/codebook.json"),
    "labels": ("features/labels.json",),
}
MODELS = ("models/models.json", "scores.csv")


@pytest.fixture
def study(tmp_path: Path) -> Study:
    endpoint = "{name: PFS, time_zero: surgery, time: months, event: event}"
    (tmp_path / "study.yaml").write_text(f"encoder: uni\nendpoint: {endpoint}\n")
    (tmp_path / "slides.csv").write_text("slide_id,patient_id,path\nS1,P1,\nS2,P2,\n")
    study = load_study(tmp_path)
    train(study, "old")
    publish(study, "explain", ("attention/S1.h5", "attention/S2.h5", "faithfulness.json"), MODELS)
    publish(study, "discover", ("features/phenotypes.csv", "features/codebook.json"), MODELS)
    publish(study, "labels", ("features/labels.json",), ("features/codebook.json",))
    return study


def publish(study: Study, step: str, names, rests_on=(), text: str = "") -> None:
    inputs = {name: sha256_of_file(study.run_folder / name) for name in rests_on}
    recipe = Recipe(step=step, inputs={**inputs, "text": text})
    with publishing(study.run_folder, recipe, Outputs(always=(), globs=GLOBS[step])) as out:
        for name in names:
            (out.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (out.folder / name).write_text(text or name)


def train(study: Study, text: str) -> None:
    publish(study, "train", MODELS, text=text)


def names(study: Study) -> list[str]:
    return [path.name for path in current_run(study).maps()]


def test_a_run_whose_steps_stand_on_one_another_is_found_whole(study):
    run = current_run(study)
    assert run.outdated == {}
    assert names(study) == ["S1.h5", "S2.h5"]
    assert run.phenotypes.exists()
    assert run.labels.exists()
    assert run.faithfulness.exists()


def test_maps_and_phenotypes_of_models_that_are_gone_are_not_found_until_these_are_back(study):
    train(study, "new")
    run = current_run(study)
    assert names(study) == []
    assert not any(p.exists() for p in (run.phenotypes, run.labels, run.faithfulness))
    assert run.map_of("S1").exists() is False
    assert run.outdated["explain"] == (
        "The maps rest on what the run had before: models/models.json, scores.csv changed since."
        " Run `pathoml explain`."
    )
    train(study, "old")
    assert current_run(study).outdated == {}


def test_readings_of_other_phenotypes_are_not_found(study):
    again = ("features/phenotypes.csv", "features/codebook.json")
    publish(study, "discover", again, MODELS, text="other phenotypes")
    run = current_run(study)
    assert run.phenotypes.exists()
    assert not run.labels.exists()
    assert "features/codebook.json changed since" in run.outdated["labels"]


def test_maps_of_slides_that_were_taken_out_or_came_from_elsewhere_are_not_found(study):
    (study.folder / "slides.csv").write_text("slide_id,patient_id,path\nS2,P2,\nS3,P3,\n")
    (study.run_folder / "attention/S3.h5").write_text("of another run")
    assert names(study) == ["S2.h5"]


def test_what_nobody_recorded_is_shown_as_it_lies_there(study):
    (study.run_folder / "provenance.json").unlink()
    assert current_run(study).outdated == {}
    assert names(study) == ["S1.h5", "S2.h5"]


def stopped(study: Study, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop a step when the first of its files is to get its place."""

    def stop(source, target):
        if module.STAGING in str(source):
            raise KeyboardInterrupt
        replace(source, target)

    replace = os.replace
    with monkeypatch.context() as patched:
        patched.setattr(module.os, "replace", stop)
        with pytest.raises(KeyboardInterrupt):
            publish(study, step, GLOBS[step], text="new")


def test_of_a_step_that_was_stopped_while_files_changed_places_nothing_is_found(study, monkeypatch):
    stopped(study, "labels", monkeypatch)
    assert "were changing places when pathoml was stopped" in outdated(study.run_folder, "labels")
    refuse_unfinished(study)  # the scores stand
    stopped(study, "train", monkeypatch)
    with pytest.raises(StoreError, match="`pathoml train` was stopped while files"):
        refuse_unfinished(study)
