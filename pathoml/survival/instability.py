"""How far a patient's prediction moves when the model is developed anew on other patients.

A model that was developed on few patients gives one patient 20 % and, had other patients of the
same hospitals been there, 45 %; what holds on average (C, calibration) does not show it. The
development is repeated on bootstrap samples and each repetition predicts the original patients.

Source: Riley & Collins, Biom J 65 (2023) 2200302, doi 10.1002/bimj.202200302.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pathoml.errors import CohortError
from pathoml.types import Array

RANGE = (2.5, 50.0, 97.5)  # percentiles over the repetitions
FEWEST = 2  # repetitions without which there is no spread


@dataclass(frozen=True, kw_only=True)
class Instability:
    """The spread of B patients' predictions over R repeated developments."""

    sd: Array  # (B,) with R - 1
    low: Array  # (B,) 2.5th percentile
    median: Array  # (B,)
    high: Array  # (B,) 97.5th percentile
    mean_absolute_error: Array  # (B,) mean distance from the original prediction: MAPE of a patient

    @property
    def width(self) -> Array:
        """(B,) of the 95 % range."""
        return self.high - self.low


def instability(original: npt.ArrayLike, repeated: npt.ArrayLike) -> Instability:
    """Return how far repeated predictions of each patient lie from each other and the original.

    Args:
        original: (B,) predictions of the model in hand: scores, or risks.
        repeated: (R, B) of the same patients by models developed on bootstrap samples.

    Raises:
        CohortError: fewer than two repetitions.

    >>> spread = instability([0.2, 0.5], [[0.1, 0.5], [0.4, 0.5]])
    >>> spread.mean_absolute_error  # (0.1 + 0.2) / 2, and nothing
    array([0.15, 0.  ])
    """
    first, again = _checked(original, repeated)
    low, median, high = np.percentile(again, RANGE, axis=0)
    return Instability(
        sd=again.std(axis=0, ddof=1),
        low=low,
        median=median,
        high=high,
        mean_absolute_error=np.abs(again - first).mean(axis=0),
    )


def classification_instability(original: npt.ArrayLike, repeated: npt.ArrayLike) -> Array:
    """Return (B,) the share of repetitions that put a patient into another group than the original.

    Args:
        original: (B,) labels, or bool.
        repeated: (R, B) of the same kind.

    Raises:
        CohortError: fewer than two repetitions.

    >>> classification_instability([True, False], [[True, True], [True, False]])
    array([0. , 0.5])
    """
    first, again = _checked(original, repeated)
    share: Array = (again != first).mean(axis=0)
    return share


def _checked(original: npt.ArrayLike, repeated: npt.ArrayLike) -> tuple[Array, Array]:
    first, again = np.asarray(original), np.asarray(repeated)
    if again.ndim != 2 or again.shape[1:] != first.shape:
        raise CohortError(
            f"repeated predictions have shape {again.shape}, expected (R, {first.size}): a column"
            " for each patient."
        )
    if len(again) < FEWEST:
        raise CohortError(f"not estimable: {len(again)} repetitions have no spread.")
    return first, again
