"""This machine: spawned processes, because a fork while threads read slides can deadlock."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def available_workers() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def map_items(
    function: Callable[[Item], Result], items: Iterable[tuple[str, Item]], *, workers: int
) -> Iterator[tuple[str, Result | Exception]]:
    """Yield (key, result or the exception it raised) for every item, as they finish.

    Args:
        function: importable at the top of a module; called in a spawned process (in this one if `workers` is 1).
        items: (key, item) pairs; a key names the slide in failures.

    A worker that dies (killed, aborted inside a C library) breaks its whole pool. The items that may have been in hand are tried once
    more, each alone, so that only the one that kills is reported; the others go on in a new pool.
    """
    pending = list(items)
    if workers <= 1:
        yield from ((key, _attempt(function, item)) for key, item in pending)
        return
    while pending:
        with _pool(min(workers, len(pending))) as pool:
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
        broken = [pending[place] for place in sorted(died)]  # in the order in which they were handed out
        in_hand = 2 * workers + 1  # being worked on, and queued one ahead
        for key, item in broken[:in_hand]:
            yield key, _attempt_alone(function, item)
        pending = broken[in_hand:]


def _submit(pool: ProcessPoolExecutor, function: Callable[[Item], Result], item: Item) -> Future[Result]:
    try:
        return pool.submit(function, item)
    except BrokenProcessPool as error:  # a worker died before everything was handed out
        future: Future[Result] = Future()
        future.set_exception(error)
        return future


def _attempt_alone(function: Callable[[Item], Result], item: Item) -> Result | Exception:
    with _pool(1) as pool:
        future = pool.submit(function, item)
        error = future.exception()
    if isinstance(error, BrokenProcessPool):
        return RuntimeError("the process that worked on it died (killed, out of memory, or aborted in a C library)")
    if isinstance(error, Exception):
        return error
    return future.result()


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))


def _attempt(function: Callable[[Item], Result], item: Item) -> Result | Exception:
    try:
        return function(item)
    except Exception as error:  # noqa: BLE001 - one bad slide must not end the batch; the caller records it
        return error
