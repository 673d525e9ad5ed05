"""`pathoml` on a disk that fails at the n-th call to the system (faulty_calls.c), and what must
hold then: every file is the old or the new one, success means all of them, a rerun ends as ever.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pathoml.synthetic.cohort import write_cohort

ROOT = Path(__file__).parents[2]
KINDS = ("full", "once", "short", "eintr", "fsync", "rename", "create", "kill")
SETTINGS = {
    "splits": {"folds": 2, "repeats": 1},
    "train": {"head": "abmil", "epochs": 2, "seeds": 1, "projection": 8, "hidden": 8},
    "significance": {"permutations": 2, "bootstraps": 200},
    "compute": {"workers": 1, "deterministic": True, "device": "cpu", "compile": False},
}
# each step with its words; {} is the study
STEPS: dict[str, tuple[str, ...]] = {
    "tile": ("tile", "{}"),
    "embed": ("embed", "{}"),
    "train": ("train", "{}"),
    "evaluate": ("evaluate", "{}"),
    "explain": ("explain", "{}"),
    "discover": ("discover", "{}"),
    "report": ("report", "{}"),
    "lock": ("lock", "{}"),
    "import": ("import", "{}", "{}/theirs.csv", "--from", "scores", "--set", "run=theirs"),
    "export": ("export", "{}", "--to", "pt", "--out", "{}/exported"),
    "view": ("view", "{}", "--static", "{}/copy"),
    "read": ("", "{}"),  # a rating of the viewer, which no verb writes
    "pack": ("pack", "{}"),
    "withdraw": ("withdraw", "P002", "{}", "--confirm", "--bundles"),
}
OTHER = {  # another recipe of a step, whose traces must not stay
    "train": ("--set", "splits.seed=2"),
    "evaluate": ("--set", "evaluate.horizons_months=[12]"),
    "discover": ("--set", "splits.seed=2"),
}
GOOD = {"withdraw": 1}  # where a good end is another code: files are left that are people's own
# hold the hour of their writing, or what the machine did meanwhile
OF_THE_HOUR = {
    "provenance.json", "scores.sav", "scores.dta", "events.out.tfevents.pathoml", "readings.sqlite",
    "bundle.json", "report.html", "study.js", "pathoml.log", "ledger.csv",
}  # fmt: skip
PARTS = {"permutations", "resamples"}  # folders of what is joined when all of it is there
OF_ALL_SLIDES = {"failures.csv", "quality.csv", "index.html"}  # a slide that failed is in them


@dataclass(frozen=True)
class Stage:
    """A step, the study before it, and the files after it."""

    name: str
    before: Path
    after: Mapping[str, str]
    calls: Mapping[str, int]  # kind -> how many calls of it the step makes


def compiled_shim(folder: Path) -> Path:
    """Compile faulty_calls.c; without a C compiler the test is skipped, visibly, or fails where
    everything has to be there.
    """
    compiler = next((c for c in ("cc", "gcc", "clang") if shutil.which(c)), None)
    if compiler is None or sys.platform != "linux":
        if os.environ.get("PATHOML_REQUIRE_ALL") == "1":
            pytest.fail("PATHOML_REQUIRE_ALL=1, but there is no C compiler")
        pytest.skip("no C compiler: calls to the system cannot be made to fail")
    shim = folder / "faulty_calls.so"
    source = Path(__file__).with_name("faulty_calls.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", shim, source, "-ldl"], check=True)
    return shim


class FailingDisk:
    """Runs `pathoml` in forked children of one process, on a disk that fails as it is told."""

    def __init__(self, shim: Path) -> None:
        one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        environment = {**os.environ, **one, "PYTHONPATH": str(ROOT), "LD_PRELOAD": str(shim)}
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("zygote.py"))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip

    def run(
        self, step: str, study: Path, kind: str = "", place: int = 0, *more: str
    ) -> dict[str, Any]:
        """Return the exit code, what was said, how long it took, and how many calls counted."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        words = [word.replace("{}", str(study)) for word in (*STEPS[step], *more)]
        fault = {"fault": [kind, place, str(study)]} if kind else {}
        self._process.stdin.write(json.dumps({"arguments": words, **fault}) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def contents(study: Path) -> dict[str, str]:
    """Return relative name -> hash of every file of a study that has its name: what is hidden is
    not yet, or no more.
    """
    found = {}
    for path in study.rglob("*"):
        name = path.relative_to(study)
        if any(part.startswith(".") for part in name.parts) or name.parts[0] in ("slides", "truth"):
            continue
        if path.is_file() and not path.name.endswith(("-wal", "-shm")):
            found[str(name)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def stages_of(folder: Path, disk: FailingDisk, patients: int = 12) -> dict[str, Stage]:
    """Do every step once on a good disk."""
    study = folder / "study"
    write_cohort(
        study, patients=patients, seed=4, workers=1, side_um=420.0, textures=1, settings=SETTINGS
    )
    rows = [f"P{i:03},{0.1 * i}" for i in range(1, patients + 1)]
    (study / "theirs.csv").write_text("\n".join(["patient_id,score", *rows]) + "\n")
    stages = {}
    for name in STEPS:
        before = folder / f"before-{name}"
        shutil.copytree(study, before, symlinks=True)
        counted = disk.run(name, study, "count", 1)
        assert counted["code"] == GOOD.get(name, 0), f"{name}: {counted['said']}"
        stages[name] = Stage(name, before, contents(study), counted["calls"])
    return stages


def calls_of(stage: Stage, kind: str) -> int:
    """Return how many calls of a step a kind of fault may befall."""
    which = {"fsync": ("sync",), "rename": ("rename",), "create": ("create",)}
    counted = which.get(kind, ("write",) if kind != "kill" else tuple(stage.calls))
    return sum(stage.calls[one] for one in counted)


def drawn_fault(stage: Stage, rng: random.Random) -> tuple[str, int]:
    """Return a kind of fault, and the call that it befalls: any of the step's, late ones as often
    as early ones.
    """
    kind = rng.choice(KINDS)
    if kind in ("short", "eintr"):
        return kind, rng.choice((1, 2, 3) if kind == "short" else (2, 3, 5))
    return kind, rng.randint(1, max(1, calls_of(stage, kind)))


def faults_of(end: Mapping[str, Any], stage: Stage, study: Path, before: Mapping[str, str]) -> str:
    """Return what is wrong after a step on a failing disk; "" if nothing is."""
    if end["code"] not in (0, 1, 2, -9):
        return f"exit code {end['code']}: {end['said'][-1500:]}"
    if "Traceback" in end["said"]:
        return f"a traceback: {end['said'][-1500:]}"
    found = contents(study)
    for name, digest in found.items():
        path = study / name
        if path.name.startswith("readings.sqlite"):
            continue
        if path.name in OF_THE_HOUR:
            if name.endswith(".json"):
                json.loads(path.read_text(encoding="utf-8"))
        elif path.name in OF_ALL_SLIDES:
            if not path.read_text(encoding="utf-8").endswith(("</html>\n", "\n")):
                return f"{name} is torn"
        elif set(path.parent.parts) & PARTS and name not in {**before, **stage.after}:
            json.loads(path.read_text(encoding="utf-8"))  # a part of what is still to be done
        elif digest not in {stage.after.get(name), before.get(name)}:
            return f"{name} is neither the old nor the new file ({end['said'][-300:]})"
    database = study / "readings" / "readings.sqlite"
    if database.exists():
        with closing(sqlite3.connect(database)) as connection:
            if connection.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
                return "the ratings are damaged"
            if not connection.execute("SELECT name FROM sqlite_master").fetchall():
                return "" if end["code"] else "success was said, and no rating is kept"
            kept = connection.execute("SELECT count(*) FROM readings").fetchone()
            if stage.name == "read" and end["code"] == 0 and kept != (1,):
                return "success was said, and the rating is not there"
    if end["code"] == GOOD.get(stage.name, 0) and (wrong := others(found, stage.after)):
        return f"success was said, and {wrong[:5]} are not as they should be"
    return ""


def others(found: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    """Return the names of files that are missing, too many, or other than they should be."""
    return sorted(
        name
        for name in found.keys() | wanted.keys()
        if (name in found) != (name in wanted)
        or (found[name] != wanted[name] and Path(name).name not in OF_THE_HOUR)
    )
