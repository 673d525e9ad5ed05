"""The wheel holds all that runs: pages, templates, the R script, defaults and type information."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.ci
def test_the_wheel_holds_every_file_of_the_package(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    tracked = subprocess.run(["git", "ls-files", "pathoml"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\n")
    assert {"pathoml/py.typed", "pathoml/survival/analysis.R", "pathoml/viewer/web/slide.js"} <= held
    assert {name for name in tracked if name} - held == set()
