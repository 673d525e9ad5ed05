"""Multiple imputation of clinical covariates by chained equations, learned on training patients.

scikit-learn's IterativeImputer goes round the covariates; each is drawn from a Bayesian linear
regression on the others by predictive mean matching, so that every drawn value is one that some
patient has, and a category gets one of its levels. A category with more than two levels enters as
one number a level, the first canonical variate of its levels on the other columns.

Training patients are imputed with their outcome among the columns (event and cumulative hazard),
without which the effects of imputed covariates would be biased towards none. Other patients are
imputed by a second model of the training patients' covariates alone: nobody's outcome is in it,
and their own is never asked for.

Source: van Buuren, Flexible Imputation of Missing Data, 2nd ed. (2018), 3.4 and 4.5; Rubin (1987),
example 5.1; White & Royston, Stat Med 28 (2009) 1982-1998; Sisk et al., Stat Methods Med Res 32
(2023) 1461-1477. docs/decisions/0022.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pathoml.survival.absolute_risk import baseline_hazard
from pathoml.survival.design import NumericColumn, fit_design, is_missing
from pathoml.survival.one_thread import one_blas_thread
from pathoml.survival.rubin import imputations_needed
from pathoml.types import Array

Bools = npt.NDArray[np.bool_]
Covariates = Mapping[str, Sequence[object]]

ROUNDS = 5  # of the chained equations, as mice's maxit
DONORS = 5  # patients with the nearest prediction, one of whom lends the value; as mice's
RIDGE = 1e-5  # of the sum of squares, that collinear columns have an answer; as mice's
ALARMING_SHARE = 0.3  # of a covariate's cells
SEED = 1  # of every imputation


def missing_cells(columns: Covariates) -> dict[str, Bools]:
    """Return for each covariate (B,) whether the cell is empty."""
    return {
        name: np.array([is_missing(value) for value in values], dtype=np.bool_)
        for name, values in columns.items()
    }


def missing_rows(columns: Covariates) -> Bools:
    """Return (B,) whether a patient lacks a covariate."""
    cells = list(missing_cells(columns).values())
    return np.any(cells, axis=0) if cells else np.zeros(0, dtype=np.bool_)


def impute_covariates(
    columns: Covariates,
    time_months: Array,
    event: Bools,
    *,
    score: Array,
    entry_months: Array | None = None,
) -> tuple[dict[str, list[object]], ...]:
    """Return as many imputed sets as are needed, for estimates: every patient's cells are drawn
    with their outcome and their (B,) image score; no set where no cell is empty.
    """
    incomplete = missing_rows(columns)
    if not incomplete.any():
        return ()
    outcome = outcome_columns(time_months, event, entry_months=entry_months)
    known = np.column_stack([outcome, score])
    imputer = fit_imputer(columns, np.ones(len(known), dtype=np.bool_), known)
    sets = imputations_needed(int(incomplete.sum()), len(known))
    return tuple(imputer.draw((SEED, k)) for k in range(sets))


def outcome_columns(
    time_months: Array, event: Bools, *, entry_months: Array | None = None
) -> Array:
    """Return (B, 2) what an outcome is to an imputation: the event, and Nelson and Aalen's
    cumulative hazard that each patient has run up under observation.

    >>> outcome_columns(np.array([1.0, 2.0, 3.0]), np.array([True, True, False])).round(4).tolist()
    [[1.0, 0.3333], [1.0, 0.8333], [0.0, 0.8333]]
    """
    if not event.any():
        return np.zeros((len(event), 2))
    curve = baseline_hazard(np.zeros(len(event)), time_months, event, entry_months=entry_months)
    before = 0.0 if entry_months is None else curve.at(entry_months)
    return np.column_stack([event.astype(np.float64), curve.at(time_months) - before])


class MatchedDraw:
    """A Bayesian linear regression that predicts by lending: parameters are drawn once a fit, and a
    prediction is the value of one of the patients whose fitted mean is nearest (type 1 matching).

    It is an estimator as IterativeImputer asks for one.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def __sklearn_clone__(self) -> MatchedDraw:
        return MatchedDraw(self.rng)  # one stream of random numbers for all columns and rounds

    def fit(self, x: Array, y: Array) -> MatchedDraw:
        """Learn from (n, p) other columns and (n,) known values, and draw the parameters."""
        self.centre = x.mean(axis=0)
        spread = x.std(axis=0)
        self.scale = np.where(spread > 0, spread, np.inf)  # a constant says nothing
        design = self._design(x)  # (n, 1 + p)
        products = design.T @ design
        inverse = np.linalg.inv(products + RIDGE * np.diag(np.diag(products).clip(1e-9)))
        coefficients = inverse @ design.T @ y
        fitted = design @ coefficients  # (n,)
        squares = float(((y - fitted) ** 2).sum())
        sigma = np.sqrt(squares / self.rng.chisquare(max(len(y) - design.shape[1], 1)))
        root = np.linalg.cholesky((inverse + inverse.T) / 2)
        self.drawn = coefficients + sigma * (root @ self.rng.standard_normal(len(coefficients)))
        self.fitted, self.lent = fitted, y
        return self

    def predict(self, x: Array) -> Array:
        """Return (k,) lent values for (k, p) other columns."""
        mean = self._design(x) @ self.drawn  # (k,)
        order = self.rng.permutation(len(self.lent))  # so that ties are broken at random
        distance = np.abs(self.fitted[order] - mean[:, None])  # (k, n)
        donors = min(DONORS, len(order))
        nearest = np.argpartition(distance, donors - 1, axis=1)[:, :donors]
        chosen = nearest[np.arange(len(x)), self.rng.integers(donors, size=len(x))]
        values: Array = self.lent[order[chosen]]
        return values

    def _design(self, x: Array) -> Array:
        return np.column_stack([np.ones(len(x)), (x - self.centre) / self.scale])


