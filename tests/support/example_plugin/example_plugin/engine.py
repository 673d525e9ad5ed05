"""Spawned processes, one item each, in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pathoml.engines import local


def map_items(
    function: Callable[[Any], Any],
    items: Iterable[tuple[str, Any]],
    *,
    workers: int,
    gpus_each: float = 0.0,
) -> Iterator[tuple[str, Any]]:
    return local.map_items(function, items, workers=max(2, workers), gpus_each=gpus_each)
