"""An installation without CUDA, and one without a network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements.lock"
PIN = re.compile(r"^([A-Za-z0-9._-]+)==", re.MULTILINE)
OF_CUDA = re.compile(r"(?:nvidia|cuda)-|triton$|torch$")


def without_cuda() -> str:
    command = [str(ROOT / "scripts" / "without-cuda"), str(LOCK)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_variant_without_cuda_has_every_other_pin_with_its_hashes() -> None:
    lock, ours = LOCK.read_text(encoding="utf-8"), without_cuda()
    names = PIN.findall(lock)
    kept = [name for name in names if not OF_CUDA.match(name)]
    assert PIN.findall(ours) == kept
    assert {"torchvision", "timm", "sympy", "starlette"} <= set(kept)
    assert len(names) - len(kept) > 10
    blocks = re.split(r"^(?=[A-Za-z0-9])", ours, flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in block for block in blocks)


def test_the_version_of_torch_that_is_left_out_is_named() -> None:
    [locked] = re.findall(r"^torch==(\S+)", LOCK.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert without_cuda().splitlines()[0] == f"# torch {locked}"


def test_a_wheelhouse_is_made_in_an_empty_folder_only(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    command = [str(ROOT / "scripts" / "wheelhouse"), "cpu", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "is not empty" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.nightly
def test_the_wheelhouse_installs_without_a_network_and_the_doctor_finds_nothing_missing(
    tmp_path: Path,
) -> None:
    """The script itself installs it in a namespace without network and runs the doctor; torch comes
    from where pip is told to look, as a file where it is one.
    """
    version = f"cp{sys.version_info.major}{sys.version_info.minor}"
    links = [Path(place) for place in os.environ.get("PIP_FIND_LINKS", "").split()]
    files = [file for place in links for file in place.glob(f"torch-*+cpu-{version}-*.whl")]
    chosen = {"TORCH": str(max(files))} if files else {}
    command = [str(ROOT / "scripts" / "wheelhouse"), "cpu", str(tmp_path / "house")]
    environment = {**os.environ, "PYTHON": sys.executable, **chosen}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "MISSING" not in done.stdout
    files = sorted(path.name for path in (tmp_path / "house").iterdir())
    assert not [name for name in files if re.match(r"(?:nvidia|cuda|triton)", name)]
    held = sum(path.stat().st_size for path in (tmp_path / "house").iterdir())
    assert held < 1e9
    size = re.search(r"installed and tried: ([0-9.]+)G on disk", done.stderr)
    assert size is not None, done.stderr
    assert float(size[1]) < 2.5
