"""How often printed intervals hold what they estimate: cross-validated C, and differences of C.

    python benchmarks/interval_coverage.py --cohorts 1000 --cell "n60 null"

Cohorts are drawn from known laws: 20 features, a linear log hazard, exponential times, about half
of the patients censored; with centre effects the features of each of six centres are shifted by one
SD and its log hazard by 0.5 SD, unrelated to one another. The procedure is ridge Cox, five folds by
five partitions, or one centre left out. What an interval should hold is the procedure's C on new
patients of the same centres: of the models of the folds, on average over cohorts (`mean`), and of
the cohort's own model of everybody (`own`).

Printed for each cell and claim (C; the difference to a second image model and to a clinical model
on the same folds; the cross-fitted change of C when the score joins the covariates): coverage of
the printed interval and of the one given the models, both targets each; the mean of the estimate
and of its target; and the half-width over that given the models of all pairs.
"""

from __future__ import annotations

import argparse
import time as clock
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pathoml.survival.concordance import concordance
from pathoml.survival.fold_concordance import (
    DIFFERENCE_WIDENING,
    WIDENING,
    FoldConcordance,
    FoldedScores,
    fold_concordance,
)

FEATURES, CENTRES, FOLDS, REPEATS = 20, 6, 5, 5
RIDGE = 20.0  # on features of SD 1
CLINICAL = 3  # covariates beside the features, for the change of C
Z = 1.959963984540054


TrueC = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Cell:
    n: int
    signal: float  # SD of the log hazard that the features carry
    centres: bool = False  # several hospitals
    shift: float = 0.0  # of features between centres, in SD
    hazards: float = 0.0  # SD of the centres' log hazards
    loco: bool = False
    repeats: int = REPEATS
    clinical: float = 0.6  # SD of the log hazard that covariates carry


SIGNAL = {"null": 0.0, "weak": 0.75, "strong": 1.1}
CELLS = {
    f"n{n} {name}{' ' + about if about else ''}": Cell(n=n, signal=SIGNAL[name], **options)
    for n in (60, 246)
    for name in SIGNAL
    for about, options in {
        "": {},
        "six centres": {"centres": True},
        "centre effects": {"centres": True, "shift": 1.0, "hazards": 0.5},
        "strong stain": {"centres": True, "shift": 3.0},
        "left out": {"centres": True, "shift": 1.0, "hazards": 0.5, "loco": True, "repeats": 1},
        "one partition": {"centres": True, "shift": 1.0, "hazards": 0.5, "repeats": 1},
        "one partition, one centre": {"repeats": 1},
    }.items()
}


@dataclass(frozen=True, kw_only=True)
class Draw:
    """A cohort in the order of its follow-up times."""

    x: np.ndarray  # (n, p)
    clinical: np.ndarray  # (n, CLINICAL)
    time: np.ndarray
    event: np.ndarray
    centre: np.ndarray
    stratum: np.ndarray | None  # centres where there are several


def draw(cell: Cell, beta: np.ndarray, gamma: np.ndarray, rng: np.random.Generator) -> Draw:
    centre = np.arange(cell.n) % CENTRES if cell.centres else np.zeros(cell.n, int)
    shifts = rng.normal(size=(CENTRES, FEATURES)) * cell.shift
    x = rng.normal(size=(cell.n, FEATURES))
    clinical = rng.normal(size=(cell.n, CLINICAL))
    log_hazard = x @ beta + clinical @ gamma + (rng.normal(size=CENTRES) * cell.hazards)[centre]
    died = rng.exponential(np.exp(-log_hazard))
    left = rng.uniform(0.2, 2.2, cell.n)
    time, event = np.minimum(died, left), died <= left
    order = np.argsort(time)
    return Draw(
        x=(x + shifts[centre])[order],
        clinical=clinical[order],
        time=time[order],
        event=event[order],
        centre=centre[order],
        stratum=centre[order] if cell.centres else None,
    )


def ridge_cox(x: np.ndarray, event: np.ndarray, rows: np.ndarray, ridge: float) -> np.ndarray:
    """Return (M, p) coefficients, each model fitted on the patients of one row of `rows` (M, n);
    patients in the order of time, ties broken by it.
    """
    weight = rows.astype(float)
    beta = np.zeros((len(rows), x.shape[1]))
    for _ in range(12):
        risk = weight * np.exp(np.clip(beta @ x.T, -30, 30))  # (M, n)
        s0 = np.cumsum(risk[:, ::-1], axis=1)[:, ::-1]
        s1 = np.cumsum((risk[:, :, None] * x)[:, ::-1], axis=1)[:, ::-1]  # (M, n, p)
        at = weight * event / np.where(s0 > 0, s0, 1)  # (M, n)
        gradient = (weight * event) @ x - np.einsum("mn,mnp->mp", at, s1) - ridge * beta
        cumulative = np.cumsum(at, axis=1) * risk
        of_means = s1 * (np.sqrt(weight * event) / np.where(s0 > 0, s0, 1))[:, :, None]
        hessian = np.einsum("mn,np,nq->mpq", cumulative, x, x, optimize=True)
        hessian -= np.swapaxes(of_means, 1, 2) @ of_means
        hessian += ridge * np.eye(x.shape[1])
        step = np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
        beta += step
        if np.abs(step).max() < 1e-7:
            break
    return beta


