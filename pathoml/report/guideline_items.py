"""An item of a reporting guideline, and the words that all guidelines share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pathoml.report import wording
from pathoml.types import Json

AUTHORS = "the authors"
MADE_ELSEWHERE = "vectors that were made elsewhere: describe how, and that it saw no outcome"


@dataclass(frozen=True, kw_only=True)
class Item:
    """One item of a guideline with what this run answers; `where` is the file the value comes from,
    or "the authors".
    """

    number: str
    asks: str
    answer: str
    where: str


def answered(number: str, asks: str, answer: str, *, where: str = "metrics.json") -> Item:
    """Return an item that the run answers."""
    return Item(number=number, asks=asks, answer=answer, where=where)


def written(number: str, asks: str, answer: str = "to be written") -> Item:
    """Return an item that only the authors can answer."""
    return Item(number=number, asks=asks, answer=answer, where=AUTHORS)


def count(value: Any) -> str:
    """Return a whole number, or "not available"."""
    return wording.number(value, 0)


def c_to_quote(metrics: Json) -> str:
    """Return the headline C with its interval and what it compares."""
    within = " within centres" if wording.within_centres(metrics) else ""
    return f"C{within} {wording.estimate(wording.headline_of(metrics))}"


def slope_of_best(metrics: Json) -> str:
    """Return the calibration slope of the fullest model's cross-fitted risks."""
    slopes = (metrics.get("calibration") or {}).get("slope_of_risks") or {}
    best = next((name for name in ("clinical_and_image", "image") if name in slopes), "image")
    return f"{wording.estimate(slopes.get(best))} ({best.replace('_', ' ')})"
