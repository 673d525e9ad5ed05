"""The blinded reading room: what is read, in an order of the rater's own, with a tenth of it read
twice, under codes that tell nothing.

A code is a keyed hash of rater, item and repeat. It leads to pixels only; the map follows once a
first read is saved.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pathoml.store.tables import read_own_table
from pathoml.study.run_folder import RunFolder

REPEATED_SHARE = 0.1  # of the items, read a second time for the agreement of a rater with himself
CODE_DIGITS = 16


@dataclass(frozen=True, kw_only=True)
class Item:
    """Something to be read: a code of discover's naming sheet, or a whole slide."""

    item: str
    slide_id: str
    phenotype: str = ""


@dataclass(frozen=True, kw_only=True)
class Seat:
    """One item in one rater's order."""

    code: str
    item: Item
    repeat: int
    rater: str


def reading_items(run_folder: Path, slide_ids: Sequence[str]) -> list[Item]:
    """Return the items of features/naming_sheet/key.csv if `discover` wrote it, else all slides."""
    key = RunFolder(run_folder).naming_key
    known = set(slide_ids)
    if key.is_file():
        table = read_own_table(key)
        table.require(("item", "slide_id", "phenotype"))
        return [
            Item(item=r["item"], slide_id=r["slide_id"], phenotype=r["phenotype"])
            for r in table.rows
            if r["slide_id"] in known
        ]
    return [Item(item=s, slide_id=s) for s in slide_ids]


def seats(items: Sequence[Item], rater: str, key: bytes) -> list[Seat]:
    """Return a rater's order: the same at every visit, another for every rater, repeats in the
    second half.

    >>> mine = seats([Item(item=f"S{i}", slide_id=f"S{i}") for i in range(20)], "Dr A", b"key")
    >>> len(mine), sum(s.repeat for s in mine), len({s.code for s in mine})
    (22, 2, 22)
    """
    items = sorted(
        items, key=lambda i: (i.item, i.phenotype)
    )  # the order depends on what is read, not on how it was listed
    rng = np.random.default_rng(
        int.from_bytes(hmac.digest(key, f"order/{rater}".encode(), "sha256")[:8])
    )
    order = [int(i) for i in rng.permutation(len(items))]
    repeated = (
        order[: math.ceil(len(items) * REPEATED_SHARE)] if len(items) > 1 else []
    )  # the longest time between both reads
    places = [(i, 0) for i in order]
    half = (len(places) + 1) // 2
    for i in repeated:
        places.insert(int(rng.integers(half, len(places) + 1)), (i, 1))
    return [
        Seat(code=_code(key, rater, items[i], repeat), item=items[i], repeat=repeat, rater=rater)
        for i, repeat in places
    ]


def _code(key: bytes, rater: str, item: Item, repeat: int) -> str:
    return (
        "r"
        + hmac.new(
            key, "\0".join((rater, item.item, item.phenotype, str(repeat))).encode(), hashlib.sha256
        ).hexdigest()[:CODE_DIGITS]
    )


def is_read(seat: Seat, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether the rater has saved a reading of this seat; `rows` are the rater's blinded
    readings.
    """
    return any(
        r["item"] == seat.item.item
        and r["repeat"] == seat.repeat
        and r["phenotype"] == seat.item.phenotype
        for r in rows
    )
