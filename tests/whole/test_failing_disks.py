"""Calls to the system that fail, one by one: a short write, a full disk at the n-th byte, EIO
at fsync and rename, an interruption, a kill between two calls. No file is torn, no success is said
of a half, no two recipes are mixed, and a rerun ends bit for bit as if nothing had been.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from support.failing_disk import (
    GOOD,
    KINDS,
    OTHER,
    STEPS,
    FailingDisk,
    Stage,
    compiled_shim,
    contents,
    drawn_fault,
    faults_of,
    others,
    stages_of,
)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FailingDisk]:
    started = FailingDisk(compiled_shim(tmp_path_factory.mktemp("shim")))
    yield started
    started.close()


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory, disk: FailingDisk) -> Mapping[str, Stage]:
    return stages_of(tmp_path_factory.mktemp("stages"), disk)


def befall(stage: Stage, disk: FailingDisk, study: Path, *, kind: str, place: int) -> str:
    """Let a fault befall a step, then do it again on a good disk; return what is wrong, or ""."""
    shutil.copytree(stage.before, study, symlinks=True)
    before = contents(study)
    end = disk.run(stage.name, study, kind, place)
    wrong = faults_of(end, stage, study, before)
    again = disk.run(stage.name, study)
    done_already = "exists already" in again["said"]
    if not wrong and again["code"] != GOOD.get(stage.name, 0) and not done_already:
        wrong = f"the rerun ends with {again['code']}: {again['said'][-600:]}"
    if not wrong and (left := others(contents(study), stage.after)):
        wrong = f"after the rerun {left[:5]} are not as ever ({end['code']}: {end['said'][-300:]})"
    shutil.rmtree(study)
    return wrong and f"{stage.name}, {kind} at {place}: {wrong}"


def mix(stage: Stage, disk: FailingDisk, study: Path, *, kind: str, place: int) -> str:
    """After a step was done by its recipe, let a fault befall it by another one, and ask for the
    first again; return what is wrong, or "".
    """
    shutil.copytree(stage.before, study, symlinks=True)
    before = contents(study)
    disk.run(stage.name, study)
    mine = {n: h for n, h in contents(study).items() if before.get(n) != h}
    disk.run(stage.name, study, kind, place, *OTHER[stage.name])
    again = disk.run(stage.name, study)
    found = contents(study)
    wrong = "" if not again["code"] else f"the rerun ends with {again['code']}: {again['said']}"
    if left := others({name: found[name] for name in mine if name in found}, mine):
        wrong = f"{left[:5]} are not of the recipe that was asked for"
    shutil.rmtree(study)
    return wrong and f"{stage.name}, other recipe, {kind} at {place}: {wrong}"


def draw(
    stages: Mapping[str, Stage], disk: FailingDisk, folder: Path, *, count: int, seed: int
) -> list[str]:
    """Let so many faults befall the steps by turns, every sixth of them in another recipe."""
    rng, wrong = random.Random(seed), []
    for turn in range(count):
        name = list(STEPS)[turn % len(STEPS)]
        does = mix if name in OTHER and turn // len(STEPS) % 2 else befall
        kind, place = drawn_fault(stages[name], rng)
        wrong.append(does(stages[name], disk, folder / str(turn), kind=kind, place=place))
    return [f"seed {seed}: {one}" for one in wrong if one]


@pytest.mark.ci
@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_that_fails_while_scores_are_imported_is_said_and_leaves_the_old_or_the_new(
    stages, disk, tmp_path, kind
):
    middle = {"short": 1, "eintr": 2}.get(kind, 3)
    assert befall(stages["import"], disk, tmp_path / "s", kind=kind, place=middle) == ""


@pytest.mark.ci
def test_sixteen_faults_of_sixteen_kinds_tear_mix_and_lose_nothing(stages, disk, tmp_path):
    seed = int(os.environ.get("PATHOML_FAULTS_SEED", "1"))
    assert draw(stages, disk, tmp_path, count=16, seed=seed) == []


@pytest.mark.nightly
def test_350_faults_tear_mix_and_lose_nothing(stages, disk, tmp_path):
    count = int(os.environ.get("PATHOML_FAULTS", "350"))
    seed = int(os.environ.get("PATHOML_FAULTS_SEED", str(int(time.time()))))
    assert draw(stages, disk, tmp_path, count=count, seed=seed) == []