def partitions(cell: Cell, cohort: Draw, rng: np.random.Generator) -> np.ndarray:
    """Return (R, n) folds: stratified by event, or the centre."""
    if cell.loco:
        return cohort.centre[None]
    folds = np.empty((cell.repeats, cell.n), int)
    for row in folds:
        for seen in (True, False):
            who = rng.permutation(np.flatnonzero(cohort.event == seen))
            row[who] = (np.arange(len(who)) + rng.integers(FOLDS)) % FOLDS
    return folds


def folded(predictor: np.ndarray, rows: np.ndarray, folds: np.ndarray) -> FoldedScores:
    """Return how the models, (M, n) in the order of partition and fold, scored those they did not
    learn from.
    """
    values = np.array([np.unique(f).size for f in folds])
    scores, standard = np.empty(folds.shape), np.empty(folds.shape)
    m = 0
    for r, count in enumerate(values):
        for fold in range(count):
            test = folds[r] == fold
            mean, sd = predictor[m][rows[m]].mean(), predictor[m][rows[m]].std(ddof=1)
            scores[r, test] = predictor[m][test] - mean
            standard[r, test] = (predictor[m][test] - mean) / max(sd, 1e-9)
            m += 1
    return FoldedScores(scores=scores, fold=folds.astype(str), mean=standard.mean(axis=0))


def true_c(cell: Cell, beta: np.ndarray, gamma: np.ndarray, seed: int = 7) -> TrueC:
    """Return a function from coefficients (M, p) of features and (M, CLINICAL) to C within a centre
    on new patients, interpolated between correlations with the true log hazard.
    """
    rng = np.random.default_rng(seed)
    total = float(np.sqrt(beta @ beta + gamma @ gamma))
    if total == 0:
        return lambda b, _: np.full(len(b), 0.5)
    grid, n = np.linspace(-1, 1, 41), 6000
    stratum = np.arange(n) % 24  # as many new centres, each with its own hazard
    truth, other = rng.normal(size=n), rng.normal(size=n)
    log_hazard = total * truth + (rng.normal(size=24) * cell.hazards)[stratum]
    died, left = rng.exponential(np.exp(-log_hazard)), rng.uniform(0.2, 2.2, n)
    outcome = (np.minimum(died, left), died <= left)
    predicted = [r * truth + np.sqrt(1 - r * r) * other for r in grid]
    values = np.array([concordance(p, *outcome, stratum=stratum).estimate for p in predicted])
    values = (values + 1 - values[::-1]) / 2  # antisymmetric about 0.5

    def of(b: np.ndarray, g: np.ndarray) -> np.ndarray:
        norm = np.sqrt((b**2).sum(1) + (g**2).sum(1))
        rho = (b @ beta + g @ gamma) / np.where(norm > 0, norm * total, 1)
        return np.interp(rho, grid, values)

    return of


