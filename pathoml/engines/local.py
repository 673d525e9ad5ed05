"""This machine: spawned processes, because a fork while threads read slides can deadlock."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.queues import SimpleQueue
from typing import TypeVar

from pathoml.errors import WorkerDied
from pathoml.spawning import spawn_context
from pathoml.store.children import worker_pool
from pathoml.store.system import usable_cores

Item = TypeVar("Item")
Result = TypeVar("Result")


def available_workers() -> int:
    """Return the number of cores that this process may use."""
    return usable_cores()


def map_items(
    function: Callable[[Item], Result],
    items: Iterable[tuple[str, Item]],
    *,
    workers: int,
    gpus_each: float = 0.0,
) -> Iterator[tuple[str, Result | Exception]]:
    """Yield (key, result or the exception it raised) for every item, as they finish.

    Args:
        function: importable at the top of a module; called in a spawned process (in this one if
            `workers` is 1).
        items: (key, item) pairs; a key names the slide in failures.
        gpus_each: the part of a GPU that a worker takes: each sees one GPU, the first 1 / gpus_each
            workers the first one, and so on.

    A worker that dies (killed, aborted inside a C library) breaks its whole pool. The items that
    may have been in hand are tried once more, each alone, so that only the one that kills is
    reported; the others go on in a new pool.
    """
    pending = list(items)
    if workers <= 1 and not gpus_each:
        yield from ((key, attempt(function, item)) for key, item in pending)
        return
    while pending:
        with _pool(min(workers, len(pending)), gpus_each) as pool:
            futures = [_submit(pool, function, item) for _, item in pending]
            places = {future: place for place, future in enumerate(futures)}
            died: list[int] = []
            for future in as_completed(futures):
                key, error = pending[places[future]][0], future.exception()
                if isinstance(error, BrokenProcessPool):
                    died.append(places[future])
                elif error is None:
                    yield key, future.result()
                elif isinstance(error, Exception):
                    yield key, error
                else:
                    raise error
        broken = [
            pending[place] for place in sorted(died)
        ]  # in the order in which they were handed out
        in_hand = 2 * workers + 1  # being worked on, and queued one ahead
        for key, item in broken[:in_hand]:
            yield key, _attempt_alone(function, item, gpus_each)
        pending = broken[in_hand:]


def _submit(
    pool: ProcessPoolExecutor, function: Callable[[Item], Result], item: Item
) -> Future[Result]:
    try:
        return pool.submit(function, item)
    except BrokenProcessPool as error:  # a worker died before everything was handed out
        future: Future[Result] = Future()
        future.set_exception(error)
        return future


def _attempt_alone(
    function: Callable[[Item], Result], item: Item, gpus_each: float
) -> Result | Exception:
    with _pool(1, gpus_each) as pool:
        future = _submit(pool, function, item)
        error = future.exception()
    if isinstance(error, BrokenProcessPool):
        return WorkerDied(
            "the process that worked on it died (killed, out of memory, or aborted in a C library)"
        )
    if isinstance(error, Exception):
        return error
    return future.result()


@contextmanager
def _pool(workers: int, gpus_each: float) -> Iterator[ProcessPoolExecutor]:
    if not gpus_each:
        with worker_pool(workers) as pool:
            yield pool
        return
    places: SimpleQueue[str] = spawn_context().SimpleQueue()
    for worker in range(workers):
        places.put(visible_gpu(worker, gpus_each))
    with worker_pool(workers, _see_one_gpu, places) as pool:
        yield pool


def visible_gpu(worker: int, gpus_each: float) -> str:
    """Return the GPU of a worker, as CUDA_VISIBLE_DEVICES spells it.

    >>> [visible_gpu(worker, 0.5) for worker in range(4)]
    ['0', '0', '1', '1']
    """
    place = int(worker * gpus_each)
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return allowed.split(",")[place] if allowed else str(place)


def _see_one_gpu(places: SimpleQueue[str]) -> None:
    os.environ["CUDA_VISIBLE_DEVICES"] = places.get()  # before torch looks


def attempt(function: Callable[[Item], Result], item: Item) -> Result | Exception:
    """Return what the function gives for the item, or the exception that it raises."""
    try:
        return function(item)
    except Exception as error:  # noqa: BLE001 - one bad slide must not end the batch; the caller records it
        return error
