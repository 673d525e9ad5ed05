"""Viewer, tables, statistics and import on a Mac or on Windows: nothing that they reach needs what
only Linux has. Such a system is played by a child process that takes away what it lacks.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.tiny_study import pathoml, tiny_study

ROOT = Path(__file__).parents[2]
PLAY = """
import asyncio, ctypes, importlib, multiprocessing.connection, multiprocessing.popen_spawn_posix
import os, shutil, signal, sqlite3, subprocess, sys, tempfile, zipfile
import cv2, h5py, matplotlib, numpy, openslide, openpyxl, pandas, pydantic, pyreadstat
import rich.progress
import scipy.optimize, scipy.stats, simplejpeg, sklearn, starlette.testclient, tifffile, torch
import imagecodecs, typer, uvicorn, yaml

system = sys.argv.pop(1)
for name in ("fcntl", "resource", "pwd", "grp", "termios") if system == "win32" else ():
    sys.modules[name] = None
lacks = ["sched_getaffinity", "posix_fadvise", "O_TMPFILE"]
if system == "win32":
    lacks += ["fork", "pread", "preadv", "statvfs", "getuid", "geteuid", "getgid", "getpgid"]
    lacks += ["O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK", "O_DIRECTORY", "killpg", "uname", "fchmod"]
for name in lacks:
    if hasattr(os, name):
        delattr(os, name)
if system == "win32":
    for name in ("SIGHUP", "SIGKILL", "pthread_sigmask", "SIGALRM", "setitimer"):
        if hasattr(signal, name):
            delattr(signal, name)
    opened, synced, access = os.open, os.fsync, {}
    def open_file(path, flags, *rest, **options):
        if os.path.isdir(path):
            raise PermissionError(13, "Permission denied", str(path))
        handle = opened(path, flags, *rest, **options)
        access[handle] = flags
        return handle
    def sync(file):
        if access.get(file, os.O_RDWR) & 3 == os.O_RDONLY:
            raise OSError(9, "Bad file descriptor")
        synced(file)
    os.open, os.fsync = open_file, sync
    shutil._use_fd_functions = False  # it removes folders by their paths there
if system != "linux":
    import pathlib
    stat = pathlib.Path.stat
    def no_proc(self, *rest, **options):
        if str(self).startswith("/proc"):
            raise FileNotFoundError(2, "No such file or directory", str(self))
        return stat(self, *rest, **options)
    pathlib.Path.stat = no_proc
sys.platform = system
if system == "win32":  # which asks a system without statvfs otherwise
    shutil.disk_usage = lambda path: shutil._ntuple_diskusage(10**12, 0, 10**12)
"""
SYSTEMS = ("darwin", "win32")


def played(system: str, program: str, *arguments: object) -> str:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    done = subprocess.run(
        [sys.executable, "-c", PLAY + program, system, *map(str, arguments)],
        env={**environment, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_module_of_viewer_tables_statistics_and_import_loads(system: str) -> None:
    program = """
import pkgutil, pathoml
rooms = ("store", "study", "survival", "slides", "viewer", "interop", "cli", "report", "engines")
loaded = 0
for room in rooms:
    package = importlib.import_module(f"pathoml.{room}")
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(found.name)
        loaded += 1
print(loaded)
"""
    assert int(played(system, program)) > 150


@pytest.mark.parametrize("system", SYSTEMS)
def test_tables_are_checked_scores_are_imported_and_statistics_computed(
    system: str, tmp_path: Path
) -> None:
    """The tables are as Excel on Windows writes them: semicolons, a mark in front, CR and LF."""
    (tmp_path / "study.yaml").write_bytes(
        b"endpoint: {name: PFS, time_zero: diagnosis, time: months, event: event}\r\n"
        b"cohort: {covariates: [age], without_slides: keep}\r\nsplits: {folds: 2, repeats: 1}\r\n"
    )
    rows = [f"P{k};{'ab'[k % 2]};{k + 1},5;{int(k % 3 > 0)};{40 + k}" for k in range(20)]
    table = "\r\n".join(["patient_id;centre;months;event;age", *rows, ""])
    (tmp_path / "patients.csv").write_bytes(b"\xef\xbb\xbf" + table.encode())
    scores = [f"P{k};{20 - k}" for k in range(20)]
    text = "\r\n".join(["patient_id;score", *scores, ""])
    (tmp_path / "theirs.csv").write_bytes(text.encode())
    program = """
from pathoml.cli import guarded, main
study, scores = sys.argv[1:3]
for words in (["check", study], ["import", study, scores, "--from", "scores"]):
    code = guarded(lambda: main(words))
    assert code == 0, (words, code)
from pathoml.survival.concordance import harrell_c
print("C", harrell_c([3, 2, 1], [1, 2, 3], [True, True, True]))
"""
    said = played(system, program, tmp_path, tmp_path / "theirs.csv")
    assert said.splitlines()[-1] == "C 1.0"
    assert (tmp_path / "runs" / "main" / "scores.csv").read_bytes().count(b"\n") == 21
    assert b'"verb": "import"' in (tmp_path / "logs" / "pathoml.log").read_bytes()


@pytest.mark.ci
def test_a_study_that_was_made_on_linux_is_looked_at(tmp_path: Path) -> None:
    study = tiny_study(tmp_path / "study", patients=8)
    for step in ("tile", "embed", "train", "explain"):
        assert pathoml(step, str(study)) == 0
    program = """
from pathlib import Path
from starlette.testclient import TestClient
from pathoml.config import load_study
from pathoml.viewer.server import create_app
app = create_app(load_study(Path(sys.argv[1])))
headers = {"authorization": f"Bearer {app.border.token}"}
with TestClient(app, base_url="http://localhost", headers=headers) as client:
    version = client.get("/api/slides/P001_1").json()["version"]
    for path in ("/", "/api/slides/P001_1/layers", f"/tiles/P001_1/{version}/8/0_0.jpg"):
        answer = client.get(path)
        assert answer.status_code == 200, (path, answer.status_code, answer.text[:300])
print("looked at")
"""
    for system in SYSTEMS:
        assert played(system, program, study).splitlines()[-1] == "looked at"
