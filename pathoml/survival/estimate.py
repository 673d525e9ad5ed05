"""A number with its interval and what it rests on."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """An estimate, the two ends of its interval (None where there is none), patients and events."""

    estimate: float
    low: float | None
    high: float | None
    n: int
    events: int

    def to_json(self) -> dict[str, float | int | None]:
        """Return the five keys of metrics.json at full precision; what is not finite is None, for JSON knows no NaN.

        >>> Estimate(estimate=0.62, low=0.55, high=float("nan"), n=246, events=110).to_json()
        {'estimate': 0.62, 'low': 0.55, 'high': None, 'n': 246, 'events': 110}
        """
        return {
            "estimate": _finite_or_none(self.estimate),
            "low": _finite_or_none(self.low),
            "high": _finite_or_none(self.high),
            "n": int(self.n),
            "events": int(self.events),
        }


def _finite_or_none(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