@dataclass(frozen=True, kw_only=True)
class CodedCovariates:
    """The covariates as one number a cell, NaN where it is empty or unknown to training."""

    values: Array  # (B, p)
    names: tuple[str, ...]
    levels: Mapping[str, tuple[str, ...]]  # of the categories
    codes: Mapping[str, Array]  # (L,) the number of each level
    constants: Mapping[str, object]  # covariates in which all training patients are alike


@dataclass(frozen=True, kw_only=True)
class Imputer:
    """What imputes one cohort, for one division into training and other patients."""

    columns: Covariates
    train: Bools  # (B,)
    of_training: CodedCovariates
    of_others: CodedCovariates
    auxiliary: Array  # (B, q) known of training patients

    def draw(self, seed: Sequence[int]) -> dict[str, list[object]]:
        """Return the covariates with no cell empty; the same seed draws the same.

        A covariate that no training patient has is left as it is; one in which all of them are
        alike is theirs.
        """
        rng = np.random.default_rng(seed)
        train = self.train
        size = self.of_training.values.shape[1]
        filled = np.full((len(train), size), np.nan)  # (B, p)
        own = np.column_stack([self.of_training.values, self.auxiliary])[train]
        filled[train] = _chained(own, own, rng)[:, :size]
        drawn = _decoded(self.columns, self.of_training, filled, train)
        if not train.all():
            known = self.of_others.values[train]
            asked = ~train & np.isnan(self.of_others.values).any(axis=1)
            filled[asked] = _chained(known, self.of_others.values[asked], rng)
            drawn = _decoded(drawn, self.of_others, filled, ~train)
        return drawn


def fit_imputer(columns: Covariates, train: Bools, auxiliary: Array) -> Imputer:
    """Return an imputer of these covariates.

    Args:
        columns: name to one value a patient; empty cells are None, NaN or empty text.
        train: (B,) the patients that it learns from.
        auxiliary: (B, q) what training patients' cells are drawn with beside the covariates:
            their outcome, and for a model with the image score that score. Rows of other patients
            are not read.
    """
    return Imputer(
        columns=columns,
        train=train,
        of_training=_coded(columns, train, auxiliary),
        of_others=_coded(columns, train, auxiliary[:, :0]),
        auxiliary=auxiliary,
    )


def _chained(known: Array, asked: Array, rng: np.random.Generator) -> Array:
    """Return `asked` with its empty cells drawn by chained equations of the rows `known`."""
    if not np.isnan(asked).any():
        return asked
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer

    # a constant beside them: the library draws nothing where there is one column alone
    rows = [np.column_stack([x, np.ones(len(x))]) for x in (known, asked)]
    imputer = IterativeImputer(
        MatchedDraw(rng),
        max_iter=ROUNDS,
        tol=0.0,  # draws do not come to rest
        # a column may be whole in training and empty in another patient
        skip_complete=known is asked,
    )
    with warnings.catch_warnings(), one_blas_thread():  # the same bits on any number of cores
        warnings.simplefilter("ignore", ConvergenceWarning)
        learned = imputer.fit_transform(rows[0])
        drawn: Array = learned if known is asked else imputer.transform(rows[1])
    return drawn[:, :-1]


