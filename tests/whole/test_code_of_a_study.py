"""No file of a study folder, or of the folder where pathoml is started, is ever imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.tiny_study import tiny_study

from pathoml.compute.slurm import Resources, write_scripts
from pathoml.config import load_study

FIRST_IMPORTS = ("multiprocessing", "pathoml", "random", "signal")  # of children, and of `-m`


@pytest.fixture
def trap(tmp_path: Path) -> tuple[Path, Path]:
    """A study with files that are called as modules are, and the file that one of them leaves."""
    study, mark = tiny_study(tmp_path / "study", patients=8), tmp_path / "ran"
    for name in FIRST_IMPORTS:
        (study / f"{name}.py").write_text(f"open({str(mark)!r}, 'w').write({name!r})\n")
    return study, mark


def started_in(study: Path, command: list[str]) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"}
    done = subprocess.run(
        command, cwd=study, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_children_of_a_command_import_nothing_from_where_it_was_started(trap) -> None:
    study, mark = trap
    started_in(study, [str(Path(sys.executable).with_name("pathoml")), "check", "."])
    assert not mark.exists(), mark.read_text()


def test_a_job_of_the_cluster_imports_nothing_from_the_study_it_works_on(trap) -> None:
    study, mark = trap
    script = write_scripts(load_study(study), Resources(shards=1))["tile"]
    line = next(x for x in script.read_text().splitlines() if x.startswith("exec"))
    started_in(study, ["bash", "-c", line.replace("$SLURM_ARRAY_TASK_ID", "1")])
    assert not mark.exists(), mark.read_text()
