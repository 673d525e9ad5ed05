"""A run that something rests on is not written over; any other is, as often as somebody likes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pathoml.errors import StoreError
from pathoml.store.published import free_name, give_up_published, publish, published_by
from pathoml.store.publishing import Outputs, publishing, withdraw_outputs
from pathoml.types import Recipe

OUTPUTS = Outputs(always=("scores.csv",), globs=("scores.csv",))


def train(run: Path, seed: int) -> None:
    """Do a step of a run as `train` does, with a recipe of its own."""
    recipe = Recipe(step="train", inputs={"seed": seed})
    with publishing(run, recipe, OUTPUTS) as out:
        (out.folder / "scores.csv").write_text(f"seed {seed}\n")


def lock(run: Path, name: str, *, says_run: bool = True) -> Path:
    """Write what says of a bundle from which run it was locked."""
    trained = json.loads((run / "provenance.json").read_text())["steps"]["train"]["recipe_sha256"]
    path = run.parent.parent / "bundles" / name / "bundle.json"
    path.parent.mkdir(parents=True)
    of = {"run": run.name} if says_run else {}
    path.write_text(json.dumps({"train_recipe_sha256": trained, **of}))
    return path.parent


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "main"
    folder.mkdir(parents=True)
    train(folder, 1)
    return folder


def test_who_only_iterates_writes_over_a_run_again_and_again(run: Path) -> None:
    for seed in (2, 3):
        train(run, seed)
    assert (run / "scores.csv").read_text() == "seed 3\n"


@pytest.mark.parametrize("says_run", [True, False])
def test_a_run_from_which_a_bundle_was_locked_stays_as_it_is(run: Path, says_run: bool) -> None:
    lock(run, "first", says_run=says_run)
    with pytest.raises(StoreError, match=r"runs/main is published \(bundles/first was locked"):
        train(run, 2)
    with pytest.raises(StoreError, match="--set run=main-2"):
        withdraw_outputs(run, "train", OUTPUTS)
    assert (run / "scores.csv").read_text() == "seed 1\n"


def test_a_run_that_is_marked_stays_until_that_is_given_up(run: Path) -> None:
    publish(run)
    with pytest.raises(StoreError, match="marked as published on 20"):
        train(run, 2)
    give_up_published(run)
    train(run, 2)
    assert (run / "scores.csv").read_text() == "seed 2\n"


def test_what_was_given_up_is_published_by_the_next_bundle(run: Path) -> None:
    lock(run, "first")
    give_up_published(run)
    assert not published_by(run)
    lock(run, "second")
    assert published_by(run) == "bundles/second was locked from it"


def test_a_step_that_was_not_done_yet_may_be_added(run: Path) -> None:
    lock(run, "first")
    recipe = Recipe(step="evaluate", inputs={})
    with publishing(run, recipe, Outputs(always=("m",), globs=("m",))) as out:
        (out.folder / "m").touch()
    assert (run / "m").exists()


def test_a_bundle_that_is_gone_or_of_another_training_protects_nothing(run: Path) -> None:
    bundle = lock(run, "first")
    shutil.rmtree(bundle)
    train(run, 2)
    lock(run, "second")
    give_up_published(run)
    train(run, 3)
    (run / "published.json").unlink()
    assert not published_by(run), "the bundle is of seed 2"


def test_a_copy_of_a_published_run_is_a_run_of_its_own(run: Path) -> None:
    lock(run, "first")
    publish(run)
    shutil.copytree(run, run.with_name("tried"))
    assert not published_by(run.with_name("tried"))


def test_a_torn_bundle_does_not_end_an_ordinary_run(run: Path) -> None:
    (lock(run, "first") / "bundle.json").write_text("{")
    train(run, 2)
    assert (run / "scores.csv").read_text() == "seed 2\n"


def test_the_next_name_is_free(run: Path) -> None:
    assert free_name(run.parent, "main") == "main-2"
    (run.parent / "main-2").mkdir()
    assert free_name(run.parent, "main-2") == "main-3"
