"""Shards, SLURM scripts and status; in the ci tier a real SLURM of one machine gives the files that
a local run gives.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.r_oracle import unavailable
from support.tiny_study import hashes, pathoml, tiny_study

from pathoml.compute.shards import Shard, parse_shard
from pathoml.compute.slurm import Resources, write_scripts
from pathoml.config import Study, load_study
from pathoml.errors import ConfigError
from pathoml.store.tables import read_table


def named_study(folder: Path) -> Study:
    folder.mkdir()
    (folder / "study.yaml").write_text(
        "endpoint: {name: x, time_zero: x, time: t, event: e}\n", encoding="utf-8"
    )
    return load_study(folder)


@pytest.mark.parametrize("count", [1, 3, 8])
def test_shards_are_disjoint_and_together_hold_everything(count: int) -> None:
    parts = [Shard(number=k, count=count).of(range(20)) for k in range(1, count + 1)]
    assert sorted(item for part in parts for item in part) == list(range(20))


@pytest.mark.parametrize("text", ["0/4", "5/4", "3", "a/b", "1/0", "-1/4", "1/4/2", ""])
def test_a_shard_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="not one of 1/8 to 8/8"):
        parse_shard(text)


def test_shards_one_after_another_make_the_files_of_a_whole_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = tiny_study(tmp_path / "whole", patients=6)
    parts = tmp_path / "parts"
    shutil.copytree(whole, parts)
    (parts / "slides" / "broken.svs").write_bytes(b"II*\0 no slide")
    slides = (parts / "slides.csv").read_text(encoding="utf-8").splitlines()
    last = ["broken", *slides[-1].split(",")[1:]]
    slides[-1] = ",".join(
        "slides/broken.svs" if cell.startswith("slides/") else cell for cell in last
    )
    (parts / "slides.csv").write_text("\n".join(slides) + "\n", encoding="utf-8")
    assert pathoml("tile", str(whole)) == 0
    codes = [pathoml("tile", str(parts), "--shard", f"{k}/3") for k in (2, 3, 1)]
    assert sorted(codes) == [0, 0, 1]
    [grid] = (parts / "tiles").iterdir()
    assert sorted(p.name for p in grid.glob("failures*")) == [
        f"failures.{k}-of-3.csv" for k in (1, 2, 3)
    ]
    assert not (grid / "index.html").exists()
    capsys.readouterr()
    assert pathoml("status", str(parts)) == 1
    said = capsys.readouterr().out
    assert f"{len(slides) - 2} of {len(slides) - 1} slides" in said
    assert "FAILED tile broken: " in said
    assert pathoml("tile", str(parts)) == 1  # tries the broken one again, and sums up
    assert [row["slide_id"] for row in read_table(grid / "failures.csv").rows] == ["broken"]
    assert list(grid.glob("failures.*-of-*.csv")) == []
    assert len(read_table(grid / "quality.csv").rows) == len(slides) - 2
    ours, theirs = hashes(parts), hashes(whole)
    same = [name for name in theirs if name.endswith(".h5") and name in ours]
    assert len(same) == len(slides) - 2
    assert all(ours[name] == theirs[name] for name in same)


def test_a_script_asks_for_what_was_said_and_quotes_names(tmp_path: Path) -> None:
    study = named_study(tmp_path / "a study of 'ours'")
    scripts = write_scripts(
        study,
        Resources(shards=5, every=("--partition=long",), gpu=("--gres=gpu:1",)),
        ["run=two words"],
    )
    tile, embed, permute, run = (
        scripts[step].read_text(encoding="utf-8") for step in ("tile", "embed", "permute", "run")
    )
    assert "#SBATCH --array=1-5\n" in tile
    assert '--shard "$SLURM_ARRAY_TASK_ID/5"' in tile
    assert " evaluate " in permute
    assert '--shard "$SLURM_ARRAY_TASK_ID/5"' in permute
    assert "--array" not in run + scripts["train"].read_text(encoding="utf-8")
    asked = ("--gres=gpu:1", "--partition=long", "--requeue")
    assert [[option in text for option in asked] for text in (tile, embed, run)] == [
        [False, True, True],
        [True, True, True],
        [True, True, True],
    ]
    for script in scripts.values():
        echoed = script.read_text(encoding="utf-8").replace("exec ", "printf '%s\\n' ")
        words = subprocess.run(
            ["bash", "-c", echoed],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "SLURM_ARRAY_TASK_ID": "3"},
        )
        assert str(study.folder.resolve()) in words.stdout.splitlines()
        assert "run=two words" in words.stdout.splitlines()


@pytest.mark.ci
def test_two_magnifications_are_joined_before_the_job_that_trains(tmp_path: Path) -> None:
    study = tiny_study(tmp_path / "study", patients=8)
    two = ["tiles.tile_px=64", "tiles.mpp=0.5", "tiles.context_mpp=2.0", "train.nested=false"]
    scripts = write_scripts(load_study(study, two), Resources(shards=2), two, joins=True)
    for step, task in (("tile", "1"), ("tile", "2"), ("embed", "1"), ("embed", "2"), ("train", "")):
        subprocess.run(
            ["bash", scripts[step]],
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "SLURM_ARRAY_TASK_ID": task},
        )
    assert len(list(study.glob("embeddings/*+*/*.h5"))) == 8
    assert (study / "runs" / "main" / "scores.csv").exists()


@pytest.mark.parametrize("option", ["partition=long", "--x\n#SBATCH --uid=0", "-", "; rm"])
def test_an_option_that_is_none_is_refused(tmp_path: Path, option: str) -> None:
    study = named_study(tmp_path / "study")
    with pytest.raises(ConfigError, match="is not an option of sbatch"):
        write_scripts(study, Resources(shards=1, every=(option,)))


# A real SLURM

CONFIGURATION = """
ClusterName=one
SlurmctldHost=localhost(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SlurmUser=root
SlurmctldPort=17817
SlurmdPort=17818
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
CommunicationParameters=NoInAddrAny
SchedulerParameters=sched_interval=1,batch_sched_delay=0,requeue_delay=1
MinJobAge=300
NodeName={node} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=all Nodes={node} Default=YES MaxTime=INFINITE State=UP
"""


@pytest.fixture(scope="module")
def slurm() -> Iterator[None]:
    """Start munge and SLURM for this machine, in a folder of their own."""
    if os.geteuid() != 0 or not shutil.which("slurmctld") or not shutil.which("munged"):
        unavailable(
            "needs root, and Debian's slurm-wlm and munge (apt-get install slurm-wlm munge)"
        )
    folder = Path(f"/tmp/pathoml-slurm-{os.getpid()}")
    folder.mkdir(mode=0o755)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    node = os.uname().nodename.split(".")[0]
    configuration = folder / "slurm.conf"
    configuration.write_text(
        CONFIGURATION.format(folder=folder, node=node, cpus=len(os.sched_getaffinity(0))),
        encoding="utf-8",
    )
    environment = {**os.environ, "SLURM_CONF": str(configuration)}
    munged = [
        "munged",
        "--foreground",
        "--force",
        f"--key-file={folder}/munge.key",
        f"--socket={folder}/munge.socket",
    ]
    munged += [
        f"--pid-file={folder}/munge.pid",
        f"--log-file={folder}/munge.log",
        f"--seed-file={folder}/munge.seed",
    ]
    daemons = [subprocess.Popen(munged)]
    until(lambda: (folder / "munge.socket").exists(), "munge")
    daemons.append(
        subprocess.Popen(["slurmctld", "-D"], env=environment, stderr=subprocess.DEVNULL)
    )
    daemons.append(
        subprocess.Popen(["slurmd", "-D", "-N", node], env=environment, stderr=subprocess.DEVNULL)
    )
    os.environ["SLURM_CONF"] = str(configuration)
    try:
        until(lambda: "idle" in asked("sinfo", "--noheader", "--format=%T"), "slurmd")
        yield
    finally:
        del os.environ["SLURM_CONF"]
        for daemon in reversed(daemons):
            daemon.send_signal(signal.SIGTERM)
        for daemon in reversed(daemons):
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
        shutil.rmtree(folder, ignore_errors=True)


def asked(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout


def until(condition, what: str, seconds: float = 60) -> None:  # type: ignore[no-untyped-def]
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what} did not come within {seconds:.0f} s"
        time.sleep(0.2)


@pytest.mark.ci
@pytest.mark.usefixtures("slurm")
def test_slurm_makes_the_files_of_a_local_run_though_tasks_are_killed_and_requeued(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    local = tiny_study(tmp_path / "local")
    cluster = tmp_path / "cluster"
    shutil.copytree(local, cluster)
    assert pathoml("run", str(local)) == 0
    assert pathoml("submit", str(cluster), "--shards", "3") == 0
    capsys.readouterr()
    pathoml("status", str(cluster))
    assert "pending" in capsys.readouterr().out
    killed = requeued = 0
    end = time.monotonic() + 420
    while queue := asked("squeue", "--noheader", "--array", "--format=%i %j %T"):
        assert time.monotonic() < end, queue + (cluster / "slurm" / "run.log").read_text()
        for job, name, state in (line.split() for line in queue.splitlines()):
            if state == "RUNNING" and name == "pathoml-tile" and not killed:
                killed += 1
                asked("scancel", "--signal=KILL", "--full", job)
            elif state == "RUNNING" and name == "pathoml-embed" and not requeued:
                time.sleep(4)  # in the midst of it
                requeued += 1
                asked("scontrol", "requeue", job)
                until(
                    lambda job=job: (
                        "PENDING" in asked("squeue", "--noheader", "--format=%T", "--jobs", job)
                    ),
                    "the requeued task",
                )
                asked(
                    "scontrol", "update", f"JobId={job}", "StartTime=now"
                )  # SLURM waits two minutes before it starts it again
        time.sleep(0.3)
    assert (killed, requeued) == (1, 1)
    assert pathoml("status", str(cluster)) == 0
    assert "pending" not in capsys.readouterr().out
    assert hashes(cluster) == hashes(local)
