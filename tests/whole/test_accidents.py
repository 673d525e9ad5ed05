"""Killed, out of disk or memory, or shut out at any moment: no file is torn, none is twice, and a
rerun ends as if nothing had been.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pathoml.synthetic.cohort import write_cohort

STEPS = (("tile",), ("embed",), ("train",), ("explain",), ("lock",))
TIMES = {
    "provenance.json",
    "scores.sav",
    "scores.dta",
    "events.out.tfevents.pathoml",
}  # hold the hour at which they were written
SUMMARIES = {"failures.csv", "quality.csv", "index.html"}  # of all slides, failed ones too
SETTINGS = {
    "splits": {"folds": 2, "repeats": 1},
    "train": {"epochs": 2, "seeds": 1, "projection": 8, "hidden": 8, "nested": False},
    "significance": {"permutations": 1, "bootstraps": 200},
    "compute": {"workers": 1, "deterministic": True, "device": "cpu"},
}


class Zygote:
    """Runs `pathoml` in forked children and lets something befall them."""

    def __init__(self) -> None:
        one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        environment = {**os.environ, **one, "PYTHONPATH": str(Path(__file__).parents[2])}
        command = [sys.executable, str(Path(__file__).parents[1] / "support" / "zygote.py")]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def run(self, step: tuple[str, ...], study: Path, **accident: object) -> dict:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"arguments": [*step, str(study)], **accident}) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    started = Zygote()
    yield started
    started.close()


@pytest.fixture(scope="module")
def stages(
    tmp_path_factory: pytest.TempPathFactory, zygote: Zygote
) -> list[tuple[Path, dict[str, str], float]]:
    """The study before each step, the files as they are after it, and how long it took."""
    folder = tmp_path_factory.mktemp("stages")
    study = folder / "study"
    write_cohort(study, patients=9, seed=4, workers=1, side_um=420.0, textures=1, settings=SETTINGS)
    found = []
    for step in STEPS:
        shutil.copytree(study, folder / f"before-{step[0]}", symlinks=True)
        done = zygote.run(step, study)
        assert done["code"] == 0, done["said"]
        found.append((folder / f"before-{step[0]}", contents(study), done["seconds"]))
    return found


def contents(study: Path) -> dict[str, str]:
    """Return relative name -> hash of every file that a step wrote."""
    files = [
        path
        for part in ("tiles", "embeddings", "runs", "bundles")
        for path in (study / part).rglob("*")
        if path.is_file()
    ]
    return {str(p.relative_to(study)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def assert_nothing_torn(
    study: Path, after: dict[str, str], before: dict[str, str], what: str
) -> None:
    """Every file that is there is as it was before the step, or as it is after it; temporaries, and
    what a step has written so far, are hidden.
    """
    for name, digest in contents(study).items():
        if any(part.startswith(".") for part in Path(name).parts):  # not yet of the study
            continue
        if Path(name).name in TIMES:
            if name.endswith(".json"):
                json.loads((study / name).read_text(encoding="utf-8"))
            continue
        if (
            Path(name).name in SUMMARIES
        ):  # a slide that could not be written is in them, and in no other
            text = (study / name).read_text(encoding="utf-8")
            assert text.endswith("</html>\n" if name.endswith(".html") else "\n"), (
                f"{what}: {name} is torn"
            )
            continue
        assert digest in {after.get(name), before.get(name)}, (
            f"{what}: {name} is neither the old nor the new file"
        )


def assert_ends_well(
    study: Path, step: tuple[str, ...], after: dict[str, str], zygote: Zygote, what: str
) -> None:
    done = zygote.run(step, study)
    locked_already = "exists already" in done["said"]  # the accident came after the last file
    assert done["code"] == 0 or locked_already, f"{what}, then again: {done['said']}"
    found = contents(study)
    same = {name for name in after if Path(name).name not in TIMES}
    assert {name: found.get(name) for name in same} == {name: after[name] for name in same}, what
    assert found.keys() == after.keys(), f"{what}: {sorted(found.keys() ^ after.keys())}"


def befall(rng: random.Random, step_seconds: float) -> dict:
    """Draw an accident: mostly kills, some full disks, some too little memory."""
    kind = rng.random()
    if kind < 0.7:
        return {
            "after": rng.uniform(0.0, 1.1 * step_seconds),
            "signal": rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]),
        }
    if kind < 0.9:
        return {"file_bytes": int(2 ** rng.uniform(0, 17))}
    return {"memory_bytes": int(rng.uniform(1.0, 6.0) * 2**30)}


def accidents(stages: list, zygote: Zygote, tmp_path: Path, count: int, seed: int) -> int:
    """Let accidents befall the steps by turns, up to four in a row, each time looking at every
    file; return how many.
    """
    rng, met, turn = random.Random(seed), 0, 0
    while met < count:
        place = turn % len(STEPS)
        (before_folder, after, seconds), step = stages[place], STEPS[place]
        study = tmp_path / f"{turn}"
        shutil.copytree(before_folder, study, symlinks=True)
        before, what = contents(study), ""
        for _ in range(rng.randint(1, 4)):
            accident = befall(rng, seconds)
            what = f"seed {seed}, turn {turn}, {step[0]}, {accident}"
            end = zygote.run(step, study, **accident)
            assert end["code"] != 70 or "memory" in what, f"{what}: {end['said']}"
            assert_nothing_torn(study, after, before, what)
            met += 1
        assert_ends_well(study, step, after, zygote, what)
        shutil.rmtree(study)
        turn += 1
    return met


@pytest.mark.ci
def test_twenty_accidents_tear_nothing_and_a_rerun_ends_bit_for_bit_as_ever(
    stages, zygote, tmp_path
) -> None:
    assert (
        accidents(
            stages,
            zygote,
            tmp_path,
            count=20,
            seed=int(os.environ.get("PATHOML_ACCIDENTS_SEED", "1")),
        )
        >= 20
    )


@pytest.mark.nightly
def test_350_accidents_tear_nothing(stages, zygote, tmp_path) -> None:
    assert accidents(stages, zygote, tmp_path, count=350, seed=int(time.time())) >= 350


@pytest.mark.ci
@pytest.mark.parametrize("place", range(len(STEPS)), ids=[step[0] for step in STEPS])
def test_a_folder_that_may_not_be_written_is_said_and_nothing_is_lost(
    stages, zygote, tmp_path, place
) -> None:
    before_folder, after, _ = stages[place]
    study = tmp_path / "study"
    shutil.copytree(before_folder, study, symlinks=True)
    before = contents(study)
    folders = [study, *(path for path in study.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        end = zygote.run(STEPS[place], study, powerless=True)
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert end["code"] == 2, end["said"]
    assert "may not be written" in end["said"]
    assert "Traceback" not in end["said"]
    assert contents(study) == before
    assert_ends_well(study, STEPS[place], after, zygote, "after a read-only folder")


@pytest.mark.ci
def test_a_full_disk_is_said_with_the_file(stages, zygote, tmp_path) -> None:
    study = tmp_path / "study"
    shutil.copytree(stages[2][0], study, symlinks=True)
    end = zygote.run(("train",), study, file_bytes=100)
    assert end["code"] == 2, end["said"]
    assert "no room" in end["said"]
    assert "Traceback" not in end["said"]


@pytest.mark.ci
def test_two_writers_at_once_end_as_one(stages, zygote, tmp_path) -> None:
    other = Zygote()
    try:
        for place in (0, 1):
            before_folder, after, _ = stages[place]
            study = tmp_path / f"study{place}"
            shutil.copytree(before_folder, study, symlinks=True)
            command = [sys.executable, "-m", "pathoml", *STEPS[place], str(study)]
            environment = {
                **os.environ,
                "PYTHONPATH": str(Path(__file__).parents[2]),
                "OMP_NUM_THREADS": "1",
            }
            with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as beside:
                time.sleep(2.5 if place else 1.0)  # its start
                first = other.run(STEPS[place], study)
            assert (first["code"], beside.returncode) == (0, 0), first["said"]
            assert_ends_well(study, STEPS[place], after, zygote, "two writers")
    finally:
        other.close()


@pytest.mark.ci
def test_a_clock_that_jumped_hides_no_changed_slide(stages, zygote, tmp_path) -> None:
    study = tmp_path / "study"
    shutil.copytree(stages[1][0], study, symlinks=True)
    ahead = time.time() + 86_400
    for path in study.rglob("*.h5"):
        os.utime(path, (ahead, ahead))  # made while the clock was a day ahead
    assert " 0 of " in zygote.run(("tile",), study)["said"], "nothing changed, so nothing is to do"
    slides = sorted((study / "slides").iterdir())
    slides[0].write_bytes(slides[1].read_bytes())
    assert " 1 of " in zygote.run(("tile",), study)["said"]


@pytest.mark.ci
def test_a_disk_that_fails_under_a_slide_costs_that_slide_and_under_a_feature_file_is_said(
    stages, zygote, tmp_path
) -> None:
    study = tmp_path / "study"
    shutil.copytree(stages[2][0], study, symlinks=True)
    table = (study / "slides.csv").read_text(encoding="utf-8").splitlines()
    first = table[1].split(",")
    (study / "slides" / "failing.svs").symlink_to(
        "/proc/self/mem"
    )  # whose first byte cannot be read: EIO
    first[0], first[2] = "failing", "slides/failing.svs"
    (study / "slides.csv").write_text("\n".join([*table, ",".join(first)]) + "\n", encoding="utf-8")
    end = zygote.run(("tile",), study)
    assert end["code"] == 1, end["said"]
    assert "FAILED failing" in end["said"]
    assert "Traceback" not in end["said"]
    features = sorted(study.glob("embeddings/*/*.h5"))[0]
    features.unlink()
    features.symlink_to("/proc/self/mem")
    end = zygote.run(("train",), study)
    assert end["code"] == 2, end["said"]
    assert features.name in end["said"]
    assert "Traceback" not in end["said"]
