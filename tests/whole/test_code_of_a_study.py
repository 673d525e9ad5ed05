"""No file of a study folder, or of the folder where pathoml is started, is ever imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.tiny_study import pathoml, tiny_study
from support.viewing import asking

from pathoml.compute.slurm import Resources, write_scripts
from pathoml.config import Study, load_study
from pathoml.study.cohort import read_cohort

ROOT = Path(__file__).parents[2]
SCRIPT = str(Path(sys.executable).with_name("pathoml"))

FIRST_IMPORTS = ("multiprocessing", "pathoml", "random", "signal")  # of children, and of `-m`
# what pathoml and what it uses import later, some of it not installed or of another system
LATER_IMPORTS = ("h5py", "nt", "scipy", "torch", "typing", "uvloop", "uvicorn", "yaml")
HEAD = """from torch import nn
open({mark!r}, "a").write("head")
class Mine(nn.Module):
    solved = True
"""


@pytest.fixture
def trap(tmp_path: Path) -> tuple[Path, Path]:
    """A study with files that are called as modules are, and the file that one of them leaves."""
    study, mark = tiny_study(tmp_path / "study", patients=8), tmp_path / "ran"
    for name in (*FIRST_IMPORTS, *LATER_IMPORTS):
        (study / f"{name}.py").write_text(f"open({str(mark)!r}, 'a').write({name!r})\n")
    return study, mark


def study_slides(study: Study) -> list[str]:
    return [slide.slide_id for slide in read_cohort(study).slides]


def started_in(study: Path, command: list[str], **more: str) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"} | more
    done = subprocess.run(
        command, cwd=study, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_children_of_a_command_import_nothing_from_where_it_was_started(trap) -> None:
    study, mark = trap
    started_in(study, [SCRIPT, "check", "."])
    assert not mark.exists(), mark.read_text()


def test_a_job_of_the_cluster_imports_nothing_from_the_study_it_works_on(trap) -> None:
    study, mark = trap
    script = write_scripts(load_study(study), Resources(shards=1))["tile"]
    line = next(x for x in script.read_text().splitlines() if x.startswith("exec"))
    started_in(study, ["bash", "-c", line.replace("$SLURM_ARRAY_TASK_ID", "1")])
    assert not mark.exists(), mark.read_text()


def test_an_empty_part_of_pythonpath_which_means_this_folder_brings_nothing_of_it(trap) -> None:
    study, mark = trap
    (study / "signal.py").unlink()  # Python itself may, before pathoml is asked
    (study / "random.py").unlink()
    (study / "typing.py").unlink()
    (study / "pathoml.py").unlink()
    started_in(study, [SCRIPT, "check", "."], PYTHONPATH=f"{ROOT}:")
    assert not mark.exists(), mark.read_text()


def test_a_session_in_the_study_imports_its_own_files_and_pathoml_none_of_them(trap) -> None:
    """A notebook: the folder comes first on its path, and what the session imports is its own."""
    study, mark = trap
    (study / "pathoml.py").unlink()  # would be what the session itself asks for
    (study / "mine.py").write_text("import pathoml as pm\n\ndone = pm.tile('.')\n")
    session = "import mine; assert mine.done is not None"
    started_in(study, [sys.executable, "-c", session], PYTHONPATH=str(ROOT))
    assert not mark.exists(), mark.read_text()


def test_a_viewer_beside_a_session_starts_its_models_without_files_of_the_study(trap) -> None:
    study, mark = trap
    (study / "pathoml.py").unlink()
    session = (
        "import pathoml as pm\n"
        "if __name__ == '__main__':\n"
        "    with pm.view('.') as viewer: print(viewer.root)\n"
    )
    started_in(study, [sys.executable, "-c", session], PYTHONPATH=str(ROOT))
    assert not mark.exists(), mark.read_text()


@pytest.mark.ci
def test_workers_of_ray_import_nothing_from_the_study(trap) -> None:
    study, mark = trap
    settings = ["--set", "compute.engine=ray", "--set", "compute.workers=2"]
    started_in(study, [SCRIPT, "tile", ".", *settings], PYTHONPATH=str(ROOT))
    assert not mark.exists(), mark.read_text()


def test_a_head_of_the_study_is_read_by_check_and_status_and_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study, mark = tiny_study(tmp_path / "study", patients=8), tmp_path / "ran"
    (study / "mine.py").write_text(HEAD.format(mark=str(mark)))
    for verb in ("check", "status"):
        assert pathoml(verb, str(study), "--set", "train.head=./mine.py:Mine") == 0
    assert "./mine.py:Mine is code of the study" in capsys.readouterr().out
    assert not mark.exists()


def test_the_viewer_runs_a_head_of_the_study_when_it_is_told_to(tmp_path: Path) -> None:
    study = load_study(tiny_study(tmp_path / "study", patients=8), ["train.head=./mine.py:Mine"])
    (study.folder / "mine.py").write_text(HEAD.format(mark=str(tmp_path / "ran")))
    question = {"slide": study_slides(study)[0], "tiles": []}
    headers = {"x-pathoml": "1"}
    with asking(study, warm=True) as client:
        answer = client.post("/api/what-if", json=question, headers=headers)
    assert (answer.status_code, "--run-head" in answer.text) == (409, True)
    with asking(study, run_head=True) as client:
        answer = client.post("/api/what-if", json=question, headers=headers)
    assert (answer.status_code, "no score yet" in answer.text) == (409, True)
    assert not (tmp_path / "ran").exists()