def _coded(columns: Covariates, train: Bools, auxiliary: Array) -> CodedCovariates:
    empty = missing_cells(columns)
    numbers: dict[str, Array] = {}
    texts: dict[str, tuple[Array, tuple[str, ...]]] = {}
    constants: dict[str, object] = {}
    for name, values in columns.items():
        known = [v for v, gone, t in zip(values, empty[name], train) if t and not gone]
        learned = fit_design({name: known}).columns if known else ()
        if not learned:
            constants.update({name: known[0]} if known else {})
            continue
        if isinstance(learned[0], NumericColumn):
            numbers[name] = np.array(
                [np.nan if gone else v for v, gone in zip(values, empty[name])], dtype=np.float64
            )
        else:
            levels = tuple(sorted({learned[0].reference, *learned[0].levels}))
            place = {level: k for k, level in enumerate(levels)}
            places = [
                np.nan if gone else place.get(str(v).strip(), np.nan)
                for v, gone in zip(values, empty[name])
            ]
            texts[name] = np.array(places, dtype=np.float64), levels
    blocks = {name: _filled(values, train)[:, None] for name, values in numbers.items()}
    blocks |= {name: _indicators(index, len(levels)) for name, (index, levels) in texts.items()}
    codes = {}
    for name, (index, levels) in texts.items():
        others = [block for other, block in blocks.items() if other != name]
        codes[name] = _canonical_codes(
            index[train], np.column_stack([*others, auxiliary])[train], len(levels)
        )
    coded = {
        name: numbers[name] if name in numbers else _looked_up(codes[name], texts[name][0])
        for name in columns
        if name in numbers or name in texts
    }
    n = len(train)
    return CodedCovariates(
        values=np.column_stack([np.empty((n, 0)), *coded.values()]),
        names=tuple(coded),
        levels={name: levels for name, (_, levels) in texts.items()},
        codes=codes,
        constants=constants,
    )


def _filled(values: Array, train: Bools) -> Array:
    filled: Array = np.where(np.isnan(values), np.nanmedian(values[train]), values)
    return filled


def _indicators(index: Array, levels: int) -> Array:
    one_hot: Array = (index[:, None] == np.arange(levels)).astype(np.float64)
    return one_hot  # (B, L), empty is all 0


def _looked_up(codes: Array, index: Array) -> Array:
    known = ~np.isnan(index)
    values = np.full(len(index), np.nan)
    values[known] = codes[index[known].astype(np.int64)]
    return values


def _canonical_codes(index: Array, others: Array, levels: int) -> Array:
    """Return (L,) a number for each level: the first canonical variate of the levels on the other
    columns, so that levels whose patients are alike are near each other; all are different.
    """
    known = ~np.isnan(index)
    x = others[known] - others[known].mean(axis=0)
    spread = x.std(axis=0)
    x = x[:, spread > 0] / spread[spread > 0]
    place = np.arange(levels, dtype=np.float64)
    if levels == 2 or not x.shape[1]:
        return place
    member = _indicators(index[known], levels)  # (n, L)
    root = np.sqrt(member.sum(axis=0))  # (L,)
    basis, strength, _ = np.linalg.svd(x, full_matrices=False)
    basis = basis[:, strength > 1e-8 * strength[0]]
    directions, _, _ = np.linalg.svd((member.T @ basis) / root[:, None], full_matrices=False)
    codes = directions[:, 0] / root  # (L,)
    codes = codes * np.sign(codes[np.argmax(np.abs(codes))])
    size = float(np.abs(codes).max()) or 1.0
    distinct: Array = codes / size + 1e-9 * place
    return distinct


def _decoded(
    columns: Covariates, coded: CodedCovariates, filled: Array, rows: Bools
) -> dict[str, list[object]]:
    """Return the covariates with the empty cells of these rows taken from `filled`."""
    empty = missing_cells(columns)
    result: dict[str, list[object]] = {name: list(values) for name, values in columns.items()}
    for name, value in coded.constants.items():
        for row in np.flatnonzero(empty[name] & rows):
            result[name][row] = value
    for k, name in enumerate(coded.names):
        for row in np.flatnonzero(empty[name] & rows):
            drawn = float(filled[row, k])
            if name in coded.levels:
                nearest = int(np.argmin(np.abs(coded.codes[name] - drawn)))
                result[name][row] = coded.levels[name][nearest]
            else:
                result[name][row] = drawn
    return result
