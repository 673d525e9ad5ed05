"""The device a study computes on, and how torch is set for it."""

from __future__ import annotations

import os

import torch

from pathoml.config import ComputeConfig
from pathoml.errors import EncoderError


def pick_device(wanted: str) -> torch.device:
    """Return the device that `compute.device` means on this machine.

    Raises:
        EncoderError: a GPU is asked for and there is none.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise EncoderError(
            "compute.device is cuda, but no GPU is to be seen. `pathoml doctor` says more;"
            " compute.device: auto goes on."
        )
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def prepare_device(compute: ComputeConfig) -> torch.device:
    """Return the device of a study, with torch set to deterministic algorithms where that is wanted
    (auto: on the CPU).
    """
    device = pick_device(compute.device)
    deterministic = (
        device.type == "cpu" if compute.deterministic == "auto" else compute.deterministic
    )
    if deterministic and device.type == "cuda":
        os.environ.setdefault(
            "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
        )  # cuBLAS is deterministic only with a fixed workspace
    if compute.threads != "auto":
        torch.set_num_threads(compute.threads)
    torch.use_deterministic_algorithms(deterministic)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # filling costs a tenth of the time on the CPU
    return device


def pick_precision(
    device: torch.device, wanted: str = "auto", *, stands_bf16: bool = True
) -> torch.dtype:
    """Return what an encoder computes in: as wanted (fp32, bf16), else bfloat16 where it and the
    GPU stand it, else float32 (0002).
    """
    if wanted != "auto":
        return {"fp32": torch.float32, "bf16": torch.bfloat16}[wanted]
    is_short = stands_bf16 and device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.bfloat16 if is_short else torch.float32
