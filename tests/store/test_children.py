"""Processes that pathoml starts end with it, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pathoml.store.children import worker_pool

FAMILY = """
import os, sys, threading, time
from pathoml.store.children import worker_pool
from pathoml.store.probe import Probe
from support.deeds import hang, hang_with_the_lock, pid

if __name__ == "__main__":
    deed = {"sleeping": time.sleep, "holding the lock": hang_with_the_lock}[sys.argv[1]]
    probe = Probe(hang, 600)
    threading.Thread(target=probe.ask, args=(None,), daemon=True).start()
    with worker_pool(2) as pool:
        print(*{pool.submit(pid, 0.5).result() for _ in range(2)}, flush=True)
        while probe._child is None or probe._child.pid is None:
            time.sleep(0.1)
        time.sleep(1)
        print(probe._child.pid, flush=True)
        list(pool.map(deed, [600] * 4))
"""


def family(deed: str) -> tuple[subprocess.Popen, list[int]]:
    """Start a process with two workers and a probe, and return it with theirs."""
    tests = Path(__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": f"{tests.parent}:{tests}"}
    parent = subprocess.Popen(
        [sys.executable, "-c", FAMILY, deed],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    assert parent.stdout is not None
    children = [int(p) for _ in range(2) for p in parent.stdout.readline().split()]
    time.sleep(0.5)
    return parent, children


def alive(pids: list[int]) -> list[int]:
    return [p for p in pids if Path(f"/proc/{p}").exists() and "Z" not in state(p)]


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0]
    except OSError:
        return "Z"


@pytest.mark.parametrize("deed", ["sleeping", "holding the lock"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_workers_and_probes_of_a_killed_process_are_gone_within_seconds(deed, number):
    parent, children = family(deed)
    with parent:
        try:
            assert len(alive(children)) >= 2
            parent.send_signal(number)
            parent.wait(10)
            deadline = time.monotonic() + 5
            while (left := alive(children)) and time.monotonic() < deadline:
                time.sleep(0.1)
            assert left == []
        finally:
            for one in alive(children):
                os.kill(one, signal.SIGKILL)


def test_an_error_in_the_body_ends_the_workers_at_once_and_not_when_they_are_done():
    workers: list[int] = []

    def interrupted() -> float:
        with worker_pool(2) as pool:
            sleeping = [pool.submit(time.sleep, 600) for _ in range(9)]
            while not any(one.running() for one in sleeping):
                time.sleep(0.05)
            workers.extend(pool._processes)
            raise KeyboardInterrupt(time.monotonic())

    with pytest.raises(KeyboardInterrupt) as told:
        interrupted()
    assert time.monotonic() - told.value.args[0] < 1
    time.sleep(0.5)
    assert alive(workers) == []


def test_what_a_pool_was_given_is_done_when_its_body_ends():
    with worker_pool(2) as pool:
        tasks = [pool.submit(abs, -n) for n in range(5)]
    assert [task.result() for task in tasks] == [0, 1, 2, 3, 4]
