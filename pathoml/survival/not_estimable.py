"""A number, or why there is none; never a number that only looks right."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from pathoml.errors import CohortError
from pathoml.survival.estimate import Estimate
from pathoml.types import Json


def or_not_estimable(compute: Callable[[], Any]) -> Json:
    """Return what compute returns as JSON, or the five keys of an estimate with None and a note
    that says why.

    >>> there = Estimate(estimate=0.6, low=0.5, high=0.7, n=20, events=9)
    >>> or_not_estimable(lambda: there)["estimate"]
    0.6
    """
    try:
        value = compute()
    except CohortError as error:
        return not_estimable(str(error))
    result: Json = value.to_json() if isinstance(value, Estimate) else value
    return result


def not_estimable(note: str) -> Json:
    """Return an estimate without numbers.

    >>> not_estimable("3 events")["note"]
    'not estimable: 3 events'
    """
    note = note if note.startswith("not estimable: ") else f"not estimable: {note}"
    return {"estimate": None, "low": None, "high": None, "n": None, "events": None, "note": note}


def json_numbers(values: npt.ArrayLike) -> list[float | None]:
    """Return floats for JSON, None for what is not finite.

    >>> json_numbers(np.array([1.0, np.nan]))
    [1.0, None]
    """
    return [float(v) if math.isfinite(v) else None for v in np.asarray(values, dtype=np.float64)]
