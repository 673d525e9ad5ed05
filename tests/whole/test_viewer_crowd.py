"""Many people at one viewer, among strangers who hold connections open: everybody is served, and
memory stays bounded. benchmarks/viewer_crowd.py does it for a minute.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from support.viewing import trained, write_study

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "viewer_crowd.py"
TOKEN = "of-the-viewer-of-this-benchmark"  # the benchmark's own
SECONDS, CLIENTS = 8.0, 32
MOST_MIB = 150  # beyond what it held when it had answered once: the cache of pixels, and threads


def clients_in_their_process(port: int, *, seconds: float, clients: int) -> dict:
    command = [sys.executable, str(BENCHMARK), "--as-clients", str(port)]
    settings = ["--seconds", str(seconds), "--clients", str(clients)]
    done = subprocess.run([*command, *settings], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def resident_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmRSS"))) / 1024


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.ci
def test_many_at_once_are_served_strangers_get_nothing_and_memory_is_bounded(tmp_path):
    study = trained(write_study(tmp_path / "study"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "pathoml", "view", str(study.folder), "--port", str(port)]
    environment = {**os.environ, "PATHOML_VIEW_TOKEN": TOKEN}
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        while not answers(port):
            time.sleep(0.1)
        clients_in_their_process(port, seconds=2, clients=2)
        before = resident_mib(server.pid)
        found = clients_in_their_process(port, seconds=SECONDS, clients=CLIENTS)
        after = resident_mib(server.pid)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(20)
    assert set(found["inside"]) <= {"200", "201", "503"}  # 503: others are asking the models
    assert set(found["outside"]) == {"200", "401"}  # 200: the viewer's own files
    assert found["inside"]["200"] > 10 * CLIENTS
    assert after - before < MOST_MIB, (before, after)
    assert np.median(found["waited"]["tile"]) < 1.0
