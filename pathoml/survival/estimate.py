"""Numbers with their intervals: from bootstrap draws, and from a standard error."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import stats

from pathoml.types import Estimate as Estimate  # whoever takes estimates finds it here

SMALLEST_WIDTH = 1e-12  # of an interval between 0 and 1: less is the rounding of sums


def interval_text(
    value: float, low: float | None, high: float | None, *, digits: str = ".2f", without: str = ""
) -> str:
    """Return a number with its interval in words.

    Args:
        digits: how each number is written, as a format.
        without: what stands in the interval's place where there is none.

    >>> interval_text(0.62, 0.55, 0.69), interval_text(0.62, None, None, without=" (no interval)")
    ('0.62 (0.55 to 0.69)', '0.62 (no interval)')
    """
    known = low is not None and high is not None
    return f"{value:{digits}}" + (f" ({low:{digits}} to {high:{digits}})" if known else without)


def percentile_estimate(
    value: float, draws: npt.NDArray[np.float64] | None, *, n: int, events: int, level: float = 0.95
) -> Estimate:
    """Return the value with the percentile interval of its bootstrap draws, (R,); without draws, or
    where all of them are the same, there is no interval.

    >>> percentile_estimate(0.5, np.array([0.0, 0.25, 0.5, 0.75, 1.0]), n=3, events=2, level=0.5)
    0.50 (50 % interval 0.25 to 0.75)
    """
    if draws is None or len(draws) == 0:
        return Estimate(estimate=value, low=None, high=None, n=n, events=events, level=level)
    low, high = (float(end) for end in np.nanquantile(draws, ((1 - level) / 2, (1 + level) / 2)))
    if not high - low > SMALLEST_WIDTH:  # a perfect order, or a level that decides everything
        return Estimate(estimate=value, low=None, high=None, n=n, events=events, level=level)
    return Estimate(estimate=value, low=low, high=high, n=n, events=events, level=level)


def normal_estimate(
    value: float,
    error: float,
    *,
    n: int,
    events: int,
    level: float = 0.95,
    exponential: bool = False,
) -> Estimate:
    """Return the value with a normal interval from its standard error, or exp of all three; of an
    error of 0 there is no interval: nothing was seen that could vary.

    >>> normal_estimate(0.0, 1.0, n=3, events=2).high
    1.959963984540054
    """
    reach = float(stats.norm.ppf((1 + level) / 2)) * error
    ends = (value, value - reach, value + reach)
    estimate, low, high = (math.exp(end) for end in ends) if exponential else ends
    if error == 0:
        return Estimate(estimate=estimate, low=None, high=None, n=n, events=events, level=level)
    return Estimate(estimate=estimate, low=low, high=high, n=n, events=events, level=level)


def widened_ratio(estimate: Estimate, widening: float) -> Estimate:
    """Return a hazard ratio of the score with its interval widened on the scale of the log.

    >>> widened_ratio(Estimate(estimate=1.0, low=0.5, high=2.0, n=60, events=30), 2.0)
    1.00 (95 % interval 0.25 to 4.00)
    """
    if estimate.low is None or estimate.high is None:
        return estimate
    low, high = (
        estimate.estimate * (end / estimate.estimate) ** widening
        for end in (estimate.low, estimate.high)
    )
    return replace(estimate, low=low, high=high)
