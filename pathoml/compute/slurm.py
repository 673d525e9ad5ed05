"""A study as SLURM jobs: arrays that tile, embed and permute, one job that trains, and one for what
needs all of these.

Every task does what is missing of its part and nothing else, and writes whole files or none: a task
that was killed, requeued or submitted twice does no harm. Failed slides do not stop the rest; the
last job tries them once more and lists them.

Source: sbatch(1), --array, --dependency, --requeue.
"""

from __future__ import annotations

import datetime as dt
import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pathoml.config import Study
from pathoml.errors import ConfigError
from pathoml.store.files import read_json, write_json, write_text

FOLDER = "slurm"
JOBS = "jobs.json"
STEPS = (
    "tile",
    "embed",
    "train",
    "permute",
    "run",
)  # in the order in which one waits for the other
ARRAYS = ("tile", "embed", "permute")
ON_GPU = ("embed", "train", "permute", "run")
VERBS = {"permute": "evaluate"}  # of steps that are not called as they are


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What the jobs ask for, as sbatch spells it: --partition=long."""

    shards: int
    every: Sequence[str] = ()
    gpu: Sequence[str] = ()


def write_scripts(
    study: Study, resources: Resources, settings: Sequence[str] = (), *, joins: bool = False
) -> dict[str, Path]:
    """Write STUDY/slurm/STEP.sh and return step -> script.

    Args:
        settings: overrides of study.yaml, section.key=value.
        joins: each tile is embedded at two magnifications, which the training job joins first.

    Raises:
        ConfigError: an option that is none, or a study whose path sbatch cannot take.
    """
    folder = study.folder.resolve()
    if re.search(r'[\n\r"%\\]', str(folder)):
        raise ConfigError(
            f"{folder} has a quote, a percent sign, a backslash or a line break in its name, which "
            "sbatch cannot take. Rename it."
        )
    for option in (*resources.every, *resources.gpu):
        if not re.fullmatch(r"--?[A-Za-z][^\n\r]*", option):
            raise ConfigError(
                f"{option!r} is not an option of sbatch; it should look like --partition=long or"
                " --gres=gpu:1."
            )
    scripts = {}
    for step in STEPS:
        scripts[step] = folder / FOLDER / f"{step}.sh"
        scripts[step].parent.mkdir(exist_ok=True)
        write_text(scripts[step], _script(step, folder, resources, settings, joins=joins))
    return scripts


def _script(
    step: str, folder: Path, resources: Resources, settings: Sequence[str], *, joins: bool
) -> str:
    is_array = step in ARRAYS
    log = folder / FOLDER / (f"{step}_%a.log" if is_array else f"{step}.log")
    options = [f"--job-name=pathoml-{step}", "--requeue", "--open-mode=append", f'--output="{log}"']
    options += [f"--array=1-{resources.shards}"] if is_array else []
    options += [*resources.every, *(resources.gpu if step in ON_GPU else ())]
    # -P: nothing is imported from the folder where the job starts, which may be a study
    command = [sys.executable, "-P", "-m", "pathoml", VERBS.get(step, step), str(folder)]
    overrides = [part for setting in settings for part in ("--set", setting)]
    shard = f' --shard "$SLURM_ARRAY_TASK_ID/{resources.shards}"' if is_array else ""
    lines = [
        "#!/usr/bin/env bash",
        *(f"#SBATCH {option}" for option in options),
        "set -euo pipefail",
    ]
    # the parts of the array could not: another one may have embedded a slide's other magnification
    if joins and step == "train":
        lines.append(
            shlex.join([*command[:4], "embed", str(folder), *overrides])
            + " || test $? -eq 1  # 1: a slide failed"
        )
    return "\n".join(
        [*lines, f"exec {shlex.join(command)}{shard} {shlex.join(overrides)}".rstrip(), ""]
    )


def submit_scripts(study: Study, scripts: Mapping[str, Path], shards: int) -> dict[str, str]:
    """Submit the scripts, each after the one before, and return step -> job id; they are kept in
    STUDY/slurm/jobs.json.

    Raises:
        ConfigError: there is no sbatch here, or it refuses.
    """
    submitted: dict[str, str] = {}
    for step in STEPS:
        waits = (
            [f"--dependency=afterany:{list(submitted.values())[-1]}"] if submitted else []
        )  # a failed slide stops nobody else
        answer = _slurm("sbatch", "--parsable", *waits, str(scripts[step]))
        submitted[step] = answer.strip().split(";")[0]
    when = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    write_json(
        study.folder / FOLDER / JOBS, {"submitted_at": when, "shards": shards, "jobs": submitted}
    )
    return submitted


def job_states(study: Study) -> dict[str, Counter[str]]:
    """Return step -> how many of its tasks the cluster still has, by state; empty where nothing was
    submitted or all has ended.

    Raises:
        ConfigError: jobs were submitted, but this machine cannot ask the cluster.
    """
    path = study.folder / FOLDER / JOBS
    if not path.exists():
        return {}
    jobs: dict[str, Any] = read_json(path)["jobs"]
    step_of = {str(job): step for step, job in jobs.items()}
    states: dict[str, Counter[str]] = {}
    for line in _slurm("squeue", "--noheader", "--array", "--format=%A %F %T").splitlines():
        _, job, state = line.split()
        if job in step_of:
            states.setdefault(step_of[job], Counter())[state.lower()] += 1
    return states


def _slurm(program: str, *arguments: str) -> str:
    try:
        done = subprocess.run(
            [program, *arguments], capture_output=True, text=True, check=False, timeout=60
        )
    except FileNotFoundError:
        raise ConfigError(
            f"{program} is not on this machine. Go to a login node of the cluster; `pathoml submit "
            "--dry-run` needs none."
        ) from None
    except subprocess.TimeoutExpired:
        raise ConfigError(
            f"{program} did not answer within a minute. Ask again when the cluster's controller"
            " is up."
        ) from None
    if done.returncode:
        raise ConfigError(f"{program} refused: {' '.join(done.stderr.split())}")
    return done.stdout
