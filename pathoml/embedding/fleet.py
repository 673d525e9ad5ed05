"""Several processes that embed, on one machine's cores or GPUs or on a cluster's: each takes a few
slides at a time.

An item is a few slides, so that a small slide does not drain a GPU; each slide's file is written
when it is done, so that nothing of an item that died is done again. Features of a slide depend on
that slide alone, whoever embeds it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch

from pathoml.compute.devices import prepare_device
from pathoml.compute.processes import gpus_each, processes, threads_each
from pathoml.compute.shards import Shard
from pathoml.config import ComputeConfig
from pathoml.embedding.jobs import EmbedJob, stale_jobs
from pathoml.embedding.loop import EmbedReport, embed_part
from pathoml.embedding.ready_encoder import ReadyEncoder, ready_encoder
from pathoml.errors import WorkerDied
from pathoml.plugins import load_plugin
from pathoml.store.failures import write_failures
from pathoml.store.files import sweep_temporaries

PARTS_EACH = 8  # items a process gets in all, so that uneven slides even out
MOST_SLIDES = 8  # of an item
DIED = "the process that worked on it died"


@dataclass(frozen=True, kw_only=True)
class EmbedPart:
    """A few slides, and how to embed them."""

    jobs: tuple[EmbedJob, ...]
    encoder: str
    encoder_sha256: str
    compute: ComputeConfig
    workers: int  # threads that read slides
    threads: int  # that compute
    compiled: bool | None  # whether the encoder is, None = where it can be had and pays


def embed_apart(
    jobs: Sequence[EmbedJob],
    *,
    encoder_name: str,
    encoder_sha256: str,
    compute: ComputeConfig,
    workers: int,
    on_slide: Callable[[str], None],
    compiled: bool | None = False,
    shard: Shard | None = None,
) -> EmbedReport:
    """Embed slides in several processes; a slide that fails is recorded and the others go on.

    Args:
        workers: threads that read slides, of all processes together on this machine.
        shard: which part of the batch the jobs are; its failures go into a file of their own.
        on_slide: called with the slide_id of each slide that is done or has failed.
        compiled: whether the encoder is, None = where it can be had and pays.
    """
    count, whole = processes(compute), EmbedReport()
    folder = jobs[0].embeddings_path.parent
    folder.mkdir(parents=True, exist_ok=True)
    sweep_temporaries(folder)
    started = time.monotonic()
    each = min(MOST_SLIDES, max(1, len(jobs) // (count * PARTS_EACH)))
    part = EmbedPart(
        jobs=(),
        encoder=encoder_name,
        encoder_sha256=encoder_sha256,
        compute=compute,
        workers=max(1, workers // count),
        threads=threads_each(compute, count),
        compiled=compiled,
    )
    map_items = load_plugin("pathoml.engines", compute.engine, "map_items").map_items

    def run(groups: Iterator[Sequence[EmbedJob]]) -> list[EmbedJob]:
        """Embed groups of slides and return those whose process died."""
        parts = {
            str(number): replace(part, jobs=tuple(group)) for number, group in enumerate(groups)
        }
        lost: list[EmbedJob] = []
        for key, result in map_items(
            work, list(parts.items()), workers=count, gpus_each=gpus_each(compute)
        ):
            if isinstance(result, EmbedReport):
                whole.add(result)
                for slide_id in (*result.slide_seconds, *result.failures):
                    on_slide(slide_id)
            elif isinstance(result, WorkerDied):
                lost += parts[key].jobs
            else:
                whole.failures.update(
                    {job.slide_id: f"{type(result).__name__}: {result}" for job in parts[key].jobs}
                )
        return lost

    lost = run(jobs[start : start + each] for start in range(0, len(jobs), each))
    left = stale_jobs(
        lost, encoder_name, encoder_sha256
    )  # those of a dead item that were finished stay
    for job in run([job] for job in left):  # each alone: only the one that kills is lost
        whole.failures[job.slide_id] = f"{DIED} (killed, out of memory, or aborted in a C library)"
    whole.seconds = time.monotonic() - started
    whole.waited /= count  # of the processes' mean
    write_failures(folder, whole.failures, shard.suffix if shard else "")
    return whole


def work(part: EmbedPart) -> EmbedReport:
    """Embed the slides of an item in this process; the network is loaded once."""
    torch.set_num_threads(part.threads)
    device = prepare_device(part.compute)  # which has the last word on threads
    wanted = part.compute.batch_size
    encoder = _ready(
        part.encoder,
        str(device),
        wanted if isinstance(wanted, int) else None,
        part.compiled,
        part.compute.precision,
    )
    return embed_part(
        stale_jobs(part.jobs, part.encoder, part.encoder_sha256),
        encoder,
        workers=part.workers,
        on_tiles=lambda *_: None,
    )


@lru_cache(maxsize=1)
def _ready(
    name: str, device: str, batch_size: int | None, compiled: bool | None, precision: str
) -> ReadyEncoder:
    return ready_encoder(
        name, torch.device(device), batch_size=batch_size, compiled=compiled, precision=precision
    )
