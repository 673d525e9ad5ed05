"""How many processes do the work, and how they share cores and GPUs."""

from __future__ import annotations

from pathoml.config import ComputeConfig, Study
from pathoml.engines.local import available_workers


def workers(study: Study) -> int:
    """Return the number of processes that read slides."""
    wanted = study.config.compute.workers
    return available_workers() if wanted == "auto" else max(1, wanted)


def processes(compute: ComputeConfig) -> int:
    """Return how many processes run the encoder: as study.yaml says, else as many as the GPUs hold;
    on CPUs one, or one a core for Ray.
    """
    if compute.encoders != "auto":
        return compute.encoders
    import torch  # here, because loading it takes seconds and `tile` needs none of it

    if gpus := torch.cuda.device_count() if compute.device != "cpu" else 0:
        return max(1, int(gpus / compute.gpu_share))
    return 1 if compute.engine == "local" else available_workers()


def threads_each(compute: ComputeConfig, count: int) -> int:
    """Return the threads that compute in each of some processes: its share of this machine's cores;
    a task of a cluster has one.
    """
    return max(1, available_workers() // count) if compute.engine == "local" else 1


def gpus_each(compute: ComputeConfig) -> float:
    """Return the part of a GPU that a process takes, 0 on CPUs."""
    import torch

    return compute.gpu_share if compute.device != "cpu" and torch.cuda.is_available() else 0.0
