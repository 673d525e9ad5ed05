"""The local engine: an item that raises or kills its process costs that item alone."""

from __future__ import annotations

import os
import signal
import time

import pytest

from pathoml.engines.local import available_workers, map_items
from pathoml.errors import WorkerDied

DEADLY = {"kill": lambda: os.kill(os.getpid(), signal.SIGKILL), "exit": lambda: os._exit(0)}


def work(item: int | str) -> int:
    if item == "raise":
        raise ValueError("a bad slide")
    if isinstance(item, str):
        DEADLY[item]()
    time.sleep(0.1)  # long enough for others to be in hand when one dies
    return int(item) ** 2


@pytest.mark.parametrize("workers", [1, 2])
def test_an_item_that_raises_is_reported_and_the_others_are_done(workers):
    results = dict(map_items(work, [("a", 2), ("b", "raise"), ("c", 3)], workers=workers))
    assert (results["a"], results["c"]) == (4, 9)
    assert repr(results["b"]) == "ValueError('a bad slide')"


@pytest.mark.parametrize("death", ["kill", "exit"])
def test_an_item_that_kills_its_process_is_reported_and_the_others_are_done(death):
    items = [
        ("deadly", death),
        *((str(n), n) for n in range(9)),
    ]  # more than two workers have in hand
    results = dict(map_items(work, items, workers=2))
    assert isinstance(results.pop("deadly"), WorkerDied)
    assert results == {str(n): n**2 for n in range(9)}


def test_a_single_deadly_item_does_not_take_the_caller_along():
    [(key, result)] = map_items(work, [("deadly", "kill")], workers=2)
    assert (key, type(result)) == ("deadly", WorkerDied)


def test_nothing_to_do_is_done_at_once():
    assert list(map_items(work, [], workers=2)) == []


def test_workers_are_the_cores_that_this_process_may_use():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert available_workers() == 1
    finally:
        os.sched_setaffinity(0, before)
