"""Who was given the treatment: a logistic model of it, overlap weights, and how well they balance.

Treatment in a registry was given for reasons. Overlap weights (1 - e for the treated, e for the
others) compare the patients who might have got either; with a logistic model they balance the mean
of each of its covariates exactly, and none of them can explode.

Source: Li, Morgan & Zaslavsky, JASA 113 (2018) 390-400. Checked against R glm in
tests/survival/test_agreement_with_r.py.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pathoml.errors import CohortError
from pathoml.survival.rare_levels import independent_columns, is_level
from pathoml.types import Array

MAX_ITERATIONS = 50
# a propensity closer to 0 or 1 than this means that a covariate decides the treatment
FARTHEST = 1e-6


def propensity(covariates: npt.ArrayLike, treated: npt.ArrayLike) -> Array:
    """Return each patient's probability of treatment by logistic regression with an intercept,
    (B,).

    A level all or none of whose patients are treated has a probability of 1 or 0, exactly, and
    leaves the model with them: overlap weights then give them 0, since nobody compares. Of columns
    that determine one another the later ones stay out; the probabilities are the same.

    Args:
        covariates: (B, p) without missing values; p may be 0.
        treated: (B,) 0 or 1.

    Raises:
        CohortError: everybody or nobody is treated, or a number decides who is.

    The shares of both groups:

    >>> propensity([[0.0], [0.0], [1.0], [1.0], [1.0]], [0, 1, 1, 1, 0]).round(3)
    array([0.5  , 0.5  , 0.667, 0.667, 0.667])
    """
    given = np.asarray(treated, dtype=np.float64)
    x = np.asarray(covariates, dtype=np.float64)
    if not np.isin(given, (0, 1)).all() or given.min() == given.max():
        raise CohortError(
            f"not estimable: treatment must be 0 and 1 with patients in both; {int(given.sum())} "
            f"of {len(given)} are treated."
        )
    chance, undecided = decided_by_a_level(x, given)
    if undecided.all():
        return _logistic(x[:, independent_columns(x)], given)
    if len(np.unique(given[undecided])) < 2:
        raise CohortError(
            "not estimable: a covariate decides who was treated; patients with and without do"
            " not overlap."
        )
    rest = x[undecided]
    chance[undecided] = _logistic(rest[:, independent_columns(rest)], given[undecided])
    return chance


def decided_by_a_level(x: Array, given: Array) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Return the treatment (B,) of those whose level decides it, and who the others are, (B,).

    >>> x, given = np.array([[1.0], [1.0], [0.0], [0.0]]), np.array([1.0, 1.0, 0.0, 1.0])
    >>> decided_by_a_level(x, given)[1].tolist()
    [False, False, True, True]
    """
    undecided = np.ones(len(x), dtype=bool)
    levels = np.flatnonzero(is_level(x))
    found = True
    while found:  # without these patients, another level may decide
        found = False
        for column in levels:
            mine = undecided & (x[:, column] == 1)
            if mine.any() and np.ptp(given[mine]) == 0:
                undecided &= ~mine
                found = True
    return np.where(undecided, np.nan, given), undecided


def _logistic(x: Array, given: Array) -> Array:
    design = np.column_stack([np.ones(len(given)), x])  # (B, p + 1)
    coefficients = np.zeros(design.shape[1])
    for _ in range(MAX_ITERATIONS):
        chance = 1 / (1 + np.exp(-np.clip(design @ coefficients, -700, 700)))
        spread = chance * (1 - chance)
        if min(chance.min(), 1 - chance.max()) < FARTHEST:
            raise CohortError(
                "not estimable: a covariate decides who was treated; patients with and without do"
                " not overlap."
            )
        try:
            step = np.linalg.solve(
                (design * spread[:, None]).T @ design, design.T @ (given - chance)
            )
        except np.linalg.LinAlgError as error:
            raise CohortError(
                "not estimable: covariates of the propensity model determine one another. Leave one"
                " out."
            ) from error
        coefficients = coefficients + step
        if np.abs(step).max() < 1e-10:
            break
    else:
        raise CohortError(
            "not estimable: a covariate decides who was treated; the propensity model does not"
            " converge."
        )
    result: Array = 1 / (1 + np.exp(-(design @ coefficients)))
    return result


def overlap_weights(chance: npt.ArrayLike, treated: npt.ArrayLike) -> Array:
    """Return 1 - e for the treated and e for the others, (B,)."""
    e, given = np.asarray(chance, dtype=np.float64), np.asarray(treated, dtype=np.float64)
    return np.where(given == 1, 1 - e, e)


def standardised_differences(
    covariates: npt.ArrayLike, treated: npt.ArrayLike, weight: npt.ArrayLike | None = None
) -> Array:
    """Return the weighted mean of the treated minus that of the others, in pooled unweighted SDs,
    (p,). Above 0.1 is an imbalance.
    """
    x, given = np.asarray(covariates, dtype=np.float64), np.asarray(treated) == 1
    w = np.ones(len(x)) if weight is None else np.asarray(weight, dtype=np.float64)
    means = [np.average(x[group], axis=0, weights=w[group]) for group in (given, ~given)]
    pooled = np.sqrt((x[given].var(axis=0, ddof=1) + x[~given].var(axis=0, ddof=1)) / 2)
    difference: Array = np.divide(
        means[0] - means[1], pooled, out=np.zeros(x.shape[1]), where=pooled > 0
    )
    return difference
