"""A process that has imported everything and forks a child for each command, so that a killed
`pathoml` costs no start of torch.

One JSON object a line comes in: the arguments of pathoml, and what is to befall it; one goes out:
how it ended and what it said.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import resource
import signal
import sys
import time


def drop_capabilities() -> None:
    """Give up root's right to write where permissions forbid it (capset(2), version 3); files stay
    readable to their owner.
    """
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    nothing = (ctypes.c_uint32 * 6)()
    if ctypes.CDLL(None, use_errno=True).capset(header, nothing):
        raise OSError(ctypes.get_errno(), "capset")


CALLS = ("write", "sync", "rename", "create")  # as faulty_calls.c counts them
CALLS_SAID = "calls: "


def rate(study: str) -> None:
    """Keep a rating of a slide, as the viewer does."""
    from pathlib import Path

    from pathoml.config import load_study
    from pathoml.store.readings import Reading, Readings

    readings = Readings(load_study(Path(study)).readings_file)
    reading = Reading(
        rater="KB", item="S1", slide_id="S1", name="necrosis", presence=4, note="x" * 3000
    )
    readings.save(reading, "")


def child(task: dict, out: int) -> None:
    os.setsid()
    os.dup2(out, 1)
    os.dup2(out, 2)
    if "file_bytes" in task:  # as a disk that is full: a file grows so far and no further
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (task["file_bytes"],) * 2)
    if "memory_bytes" in task:
        resource.setrlimit(resource.RLIMIT_AS, (task["memory_bytes"],) * 2)
    if task.get("powerless"):
        drop_capabilities()
    from pathoml.cli import guarded, main

    if "fault" in task:  # where faulty_calls.c is in front of the C library
        kind, place, folder = task["fault"]
        ctypes.CDLL(None).faulty_calls(kind.encode(), ctypes.c_long(place), folder.encode())
    code = 70
    try:
        verb = task["arguments"][0]
        code = guarded(lambda: main(task["arguments"]) if verb else rate(task["arguments"][1]))
    finally:
        if "fault" in task:
            system = ctypes.CDLL(None)
            counts = (ctypes.c_long * len(CALLS)).in_dll(system, "of_each")
            os.write(out, f"\n{CALLS_SAID}{json.dumps(dict(zip(CALLS, counts)))}\n".encode())
        sys.stdout.flush()
        os._exit(code)


def serve() -> None:
    import timm  # noqa: F401
    import torch

    import pathoml.bundles.locking
    import pathoml.cli
    import pathoml.embedding.ready_encoder
    import pathoml.embedding.step
    import pathoml.explanation.maps
    import pathoml.pipeline
    import pathoml.tiling.step
    import pathoml.training.all_folds  # noqa: F401

    torch.set_num_threads(1)
    for line in sys.stdin:
        task = json.loads(line)
        said, out = os.pipe()  # no file: a full disk is not to silence it
        fcntl.fcntl(out, fcntl.F_SETPIPE_SZ, 2**20)
        begun = time.monotonic()
        pid = os.fork()
        if pid == 0:
            child(task, out)
        os.close(out)
        status = None
        if "after" in task:
            while time.monotonic() - begun < task["after"] and status is None:
                done, code = os.waitpid(pid, os.WNOHANG)
                status = code if done else None
                time.sleep(0.002)
            if status is None:
                os.kill(pid, task["signal"])
        if status is None:
            _, status = os.waitpid(pid, 0)
        with open(said, "rb") as file:
            os.set_blocking(said, False)  # a grandchild may live on and hold the other end
            text = (file.raw.read(2**20) or b"").decode(errors="replace")
        text, _, calls = text.partition(f"\n{CALLS_SAID}")
        end = {
            "code": os.waitstatus_to_exitcode(status),
            "said": text,
            "seconds": time.monotonic() - begun,
            "calls": json.loads(calls or "{}"),
        }
        sys.stdout.write(json.dumps(end) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
