"""The wheel holds all that runs: pages, templates, the R script, defaults and type information."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    [built] = folder.glob("*.whl")
    return built


@pytest.mark.ci
def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    tracked = subprocess.run(
        ["git", "ls-files", "pathoml"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split("\n")
    assert {
        "pathoml/py.typed",
        "pathoml/evaluation/analysis.R",
        "pathoml/__init__.pyi",
        "pathoml/store/__init__.pyi",
        "pathoml/viewer/web/slide.js",
    } <= held
    assert {name for name in tracked if name} - held == set()


@pytest.mark.ci
def test_the_wheel_installs_elsewhere_and_runs_the_demo_outside_the_checkout(
    wheel: Path, tmp_path: Path
) -> None:
    """Its dependencies are borrowed from this environment, which holds those of the lock file, to
    spare their gigabytes.
    """
    uv = Path(sys.executable).with_name("uv")
    place = tmp_path / "elsewhere"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(place)], check=True)
    python = place / "bin" / "python"
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--no-deps", "--python", str(python), str(wheel)],
        check=True,
    )
    [packages] = place.glob("lib/python*/site-packages")
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    where = [str(python), "-c", "import pathoml, sys; sys.stdout.write(pathoml.__file__)"]
    found = subprocess.run(
        where, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert found.startswith(str(place)), found
    command = [str(place / "bin" / "pathoml"), "demo", "first-look", "--tiny"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "first-look" / "runs" / "main" / "report.html").exists()
    version = subprocess.run(
        [str(place / "bin" / "pathoml"), "--version"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert version.stdout.strip().split()[-1] in wheel.name


@pytest.mark.ci
def test_the_wheel_brings_its_bill_of_materials_and_the_licences_of_what_it_vendors(
    wheel: Path,
) -> None:
    held = zipfile.ZipFile(wheel)
    [place] = [n for n in held.namelist() if n.endswith(".dist-info/sboms/sbom.cdx.json")]
    assert held.read(place) == (ROOT / "sbom.cdx.json").read_bytes()
    licences = [n for n in held.namelist() if ".dist-info/licenses/" in n]
    assert any(n.endswith("/openseadragon/LICENSE.txt") for n in licences)
