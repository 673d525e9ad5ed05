"""The Cox model: Newton-Raphson on the partial likelihood, ties by Efron; strata, offset, weights,
delayed entry, ridge penalty.

Why not lifelines: it imports pandas and autograd, stops at 2e-6 of R by default, and the nested
cross-validation of the ridge baseline needs thousands of fits. Here the risk sets are cumulative
sums, and the information matrix is one product: sum over events of S2 / S0 is X' diag(a) X with a
the cumulative hazard that each patient has run up.

With an entry time a row is at risk from just after entry until its time, so that a patient who
entered late was not at risk before, and a time-varying treatment is several rows of one patient
(start-stop rows).

Source: Efron, JASA 72 (1977) 557-565; ridge: Verweij & van Houwelingen, Stat Med 13 (1994)
2427-2436; robust variance: Lin & Wei, JASA 84 (1989) 1074-1078. Checked against R survival::coxph
in tests/survival/test_cox.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt
from scipy import stats

from pathoml.errors import CohortError
from pathoml.survival.estimate import Estimate
from pathoml.survival.one_thread import one_blas_thread
from pathoml.survival.outcome import (
    checked_entry,
    checked_groups,
    checked_outcome,
    checked_score,
    checked_weight,
)
from pathoml.types import Array

# Newton needs 4 to 8; a coefficient that runs to infinity takes all of them, about 1 / SD each
MAX_ITERATIONS = 40
# in units of a coefficient per SD of its covariate; the error after such a step is its square
STEP_TOLERANCE = 1e-9
# log hazard ratio per SD: a coefficient and a standard error above it are no estimate (e^5 = 148)
RUNAWAY = 5.0
# between two log hazards: beyond it exp() loses the patient at the lower end (e^-600 = 1e-261)
FARTHEST = 600.0
# smallest eigenvalue of the information, as a correlation matrix, that still counts as information
SINGULAR = 1e-9
# of a covariate, as a share of its largest value: a smaller one is the rounding of a constant
SMALLEST_RANGE = 1e-12
# of an end of a hazard ratio's interval: beyond e^20, 500 million, it is no number of medicine
LARGEST_LOG_RATIO = 20.0


@dataclass(frozen=True, kw_only=True)
class CoxFit:
    """A fitted Cox model. Log-likelihoods are without the penalty; the covariance is the inverse of
    the penalised one.
    """

    coefficients: Array  # (p,) log hazard ratio per unit of the covariate as it was given
    covariance: Array  # (p, p)
    log_likelihood: float
    null_log_likelihood: float  # all coefficients zero; an offset stays in
    n: int
    events: int
    converged: bool


class NotIdentified(CohortError):
    """The data do not say what a coefficient is: which columns of the covariates that concerns."""

    def __init__(self, message: str, columns: Sequence[int]) -> None:
        super().__init__(message)
        self.columns = tuple(columns)


class LikelihoodRatio(NamedTuple):
    """Twice the gain in log-likelihood, the number of coefficients it took, and the p value."""

    chi2: float
    df: int
    p: float


def fit_cox(
    covariates: npt.ArrayLike,
    time_months: npt.ArrayLike,
    event: npt.ArrayLike,
    *,
    ridge: float = 0.0,
    stratum: npt.ArrayLike | None = None,
    offset: npt.ArrayLike | None = None,
    entry_months: npt.ArrayLike | None = None,
    weight: npt.ArrayLike | None = None,
    start: npt.ArrayLike | None = None,
    names: Sequence[str] | None = None,
) -> CoxFit:
    """Fit a Cox model by maximum (penalised) partial likelihood.

    Args:
        covariates: (B, p) numbers; p = 0 gives the null model, to test another one against.
        time_months: (B,) months to the event or the last visit.
        event: (B,) bool or 0/1.
        ridge: 0.5 * ridge * sum(coefficients**2) is subtracted from the log-likelihood, in the
            units of the covariates given.
        stratum: (B,) labels; each has its own baseline hazard.
        offset: (B,) added to the linear predictor with coefficient 1.
        entry_months: (B,) months at which the row comes under observation; None: from time zero. An
            entry at the time of an event is after it.
        weight: (B,) case weights; with other weights than counts use robust_covariance.
        start: (p,) coefficients to start from; the answer does not depend on them, the time does.
        names: (p,) of the covariates, for messages.

    Raises:
        CohortError: no event.
        NotIdentified: a covariate that is constant, or a combination of others, and no ridge; a
            coefficient that runs to infinity because its covariate separates events from the rest.

    >>> fit = fit_cox([[0.0], [1.0], [0.0], [1.0]], [4, 1, 2, 3], [1, 1, 1, 1])
    >>> np.exp(fit.coefficients).round(4)  # (1 + sqrt(17)) / 2, from r**2 - r - 4 = 0
    array([2.5616])
    """
    time, seen = checked_outcome(time_months, event)
    n, events = len(time), int(seen.sum())
    given = np.asarray(covariates, dtype=np.float64)
    if given.ndim != 2 or len(given) != n:
        raise CohortError(
            f"covariates have shape {given.shape}, expected ({n}, p): a row for each patient."
        )
    labels = (
        [f"column {k}" for k in range(given.shape[1])]
        if names is None
        else [repr(name) for name in names]
    )
    if not np.isfinite(given).all():
        row, column = np.argwhere(~np.isfinite(given))[0]
        raise CohortError(
            f"Covariate {labels[column]} of row {row} is {given[row, column]}. Impute it or drop"
            " the row."
        )
    if events == 0:
        raise CohortError(
            f"No event among {n} patients: a Cox model cannot be fitted. Check the event column."
        )
    if ridge < 0:
        raise CohortError(f"ridge = {ridge}: a penalty cannot be negative.")
    shift = np.zeros(n) if offset is None else checked_score(offset, n, "offset")
    strata = (
        np.zeros(n, dtype=np.int64) if stratum is None else checked_groups(stratum, n, "stratum")
    )

    largest = np.abs(given).max(axis=0, initial=0.0)  # (p,)
    varies = np.ptp(given, axis=0) > SMALLEST_RANGE * largest  # (p,) by more than rounding
    scale = np.where(varies, given.std(axis=0), 1.0)  # (p,)
    standard = np.where(varies, (given - given.mean(axis=0)) / scale, 0.0)  # (B, p)
    risk_sets = RiskSets(
        time,
        seen,
        strata,
        entry=checked_entry(entry_months, time),
        weight=checked_weight(weight, n),
    )
    coefficients = (
        np.zeros(given.shape[1]) if start is None else np.asarray(start, dtype=np.float64) * scale
    )
    null = risk_sets.log_likelihood(shift)
    with one_blas_thread():
        coefficients, information, converged = _newton(
            standard, risk_sets, shift, ridge / scale**2, coefficients, labels
        )
        covariance = np.linalg.inv(information) if len(information) else information
    return CoxFit(
        coefficients=coefficients / scale,
        covariance=covariance / np.outer(scale, scale),
        log_likelihood=risk_sets.log_likelihood(standard @ coefficients + shift),
        null_log_likelihood=null,
        n=n,
        events=events,
        converged=converged,
    )


def partial_log_likelihood(
    log_risk: npt.ArrayLike,
    time_months: npt.ArrayLike,
    event: npt.ArrayLike,
    *,
    stratum: npt.ArrayLike | None = None,
    offset: npt.ArrayLike | None = None,
    entry_months: npt.ArrayLike | None = None,
) -> float:
    """Return the log partial likelihood (Efron) of a given linear predictor; it does not depend on
    the predictor's level, in a stratum.

    Args:
        offset: (B,) added to the predictor.

    >>> partial_log_likelihood([0.0, 0.0, 0.0], [1, 2, 3], [1, 1, 0])  # -log(3) - log(2)
    -1.791759469228055
    """
    time, seen = checked_outcome(time_months, event)
    strata = (
        np.zeros(len(time), dtype=np.int64)
        if stratum is None
        else checked_groups(stratum, len(time), "stratum")
    )
    risk_sets = RiskSets(time, seen, strata, entry=checked_entry(entry_months, time))
    predictor = checked_score(log_risk, len(time))
    if offset is not None:
        predictor = predictor + checked_score(offset, len(time), "offset")
    return risk_sets.log_likelihood(predictor)


def likelihood_ratio_test(full: CoxFit, reduced: CoxFit) -> LikelihoodRatio:
    """Test whether the covariates that only the full model has add anything; both must be fitted to
    the same rows.

    The p value holds for covariates that were measured, not for out-of-fold scores, for which it is
    anticonservative.

    >>> time, event = [4, 1, 2, 3], [1, 1, 1, 1]
    >>> full = fit_cox([[0.0], [1.0], [0.0], [1.0]], time, event)
    >>> reduced = fit_cox([[], [], [], []], time, event)
    >>> round(likelihood_ratio_test(full, reduced).chi2, 4)
    0.6162
    """
    if (full.n, full.events) != (reduced.n, reduced.events):
        raise CohortError(
            f"The full model has {full.n} patients and {full.events} events, the reduced one "
            f"{reduced.n} and {reduced.events}. Fit both to the same rows."
        )
    df = len(full.coefficients) - len(reduced.coefficients)
    if df <= 0:
        raise CohortError(
            f"The full model has {len(full.coefficients)} coefficients, the reduced one "
            f"{len(reduced.coefficients)}: the reduced model must be part of the full one."
        )
    chi2 = 2 * (full.log_likelihood - reduced.log_likelihood)
    return LikelihoodRatio(chi2=chi2, df=df, p=float(stats.chi2.sf(chi2, df)))


def wald_test(fit: CoxFit, column: int) -> float:
    """Return the two-sided p value of one coefficient."""
    z = fit.coefficients[column] / np.sqrt(fit.covariance[column, column])
    return float(2 * stats.norm.sf(abs(z)))


def robust_covariance(
    fit: CoxFit,
    covariates: npt.ArrayLike,
    time_months: npt.ArrayLike,
    *,
    event: npt.ArrayLike,
    weight: npt.ArrayLike | None = None,
    entry_months: npt.ArrayLike | None = None,
    stratum: npt.ArrayLike | None = None,
    offset: npt.ArrayLike | None = None,
    cluster: npt.ArrayLike | None = None,
) -> Array:
    """Return the sandwich covariance (p, p) of Lin & Wei, as R coxph(robust = TRUE) or cluster():
    for weights, or rows of one patient.

    Args:
        fit: of the same rows.
        cluster: (B,) labels of the patients where several rows belong to one; None: each row is
            one.
    """
    influence = influences(
        fit,
        covariates,
        time_months,
        event=event,
        weight=weight,
        entry_months=entry_months,
        stratum=stratum,
        offset=offset,
    )
    if cluster is not None:
        group = checked_groups(cluster, len(influence), "cluster")
        summed = np.zeros((int(group.max()) + 1, influence.shape[1]))
        np.add.at(summed, group, influence)
        influence = summed
    covariance: Array = influence.T @ influence
    return covariance


def influences(
    fit: CoxFit,
    covariates: npt.ArrayLike,
    time_months: npt.ArrayLike,
    *,
    event: npt.ArrayLike,
    weight: npt.ArrayLike | None = None,
    entry_months: npt.ArrayLike | None = None,
    stratum: npt.ArrayLike | None = None,
    offset: npt.ArrayLike | None = None,
) -> Array:
    """Return the weighted dfbeta of every row, (B, p): how far the coefficients move with the row;
    R residuals(type = "dfbeta").

    Args:
        offset: (B,) that the fit had.
    """
    time, seen = checked_outcome(time_months, event)
    x = np.asarray(covariates, dtype=np.float64)
    shift = np.zeros(len(time)) if offset is None else checked_score(offset, len(time), "offset")
    strata = (
        np.zeros(len(time), dtype=np.int64)
        if stratum is None
        else checked_groups(stratum, len(time), "stratum")
    )
    risk_sets = RiskSets(
        time,
        seen,
        strata,
        entry=checked_entry(entry_months, time),
        weight=checked_weight(weight, len(time)),
    )
    residual = np.zeros_like(x)  # (B, p) score residuals times case weight
    for part in risk_sets.strata:
        predictor, at_risk_weight = part.weights(x @ fit.coefficients + shift)
        sorted_x = x[part.rows]
        inverse = 1 / part.at_risk(at_risk_weight)  # (E,)
        means = part.at_risk(at_risk_weight[:, None] * sorted_x) * inverse[:, None]  # (E, p)
        jump = part.event_weight * inverse  # (E,)
        own = -np.exp(predictor)[:, None] * (
            sorted_x * part.run_up(jump)[:, None] - part.run_up(jump[:, None] * means)
        )
        size = np.bincount(part.tie)[part.tie][:, None]
        tied_mean = np.add.reduceat(means / size, part.tie_start, axis=0)[part.tie]
        own[part.event_rows] += sorted_x[part.event_rows] - tied_mean
        residual[part.rows] = own * part.case_weight[:, None]
    moved: Array = residual @ fit.covariance
    return moved


def hazard_ratio(fit: CoxFit, column: int, level: float = 0.95) -> Estimate:
    """Return the hazard ratio per unit of one covariate, with its Wald interval.

    Raises:
        CohortError: a unit of the covariate is so large beside what was seen that an end of the
            interval lies beyond e to the power of 20.
    """
    coefficient, error = fit.coefficients[column], np.sqrt(fit.covariance[column, column])
    reach = stats.norm.ppf((1 + level) / 2) * error
    if not abs(coefficient) + reach <= LARGEST_LOG_RATIO:
        raise CohortError(
            f"not estimable: the log hazard ratio is {coefficient:.3g} with a standard error of"
            f" {error:.2g}. The variable hardly varies, or too few events tell its values apart."
        )
    low, ratio, high = np.exp([coefficient - reach, coefficient, coefficient + reach])
    return Estimate(
        estimate=float(ratio),
        low=float(low),
        high=float(high),
        n=fit.n,
        events=fit.events,
        level=level,
    )


class RiskSets:
    """Who is at risk at each event: rows sorted from the latest time to the earliest, so risk sets
    are cumulative sums.
    """

    def __init__(
        self,
        time: Array,
        event: npt.NDArray[np.bool_],
        strata: npt.NDArray[np.int64],
        *,
        entry: Array | None = None,
        weight: Array | None = None,
    ) -> None:
        case_weight = np.ones(len(time)) if weight is None else weight
        parts = [np.flatnonzero(strata == value) for value in np.unique(strata)]
        self.strata = [
            _Stratum(rows, time, event, entry=entry, weight=case_weight)
            for rows in parts
            if event[rows].any()
        ]  # the others say nothing

    def log_likelihood(self, predictor: Array) -> float:
        with np.errstate(divide="ignore", invalid="ignore"):
            value = float(sum(stratum.log_likelihood(predictor) for stratum in self.strata))
        return (
            value if np.isfinite(value) else -np.inf
        )  # hazards more than exp(700) apart underflow to an empty risk set

    def derivatives(self, covariates: Array, predictor: Array) -> tuple[Array, Array]:
        """Return the gradient (p,) and the information, minus the second derivative (p, p)."""
        parts = [stratum.derivatives(covariates, predictor) for stratum in self.strata]
        gradient, information = (
            np.sum([part[0] for part in parts], axis=0),
            np.sum([part[1] for part in parts], axis=0),
        )
        return gradient, information


class _Stratum:
    """The risk sets of one stratum; B rows and E events below are those of the stratum."""

    def __init__(
        self,
        rows: npt.NDArray[np.int64],
        time: Array,
        event: npt.NDArray[np.bool_],
        *,
        entry: Array | None,
        weight: Array,
    ) -> None:
        self.rows = rows[
            np.lexsort((~event[rows], -time[rows]))
        ]  # latest first; at one time, events first
        sorted_time, sorted_event = time[self.rows], event[self.rows]
        self.case_weight = weight[self.rows]  # (B,)
        self.event_rows = np.flatnonzero(sorted_event)  # (E,) positions among the sorted rows
        event_time = -sorted_time[self.event_rows]  # ascending, as searchsorted wants it
        self.event_time = -event_time  # (E,) descending
        self.last_at_risk = np.searchsorted(-sorted_time, event_time, side="right") - 1  # (E,)
        self.tie_start = np.flatnonzero(
            np.diff(event_time, prepend=-np.inf)
        )  # (K,) first event of each event time
        tie_size = np.diff(self.tie_start, append=len(event_time))  # (K,)
        self.tie = np.repeat(np.arange(len(tie_size)), tie_size)  # (E,) which event time
        rank = np.arange(len(event_time)) - self.tie_start[self.tie]
        self.efron = (
            rank / tie_size[self.tie]
        )  # (E,) share of the tied events that has already left the risk set
        tied_weight = np.add.reduceat(self.case_weight[self.event_rows], self.tie_start)
        self.event_weight = (tied_weight / tie_size)[
            self.tie
        ]  # (E,) tied events share their weight evenly, as in R
        # A patient is at risk at the events from here on (events are sorted from late to early) ...
        self.first_event = np.searchsorted(event_time, -sorted_time, side="left")  # (B,)
        # ... and, if observation began late, at those before this one.
        self.entry_order: npt.NDArray[np.int64] | None = None
        if entry is not None:
            sorted_entry = entry[self.rows]
            self.entry_order = np.argsort(-sorted_entry, kind="stable")
            latest_first = -sorted_entry[self.entry_order]
            self.not_yet = np.searchsorted(
                latest_first, event_time, side="right"
            )  # (E,) rows that enter at the event or later
            self.end_event = np.searchsorted(event_time, -sorted_entry, side="left")  # (B,)

    def log_likelihood(self, predictor: Array) -> float:
        sorted_predictor, weight = self.weights(predictor)
        own = self.case_weight[self.event_rows] * sorted_predictor[self.event_rows]
        return float((own - self.event_weight * np.log(self.at_risk(weight))).sum())

    def derivatives(self, covariates: Array, predictor: Array) -> tuple[Array, Array]:
        _, weight = self.weights(predictor)
        x = covariates[self.rows]  # (B, p)
        inverse = 1 / self.at_risk(weight)  # (E,)
        means = self.at_risk(weight[:, None] * x) * inverse[:, None]  # (E, p)
        own = self.case_weight[self.event_rows, None] * x[self.event_rows]
        gradient = own.sum(axis=0) - (self.event_weight[:, None] * means).sum(axis=0)  # (p,)
        hazard = self.run_up(self.event_weight * inverse)  # (B,)
        information = (x * (weight * hazard)[:, None]).T @ x - (
            self.event_weight[:, None] * means
        ).T @ means  # (p, p)
        return gradient, information

    def run_up(self, increments: Array) -> Array:
        """Return what each row has run up of the events' increments while at risk, less Efron's
        share of its own: (B,) or (B, p).
        """
        later = np.concatenate(
            [increments[::-1].cumsum(axis=0)[::-1], np.zeros((1, *increments.shape[1:]))]
        )
        total: Array = later[self.first_event]
        if self.entry_order is not None:
            total = total - later[self.end_event]
        share = self.efron if increments.ndim == 1 else self.efron[:, None]
        total[self.event_rows] -= np.add.reduceat(share * increments, self.tie_start, axis=0)[
            self.tie
        ]
        return total

    def weights(self, predictor: Array) -> tuple[Array, Array]:
        """Return the predictor of the sorted rows, its level removed, and case weight times exp of
        it, (B,) each.
        """
        sorted_predictor = predictor[self.rows]
        sorted_predictor = (
            sorted_predictor - sorted_predictor.max()
        )  # the likelihood does not see the level; exp does
        return sorted_predictor, self.case_weight * np.exp(sorted_predictor)

    def at_risk(self, values: Array) -> Array:
        """Return sums over the risk set of each event, less Efron's share of those tied with it:
        (E,) or (E, p).
        """
        tied = np.add.reduceat(values[self.event_rows], self.tie_start, axis=0)[self.tie]
        share = self.efron if values.ndim == 1 else self.efron[:, None]
        sums: Array = values.cumsum(axis=0)[self.last_at_risk] - share * tied
        if self.entry_order is not None:
            entering = np.concatenate(
                [np.zeros((1, *values.shape[1:])), values[self.entry_order].cumsum(axis=0)]
            )
            sums = sums - entering[self.not_yet]
        return sums


def _newton(
    covariates: Array,
    risk_sets: RiskSets,
    offset: Array,
    penalty: Array,
    coefficients: Array,
    labels: Sequence[str],
) -> tuple[Array, Array, bool]:
    """Return coefficients per SD, the penalised information there, and if the steps died out."""
    if covariates.shape[1] == 0:
        return coefficients, np.zeros((0, 0)), True

    def penalised(trial: Array) -> float:
        return risk_sets.log_likelihood(covariates @ trial + offset) - 0.5 * float(
            penalty @ trial**2
        )

    value = penalised(coefficients)
    if value == -np.inf:  # a start that is far too far
        coefficients = np.zeros_like(coefficients)
        value = penalised(coefficients)
    step: Array = np.zeros_like(coefficients)
    for iteration in range(MAX_ITERATIONS):
        gradient, information = risk_sets.derivatives(
            covariates, covariates @ coefficients + offset
        )
        gradient, information = gradient - penalty * coefficients, information + np.diag(penalty)
        if iteration == 0 and not penalty.any():
            _refuse_singular(information, labels)
        try:
            np.linalg.cholesky(
                information
            )  # refuses what is not positive definite, where solve would not
            step = np.asarray(np.linalg.solve(information, gradient), dtype=np.float64)
        except np.linalg.LinAlgError:
            break  # the information along a coefficient that runs to infinity has vanished
        step_value = penalised(coefficients + step)
        halvings = 0
        while step_value < value - 1e-10 * (1 + abs(value)) and halvings < 30:
            step, halvings = step / 2, halvings + 1
            step_value = penalised(coefficients + step)
        coefficients, value = coefficients + step, step_value
        if not penalty.any() and np.ptp(covariates @ coefficients) > FARTHEST:
            _raise_separated(int(np.argmax(np.abs(coefficients))), labels)
        if np.abs(step).max() < STEP_TOLERANCE * (1 + np.abs(coefficients).max()):
            information = _information(covariates, risk_sets, offset, penalty, coefficients)
            if not penalty.any():
                _refuse_separated(coefficients, information, labels)
            return coefficients, information, True
    if not penalty.any() and np.abs(step).max() > 1e-3:
        _raise_separated(int(np.argmax(np.abs(step))), labels)
    return coefficients, _information(covariates, risk_sets, offset, penalty, coefficients), False


def _information(
    covariates: Array, risk_sets: RiskSets, offset: Array, penalty: Array, coefficients: Array
) -> Array:
    return risk_sets.derivatives(covariates, covariates @ coefficients + offset)[1] + np.diag(
        penalty
    )


def _refuse_separated(coefficients: Array, information: Array, labels: Sequence[str]) -> None:
    """Raise if a coefficient is far out and the data say nothing of it there: far out, rounding can
    stop the steps by chance.
    """
    error = np.sqrt(
        1 / np.diag(information).clip(min=1e-300)
    )  # per SD, the other coefficients held
    runaway = np.flatnonzero((np.abs(coefficients) > RUNAWAY) & (error > RUNAWAY))
    if len(runaway):
        _raise_separated(int(runaway[0]), labels)


def _raise_separated(column: int, labels: Sequence[str]) -> NoReturn:
    raise NotIdentified(
        f"The coefficient of covariate {labels[column]} runs to infinity: its values separate"
        " patients with early events from the others. Merge rare levels, leave it out, or fit with"
        " ridge > 0.",
        [column],
    )


def _refuse_singular(information: Array, labels: Sequence[str]) -> None:
    """Raise if a covariate, or a combination of covariates, is the same for everyone at risk at
    every event.
    """
    diagonal = np.sqrt(np.diag(information).clip(min=0))
    if not (diagonal > 1e-6).all():
        constant = int(np.argmin(diagonal))
        raise NotIdentified(
            f"Covariate {labels[constant]} is the same for all patients at risk at every event."
            " Leave it out.",
            [constant],
        )
    values, vectors = np.linalg.eigh(information / np.outer(diagonal, diagonal))
    if values[0] < SINGULAR:
        involved = np.flatnonzero(np.abs(vectors[:, 0]) > 0.1).tolist()
        raise NotIdentified(
            f"Covariates {', '.join(labels[k] for k in involved)} determine one another. Leave one"
            " out, or fit with ridge > 0.",
            involved,
        )
