"""The mean-embedding ridge Cox model: the baseline that attention has to beat.

Everything is learned on the rows given, the training rows: means, SDs, principal components and the
penalty. A ridge penalty on principal components is the ridge penalty on the standardised embedding,
restricted to its leading directions.

Source: Verweij & van Houwelingen, Stat Med 12 (1993) 2305-2314 (cross-validated partial likelihood)
and Stat Med 13 (1994) 2427-2436 (ridge).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.linalg import svd

from pathoml.errors import CohortError
from pathoml.survival.cox import fit_cox, partial_log_likelihood
from pathoml.survival.one_thread import one_blas_thread
from pathoml.survival.outcome import (
    at_rows,
    checked_entry,
    checked_groups,
    checked_outcome,
    checked_score,
)
from pathoml.types import Array

MAX_COMPONENTS = 64
INNER_FOLDS = 4
RIDGE_PER_EVENT = tuple(
    10 ** (k / 2) for k in range(4, -5, -1)
)  # 100 to 0.01: the information grows with the events
RANK_TOLERANCE = 1e-8  # singular values below this share of the largest are rounding


@dataclass(frozen=True, kw_only=True)
class RidgeCox:
    """A linear log-risk over the covariates as they were given, zero on average over the training
    rows.
    """

    mean: Array  # (D,) of the training rows
    weights: Array  # (D,) log hazard ratio per unit
    ridge: float  # chosen penalty, on principal components scaled so that the first has SD 1
    components: int
    n: int
    events: int
    # (B,) log-risk of each training row by the inner fold that did not see it, at this penalty
    prevalidated: Array

    def predict(self, covariates: npt.ArrayLike) -> Array:
        """Return log_risk (B,), higher means earlier event, for covariates (B, D)."""
        given = np.asarray(covariates, dtype=np.float64)
        if given.ndim != 2 or given.shape[1] != len(self.mean):
            raise CohortError(
                f"covariates have shape {given.shape}, but the model was fitted to"
                f" {len(self.mean)} columns."
            )
        log_risk: Array = (given - self.mean) @ self.weights
        return log_risk


def fit_ridge_cox(
    covariates: npt.ArrayLike,
    time_months: npt.ArrayLike,
    event: npt.ArrayLike,
    *,
    seed: int,
    components: int | None = None,
    entry_months: npt.ArrayLike | None = None,
    stratum: npt.ArrayLike | None = None,
    offset: npt.ArrayLike | None = None,
    copy_of: npt.ArrayLike | None = None,
    standardise: bool = True,
) -> RidgeCox:
    """Fit the baseline to the training rows; the penalty is chosen by cross-validation inside them.

    Args:
        covariates: (B, D) without missing values, for example the mean embedding of each patient's
            tiles.
        time_months: (B,) months to the event or the last visit.
        event: (B,) bool or 0/1.
        seed: of the inner folds.
        components: principal components to keep; None keeps at most 64, and at most half as many as
            there are patients.
        entry_months: (B,) when observation began; None: at time zero for all.
        stratum: (B,) labels; each has its own baseline hazard, and no risk set crosses it.
        offset: (B,) log-risk that is known already and is added with coefficient 1; `predict` does
            not return it.
        copy_of: (B,) whose row it is, where patients were drawn several times: inner folds keep the
            copies of a patient together. None: every row is a patient of its own.
        standardise: every covariate weighs by its SD. False leaves them their own scale, for
            covariates of one unit, of which a small one is more noise than signal.

    Raises:
        CohortError: fewer than two events, or no covariate that varies.
    """
    time, seen = checked_outcome(time_months, event)
    found = _principal(covariates, len(time), components, standardise=standardise)
    about: dict[str, Any] = {"entry_months": entry_months, "stratum": stratum, "offset": offset}
    chosen = cross_validate_ridge(found.scores, time, seen, seed=seed, copy_of=copy_of, **about)
    fit = fit_cox(found.scores, time, seen, ridge=chosen.ridge, **about)
    return RidgeCox(
        mean=found.mean,
        weights=found.weights @ fit.coefficients,
        ridge=chosen.ridge,
        components=found.scores.shape[1],
        n=len(time),
        events=int(seen.sum()),
        prevalidated=chosen.prevalidated,
    )


class _Principal(NamedTuple):
    """Principal components of standardised covariates, scaled so that the first has SD 1."""

    scores: Array  # (B, K)
    mean: Array  # (D,)
    weights: Array  # (D, K) scores are (covariates - mean) @ weights


def principal_scores(covariates: npt.ArrayLike, components: int | None = None) -> Array:
    """Return (B, K) what `fit_ridge_cox` penalises: principal components of the standardised
    columns, in units of the SD of the first.

    Args:
        covariates: (B, D) without missing values.
        components: to keep; None as `fit_ridge_cox`.

    Raises:
        CohortError: a value is missing, or no covariate varies.
    """
    return _principal(covariates, len(np.asarray(covariates)), components).scores


def _principal(
    covariates: npt.ArrayLike, n: int, components: int | None, *, standardise: bool = True
) -> _Principal:
    given = np.asarray(covariates, dtype=np.float64)
    if given.ndim != 2 or len(given) != n or not np.isfinite(given).all():
        raise CohortError(
            f"covariates have shape {given.shape}, expected ({n}, D) and no missing value."
        )
    mean, spread = given.mean(axis=0), given.std(axis=0)
    varies = (given != given[0]).any(axis=0)
    if not varies.any():
        raise CohortError(
            f"None of the {given.shape[1]} covariates varies among the {n} training patients."
        )
    per_sd = np.divide(
        1.0, spread if standardise else 1.0, out=np.zeros_like(spread), where=varies
    )  # (D,) a constant column gets no weight
    standard = (given - mean) * per_sd  # (B, D)
    keep = min(MAX_COMPONENTS, n // 2) if components is None else components
    with one_blas_thread():
        try:
            left, size, directions = np.linalg.svd(standard, full_matrices=False)
        except np.linalg.LinAlgError:  # the faster routine fails on some doubled rows
            left, size, directions = svd(standard, full_matrices=False, lapack_driver="gesvd")
    keep = max(1, min(keep, int((size > RANK_TOLERANCE * size[0]).sum())))
    unit = size[0] / np.sqrt(n)  # SD of the first component
    return _Principal(
        scores=left[:, :keep] * (size[:keep] / unit),
        mean=mean,
        weights=per_sd[:, None] * directions[:keep].T / unit,
    )


class ChosenRidge(NamedTuple):
    """A penalty, and (B,) log-risk of each row by the inner fold that did not see it, zero on
    average over the rows that the fold learned from.
    """

    ridge: float
    prevalidated: Array


def choose_ridge(
    covariates: npt.ArrayLike,
    time_months: npt.ArrayLike,
    event: npt.ArrayLike,
    **about: Any,
) -> float:
    """Return the penalty alone of `cross_validate_ridge`, whose arguments these are."""
    return cross_validate_ridge(covariates, time_months, event, **about).ridge


def cross_validate_ridge(
    covariates: npt.ArrayLike,
    time_months: npt.ArrayLike,
    event: npt.ArrayLike,
    *,
    seed: int,
    grid: Sequence[float] | None = None,
    folds: int = INNER_FOLDS,
    entry_months: npt.ArrayLike | None = None,
    stratum: npt.ArrayLike | None = None,
    offset: npt.ArrayLike | None = None,
    copy_of: npt.ArrayLike | None = None,
) -> ChosenRidge:
    """Return the penalty with the largest cross-validated partial likelihood, of equals the largest
    penalty, and what the inner folds foretold at it.

    Each fold's share is the log-likelihood of everyone less that of the training rows, both at the
    coefficients of the training rows: what the fold adds when its patients take their place in the
    risk sets.

    Args:
        covariates: (B, p) standardised by the caller.
        time_months: (B,) months to the event or the last visit.
        event: (B,) bool or 0/1.
        seed: of the folds.
        grid: penalties to try; None tries nine, from 0.01 to 100 for each event.
        folds: number of inner folds, each with its share of the events.
        entry_months: (B,) when observation began; None: at time zero for all.
        stratum: (B,) labels; each has its own baseline hazard, and no risk set crosses it.
        offset: (B,) log-risk that is known already and is added with coefficient 1; `predict` does
            not return it.
        copy_of: (B,) whose row it is; copies of a patient stay in one fold. None: no copies.
    """
    time, seen = checked_outcome(time_months, event)
    x = np.asarray(covariates, dtype=np.float64)
    _, first, place = np.unique(
        np.arange(len(time)) if copy_of is None else np.asarray(copy_of),
        return_index=True,
        return_inverse=True,
    )  # a row of each patient, and the patient of each row
    events = int(seen[first].sum())
    about: dict[str, Any] = {
        "entry_months": checked_entry(entry_months, time),
        "stratum": None if stratum is None else checked_groups(stratum, len(time), "stratum"),
        "offset": None if offset is None else checked_score(offset, len(time), "offset"),
    }
    if events < 2:
        raise CohortError(
            f"{len(time)} training patients have {events} events; choosing a penalty needs two or"
            " more."
        )
    penalties = sorted(
        (int(seen.sum()) * k for k in RIDGE_PER_EVENT) if grid is None else grid, reverse=True
    )
    fold = event_balanced_folds(seen[first], min(folds, events), seed)[place]
    gain = np.zeros(len(penalties))
    foretold = np.zeros((len(penalties), len(time)))
    for held_out in range(int(fold.max()) + 1):
        train = fold != held_out
        training = time[train], seen[train]
        of_training: dict[str, Any] = {k: at_rows(v, train) for k, v in about.items()}
        coefficients = np.zeros(x.shape[1])
        for k, ridge in enumerate(
            penalties
        ):  # from the strongest down, each fit starting where the last one ended
            coefficients = fit_cox(
                x[train], *training, ridge=ridge, start=coefficients, **of_training
            ).coefficients
            log_risk = x @ coefficients
            gain[k] += partial_log_likelihood(log_risk, time, seen, **about)
            gain[k] -= partial_log_likelihood(log_risk[train], *training, **of_training)
            foretold[k, ~train] = log_risk[~train] - log_risk[train].mean()
    best = int(np.argmax(gain))
    return ChosenRidge(float(penalties[best]), foretold[best])


def event_balanced_folds(event: npt.ArrayLike, folds: int, seed: int) -> npt.NDArray[np.int64]:
    """Return each patient's fold, (B,), with events and censored patients dealt out separately.

    >>> fold = event_balanced_folds([1, 1, 0, 0, 0, 0], 2, seed=1)
    >>> np.bincount(fold).tolist(), np.bincount(fold[:2]).tolist()
    ([3, 3], [1, 1])
    """
    seen = np.asarray(event).astype(bool)
    rng = np.random.default_rng(seed)
    order = np.concatenate(
        [rng.permutation(np.flatnonzero(seen)), rng.permutation(np.flatnonzero(~seen))]
    )
    fold = np.empty(len(seen), dtype=np.int64)
    fold[order] = np.arange(len(seen)) % folds
    return fold
