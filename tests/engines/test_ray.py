"""A Ray of three nodes on this machine gives the results of a local run, though a worker and a node
die.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.tiny_study import hashes, tiny_study

pytestmark = [pytest.mark.ci, pytest.mark.filterwarnings("ignore::FutureWarning")]
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """A head and two more nodes of one core each, on loopback; RAY_ADDRESS names it."""
    for name, value in QUIET.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).parents[2]}:{Path(__file__).parents[1]}")
    from ray.cluster_utils import Cluster

    started = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    nodes = [started.add_node(num_cpus=1) for _ in range(2)]
    started.wait_for_nodes()
    monkeypatch.setenv("RAY_ADDRESS", started.address)
    started.further = nodes
    yield started
    started.shutdown()


def workers() -> list[int]:
    """Return the processes that do a task of ours just now, as Ray titles them."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and b"ray::attempt" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def slow_square(task: tuple[int, str]) -> int:
    number, folder = task
    with (Path(folder) / "begun.txt").open("a", encoding="utf-8") as file:
        file.write(f"{number}\n")
    time.sleep(0.4)
    return number**2


def test_36_items_are_right_though_a_worker_is_killed_and_a_node_drops_out(
    cluster, tmp_path: Path
) -> None:
    code = (
        "import sys\nfrom pathoml.engines.ray import map_items\nfrom engines.test_ray import "
        "slow_square\n"
        "items = [(str(n), (n, sys.argv[1])) for n in range(36)]\n"
        "for key, result in map_items(slow_square, items, workers=1): print('RESULT', key, "
        "result, flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as driver:
        end = time.monotonic() + 120
        while len(begun(tmp_path)) < 6:
            assert time.monotonic() < end, "no task began"
            time.sleep(0.1)
        os.kill(workers()[0], signal.SIGKILL)
        while len(begun(tmp_path)) < 15:
            time.sleep(0.1)
        cluster.remove_node(cluster.further[0], allow_graceful=False)
        out, _ = driver.communicate(timeout=240)
    results = dict(
        line.split()[1:] for line in out.splitlines() if line.startswith("RESULT")
    )  # Ray adds lines of its own
    assert results == {str(n): str(n**2) for n in range(36)}
    assert len(begun(tmp_path)) > 36, "what had been lost was done again"


@pytest.mark.usefixtures("cluster")
def test_without_an_address_ray_starts_its_own_and_leaves_another_that_runs_here_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RAY_ADDRESS")  # but /tmp/ray/ray_current_cluster may still name it
    code = (
        "import ray\nfrom operator import neg\nfrom pathoml.engines.ray import map_items\n"
        "print('RESULT', dict(map_items(neg, [('1', 1), ('2', 2)], workers=1)), len(ray.nodes()))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True, timeout=240
    ).stdout
    assert "RESULT {'1': -1, '2': -2} 1" in said


def begun(folder: Path) -> list[str]:
    path = folder / "begun.txt"
    return path.read_text(encoding="utf-8").split() if path.exists() else []


STEPS = ("tile", "embed", "train", "evaluate")


@pytest.mark.usefixtures("cluster")
def test_a_study_on_ray_equals_a_local_one_byte_for_byte_though_a_worker_dies(
    tmp_path: Path,
) -> None:
    local = tiny_study(tmp_path / "local", patients=12)
    on_ray = tmp_path / "ray"
    shutil.copytree(local, on_ray)
    same = [
        "--set",
        "compute.threads=1",
        "--set",
        "significance.permutations=24",
    ]  # a task of Ray has one core; 3 blocks
    for step in STEPS:
        subprocess.run(
            [sys.executable, "-m", "pathoml", step, str(local), *same],
            stdout=subprocess.DEVNULL,
            check=True,
        )
    killed = 0
    for step in STEPS:
        command = [
            sys.executable,
            "-m",
            "pathoml",
            step,
            str(on_ray),
            *same,
            "--set",
            "compute.engine=ray",
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
            while driver.poll() is None:
                if (
                    step == "embed"
                    and not killed
                    and list((on_ray / "embeddings").glob("*/*.h5"))
                    and (at_work := workers())
                ):
                    os.kill(at_work[0], signal.SIGKILL)
                    killed += 1
                time.sleep(0.05)
            said = driver.stdout.read() if driver.stdout else ""
        assert driver.returncode == 0, said
    assert killed == 1
    assert hashes(on_ray) == hashes(local)
    null = [
        (study / "runs" / "main" / "permutation.json").read_bytes() for study in (on_ray, local)
    ]
    assert null[0] == null[1]
