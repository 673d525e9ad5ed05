"""A number with its interval and what it rests on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """An estimate, the two ends of its interval (None where there is none), patients and events."""

    estimate: float
    low: float | None
    high: float | None
    n: int
    events: int

    def to_json(self) -> dict[str, float | int | None]:
        """Return the five keys of metrics.json at full precision; what is not finite is None, for
        JSON knows no NaN.

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


def percentile_estimate(
    value: float, draws: npt.NDArray[np.float64] | None, *, n: int, events: int, level: float = 0.95
) -> Estimate:
    """Return the value with the percentile interval of its bootstrap draws, (R,); without draws
    there is no interval.

    >>> percentile_estimate(0.5, np.array([0.0, 0.25, 0.5, 0.75, 1.0]), n=3, events=2, level=0.5)
    Estimate(estimate=0.5, low=0.25, high=0.75, n=3, events=2)
    """
    if draws is None or len(draws) == 0:
        return Estimate(estimate=value, low=None, high=None, n=n, events=events)
    low, high = (float(end) for end in np.nanquantile(draws, ((1 - level) / 2, (1 + level) / 2)))
    return Estimate(estimate=value, low=low, high=high, n=n, events=events)


def normal_estimate(
    value: float,
    error: float,
    *,
    n: int,
    events: int,
    level: float = 0.95,
    exponential: bool = False,
) -> Estimate:
    """Return the value with a normal interval from its standard error, or exp of all three.

    >>> normal_estimate(0.0, 1.0, n=3, events=2).high
    1.959963984540054
    """
    reach = float(stats.norm.ppf((1 + level) / 2)) * error
    ends = (value, value - reach, value + reach)
    estimate, low, high = (math.exp(end) for end in ends) if exponential else ends
    return Estimate(estimate=estimate, low=low, high=high, n=n, events=events)


def _finite_or_none(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
