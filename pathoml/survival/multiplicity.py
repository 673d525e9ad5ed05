"""Many hypotheses, one family: the false discovery rate of Benjamini & Hochberg, and Holm's
familywise error, with the size of the family given, not guessed.

Source: Benjamini & Hochberg, J R Stat Soc B 57 (1995) 289-300; Holm, Scand J Stat 6 (1979) 65-70.
They equal R p.adjust(p, "BH" or "holm", n = size).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pathoml.errors import CohortError
from pathoml.types import Array


def benjamini_hochberg(p_values: npt.ArrayLike, family_size: int | None = None) -> Array:
    """Return the q value of each test, (K,).

    Args:
        p_values: (K,).
        family_size: all hypotheses that were tested, also those whose p value is not here; None: K.

    Raises:
        CohortError: a p value outside 0 to 1, or a family smaller than its tests.

    >>> benjamini_hochberg([0.01, 0.04, 0.03])
    array([0.03, 0.04, 0.04])
    >>> benjamini_hochberg([0.01], family_size=20)
    array([0.2])
    """
    p, size = _checked(p_values, family_size)
    order = np.argsort(p)[::-1]
    rank = np.arange(len(p), 0, -1)
    q = np.empty(len(p))
    q[order] = np.minimum(1.0, np.minimum.accumulate(p[order] * size / rank))
    return q


def holm(p_values: npt.ArrayLike, family_size: int | None = None) -> Array:
    """Return the adjusted p value of each test, (K,): below a level, the chance of any false claim
    in the family is below it too.

    Args:
        p_values: (K,).
        family_size: all hypotheses that were tested, also those whose p value is not here; None: K.

    Raises:
        CohortError: a p value outside 0 to 1, or a family smaller than its tests.

    >>> holm([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])
    >>> holm([0.01], family_size=20)
    array([0.2])
    """
    p, size = _checked(p_values, family_size)
    order = np.argsort(p)
    left = size - np.arange(len(p))  # hypotheses not yet rejected
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * left))
    return adjusted


def _checked(p_values: npt.ArrayLike, family_size: int | None) -> tuple[Array, int]:
    p = np.asarray(p_values, dtype=np.float64)
    size = len(p) if family_size is None else family_size
    if not ((p >= 0) & (p <= 1)).all():
        raise CohortError("A p value lies between 0 and 1.")
    if size < len(p):
        raise CohortError(f"The family has {size} hypotheses, but {len(p)} p values were given.")
    return p, size