def mask(folds: np.ndarray) -> np.ndarray:
    """Return (M, n) who trains each model."""
    return np.concatenate([row != np.unique(row)[:, None] for row in folds])


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What one cohort prints of one quantity, and what it should hold."""

    printed: FoldConcordance
    mean: float  # of the folds' models on new patients
    own: float  # of the cohort's own model of everybody


def simulate(
    cell: Cell, cohorts: int, seed: int, *, only_c: bool = False
) -> dict[str, list[Claim]]:
    """Return by name what each simulated cohort claims."""
    rng = np.random.default_rng(seed)
    beta = np.full(FEATURES, cell.signal / np.sqrt(FEATURES))
    gamma = np.full(CLINICAL, cell.clinical / np.sqrt(CLINICAL))
    new_c = true_c(cell, beta, gamma)
    found: dict[str, list[Claim]] = defaultdict(list)
    for _ in range(cohorts):
        cohort = draw(cell, beta, gamma, rng)
        for name, claim in claims(cell, cohort, new_c, rng, only_c=only_c).items():
            found[name].append(claim)
    return found


def claims(
    cell: Cell, cohort: Draw, new_c: TrueC, rng: np.random.Generator, *, only_c: bool
) -> dict[str, Claim]:
    folds = partitions(cell, cohort, rng)
    train = np.concatenate([mask(folds), np.ones((1, cell.n), bool)])
    few = np.zeros(FEATURES)
    few[: FEATURES // 2] = 1  # the second image model sees half of the features
    image = ridge_cox(cohort.x, cohort.event, train, RIDGE)
    none = np.zeros((len(train), CLINICAL))

    def one(coefficient: np.ndarray, columns: np.ndarray) -> tuple[FoldConcordance, np.ndarray]:
        scores = folded(coefficient[:-1] @ columns.T, train[:-1], folds)
        is_image = columns is cohort.x
        truth = new_c(coefficient, none) if is_image else new_c(0 * image, coefficient)
        return fold_concordance(scores, cohort.time, cohort.event, stratum=cohort.stratum), truth

    c = one(image, cohort.x)
    made = {"C": Claim(printed=c[0], mean=c[1][:-1].mean(), own=c[1][-1])}
    if only_c:
        return made
    second = ridge_cox(cohort.x * few, cohort.event, train, RIDGE / 4) * few
    clinical = ridge_cox(cohort.clinical, cohort.event, train, 1.0)
    other, known = one(second, cohort.x), one(clinical, cohort.clinical)
    for name, (value, truth) in (("C - C of a second", other), ("C - C of clinical", known)):
        made[name] = Claim(
            printed=c[0].minus(value, DIFFERENCE_WIDENING),
            mean=(c[1] - truth)[:-1].mean(),
            own=(c[1] - truth)[-1],
        )
    made["change of C"] = change(cell, cohort, folds[:1], image, new_c, rng)
    return made


def change(
    cell: Cell,
    cohort: Draw,
    first: np.ndarray,
    image: np.ndarray,
    new_c: TrueC,
    rng: np.random.Generator,
) -> Claim:
    """Return the cross-fitted change of C over covariates: a Cox model of covariates and nested
    score against one of covariates, both fitted on the training patients of one partition.
    """
    outer = mask(first)
    inner_folds = partitions(replace(cell, loco=False, repeats=len(outer)), cohort, rng)
    inner = np.concatenate(
        [out & (row != np.unique(row)[:, None]) for out, row in zip(outer, inner_folds)]
    )
    nested_models = ridge_cox(cohort.x, cohort.event, inner, RIDGE)
    linear = np.empty((2, len(outer), cell.n))
    with_score = np.empty((len(outer), FEATURES)), np.empty((len(outer), CLINICAL))
    without = np.empty((len(outer), CLINICAL))
    for k, train in enumerate(outer):
        score = np.empty(cell.n)
        for j in range(FOLDS):
            rows, model = inner[k * FOLDS + j], nested_models[k * FOLDS + j]
            left = train & (inner_folds[k] == j)
            score[left] = standardised(cohort.x @ model, rows)[0][left]
        own, sd = standardised(cohort.x @ image[k], train)
        score[~train] = own[~train]
        design = np.column_stack([cohort.clinical, score])
        both = ridge_cox(design, cohort.event, train[None], 1.0)[0]
        without[k] = ridge_cox(cohort.clinical, cohort.event, train[None], 1.0)[0]
        linear[0, k], linear[1, k] = design @ both, cohort.clinical @ without[k]
        with_score[0][k], with_score[1][k] = image[k] * both[-1] / sd, both[:-1]
    joined, alone = (
        fold_concordance(
            folded(values, outer, first), cohort.time, cohort.event, stratum=cohort.stratum
        )
        for values in linear
    )
    truth = new_c(*with_score) - new_c(0 * with_score[0], without)
    return Claim(printed=joined.minus(alone, WIDENING), mean=truth.mean(), own=truth.mean())


def standardised(values: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, float]:
    sd = max(float(values[rows].std(ddof=1)), 1e-9)
    return (values - values[rows].mean()) / sd, sd


def held(found: list[Claim], *, printed: bool = True) -> tuple[float, float]:
    """Return the share of intervals that hold the mean target, and the cohort's own."""
    estimate = np.array([one.printed.estimate for one in found])
    error = np.array(
        [
            one.printed.standard_error if printed else one.printed.averaged.standard_error
            for one in found
        ]
    )
    mean = np.mean([one.mean for one in found])
    own = np.array([one.own for one in found])
    inside = [np.abs(estimate - target) <= Z * error for target in (mean, own)]
    return float(inside[0].mean()), float(inside[1].mean())


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cohorts", type=int, default=1000, help="simulated cohorts a cell")
    parser.add_argument("--seed", type=int, default=1, help="of the cohorts")
    parser.add_argument("--cell", nargs="*", default=list(CELLS), help="names of cells")
    parser.add_argument("--only-c", action="store_true", help="no differences, no change of C")
    chosen = parser.parse_args(arguments)
    for name in chosen.cell:
        started = clock.perf_counter()
        found = simulate(CELLS[name], chosen.cohorts, chosen.seed, only_c=chosen.only_c)
        print(f"{name}: {chosen.cohorts} cohorts, {clock.perf_counter() - started:.0f} s")
        for claim, some in found.items():
            estimate = np.array([one.printed.estimate for one in some])
            wider = [
                one.printed.standard_error / one.printed.averaged.standard_error for one in some
            ]
            print(
                f"  {claim:18} holds mean/own {percent(held(some))}, given the models"
                f" {percent(held(some, printed=False))}; width x{np.median(wider):.2f};"
                f" estimate {estimate.mean():+.3f} (SD {estimate.std():.3f}),"
                f" target {np.mean([one.mean for one in some]):+.3f}",
                flush=True,
            )


def percent(shares: tuple[float, float]) -> str:
    return "/".join(f"{100 * share:.1f}" for share in shares)


if __name__ == "__main__":
    main()
