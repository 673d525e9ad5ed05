"""What missing covariates do to the clinical answers: complete cases, medians, multiple imputation,
side by side.

The median answer is that of the rest of metrics.json: a number gets the training median, an empty
category is a level of its own. All three are on one scale, learned from the cells that are there,
so that their hazard ratios can be compared.

Source: White, Royston & Wood, Stat Med 30 (2011) 377-399; Wood, Royston & White, Biom J 57 (2015)
614-632 (a patient's score is the mean of the predictions over the imputed sets).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pathoml.errors import CohortError
from pathoml.evaluation.cross_fitted import halved, p_note, tested, widened
from pathoml.evaluation.evidence import Evidence
from pathoml.evaluation.imputation import (
    ALARMING_SHARE,
    SEED,
    fit_imputer,
    missing_cells,
    missing_rows,
    outcome_columns,
)
from pathoml.store.files import atomic_path
from pathoml.store.tables import write_table
from pathoml.survival.cox import (
    LARGEST_LOG_RATIO,
    CoxFit,
    fit_cox,
    hazard_ratio,
    likelihood_ratio_test,
    partial_log_likelihood,
    wald_test,
)
from pathoml.survival.design import (
    MISSING,
    CategoryColumn,
    Design,
    NumericColumn,
    fit_design,
)
from pathoml.survival.estimate import Estimate
from pathoml.survival.fold_concordance import FoldedScores, fold_c_interval
from pathoml.survival.not_estimable import not_estimable, or_not_estimable
from pathoml.survival.outcome import at_rows
from pathoml.survival.rare_levels import estimable_columns, is_level
from pathoml.survival.rubin import (
    FEWEST_SETS,
    PooledEstimate,
    pool_estimate,
    pool_likelihood_ratio,
)
from pathoml.training.baselines import clinical_folds, clinical_predictor, score_by_fold
from pathoml.training.scoring import FoldScores, folded_scores
from pathoml.types import Array, Json, Split

Bools = npt.NDArray[np.bool_]
Covariates = Mapping[str, Sequence[object]]

SCORE = "image score"
ANSWERS = ("complete_case", "median", "multiple_imputation")
NOBODY = "not estimable: no patient has all covariates."
COMPLETE = "No covariate is empty in any patient: nothing is imputed."
NO_COVARIATES = "No covariates in study.yaml: nothing can be missing."
METHOD = (
    "Chained equations with predictive mean matching (5 rounds, 5 donors); with event and"
    " Nelson-Aalen hazard in the imputation of whom a model is fitted to, without any outcome in"
    " that of the patients it is judged on. Estimates by Rubin's rules with Barnard and Rubin's"
    " degrees of freedom, the likelihood ratio by Meng and Rubin (D3); the clinical score of a"
    " patient is the mean over 20 imputed sets. It assumes that what is missing depends on"
    " nothing beyond what is known."
)


@dataclass(frozen=True, kw_only=True)
class _Fitted:
    """Clinical covariates with and without the score on the same rows, and the matrix of both."""

    full: CoxFit
    reduced: CoxFit
    x: Array  # (n, p + 1), the score last
    time_months: Array  # (n,)
    event: Bools  # (n,)
    stratum: npt.NDArray[np.int64]  # (n,)
    entry_months: Array | None  # (n,)

    def gain_at(self, full: Array, reduced: Array) -> float:
        """Twice the difference in log-likelihood of two given models."""
        both = [
            partial_log_likelihood(
                x @ coefficients,
                self.time_months,
                self.event,
                stratum=self.stratum,
                entry_months=self.entry_months,
            )
            for x, coefficients in ((self.x, full), (self.x[:, :-1], reduced))
        ]
        return 2 * (both[0] - both[1])


def missing_covariates_section(evidence: Evidence) -> Json:
    """Return the clinical model's C, the added value of the score and every hazard ratio by the
    three ways to deal with empty cells; a note where there are none.
    """
    columns = evidence.clinical
    if not columns:
        return {"incomplete": 0, "note": NO_COVARIATES}
    incomplete = missing_rows(columns)
    if not incomplete.any():
        return {"incomplete": 0, "note": COMPLETE}
    design = observed_design(columns)
    answers = _answers(evidence, design, incomplete)
    return {
        "incomplete": int(incomplete.sum()),
        "share": float(incomplete.mean()),
        "imputations": len(evidence.imputed),
        "method": METHOD + p_note(evidence),
        "clinical_harrell_c": _clinical_c(evidence, incomplete),
        "added_value": {name: _added_value(evidence, answer) for name, answer in answers.items()},
        "hazard_ratios": [
            {
                "covariate": name,
                "unit": unit,
                **{
                    answer: or_not_estimable(partial(_hazard_ratio, evidence, found, name))
                    for answer, found in answers.items()
                },
            }
            for name, unit in [*_units(design), (SCORE, "SD")]
        ],
    }


def missing_alarms(missing: Sequence[Mapping[str, Any]]) -> list[Json]:
    """Return an alarm for each covariate that more than 30 % of the patients lack.

    >>> missing_alarms([{"covariate": "grade", "missing": 40, "share": 0.4}])[0]["name"]
    'missing covariate'
    >>> missing_alarms([{"covariate": "age", "missing": 30, "share": 0.3}])
    []
    """
    return [
        {
            "name": "missing covariate",
            "message": (
                f"Covariate {row['covariate']!r} is missing in {100 * row['share']:.0f} % of the"
                f" patients, more than {100 * ALARMING_SHARE:.0f} %: every answer that uses it"
                " rests on what is assumed of them. Complete it from the records, or leave it out"
                " of cohort.covariates."
            ),
        }
        for row in missing
        if row["share"] > ALARMING_SHARE
    ]


def write_imputed(path: Path, evidence: Evidence) -> None:
    """Write runs/RUN/imputed.csv: the imputed sets below each other, from which R repeats the
    pooling; no rows where no cell is empty.
    """
    names = list(evidence.clinical)
    rows = [
        (k, patient, *(filled[name][row] for name in names))
        for k, filled in enumerate(evidence.imputed, 1)
        for row, patient in enumerate(evidence.cohort.patient_ids)
    ]
    with atomic_path(path) as temporary:
        write_table(temporary, ("imputation", "patient_id", *names), rows)


def observed_design(columns: Covariates) -> Design:
    """Return the scale of all three answers: mean and SD of the numbers that are there, and the
    levels that are there, against the commonest. A number that is 0 or 1 stays so.

    >>> design = observed_design({"age": [50.0, None, 70.0], "grade": ["1", None, "2"]})
    >>> design.names, design.columns[0].mean, design.columns[0].sd
    (('age', 'grade=2'), 60.0, 10.0)
    """
    empty = missing_cells(columns)
    known = {
        name: [v for v, gone in zip(values, empty[name]) if not gone]
        for name, values in columns.items()
    }
    learned = [
        column
        for name, values in known.items()
        if values
        for column in fit_design({name: values}).columns
    ]
    return Design(
        columns=tuple(
            replace(column, mean=0.0, sd=1.0)
            if isinstance(column, NumericColumn) and set(known[column.name]) <= {0, 1}
            else column
            for column in learned
        )
    )


def _units(design: Design) -> list[tuple[str, str]]:
    """Return the name and the unit of each column of a design."""
    units = []
    for column in design.columns:
        if isinstance(column, NumericColumn):
            is_binary = (column.mean, column.sd) == (0.0, 1.0)
            units.append((column.name, "1 against 0" if is_binary else f"SD ({column.sd:.3g})"))
        else:
            units += [
                (f"{column.name}={level}", f"against {column.reference}") for level in column.levels
            ]
    return units


def _answers(
    evidence: Evidence, design: Design, incomplete: Bools
) -> dict[str, tuple[list[_Fitted], list[str]] | str]:
    """Return for each answer its fits with the names of their coefficients, or why there are none:
    one fit, or one for each imputed set.
    """
    with_level = Design(
        columns=tuple(
            replace(column, levels=(*column.levels, MISSING))
            if isinstance(column, CategoryColumn) and missing.any()
            else column
            for column in design.columns
            for missing in [missing_cells(evidence.clinical)[column.name]]
        )
    )
    everyone = np.ones(len(incomplete), dtype=np.bool_)
    wanted: dict[str, Callable[[], tuple[list[_Fitted], list[str]]]] = {
        "complete_case": lambda: _fits(evidence, design, [evidence.clinical], ~incomplete),
        "median": lambda: _fits(evidence, with_level, [evidence.clinical], everyone),
        "multiple_imputation": lambda: _fits(evidence, design, evidence.imputed, everyone),
    }
    answers: dict[str, tuple[list[_Fitted], list[str]] | str] = {}
    for name in ANSWERS:
        try:
            answers[name] = wanted[name]()
        except CohortError as error:
            answers[name] = str(error)
    return answers


def _fits(
    evidence: Evidence, design: Design, sets: Sequence[Covariates], among: Bools
) -> tuple[list[_Fitted], list[str]]:
    """Fit both models to each set; a column that one of the sets can say nothing of leaves all, the
    patients of such a level being a stratum of their own.
    """
    cohort = evidence.cohort
    if not among.any():
        raise CohortError(NOBODY)
    outcome, score = (cohort.time_months[among], cohort.event[among]), evidence.score[among]
    entry = at_rows(cohort.entry_months, among)
    matrices = [design.transform(columns)[among] for columns in sets]  # (n, p) each
    found = [
        estimable_columns(x, *outcome, names=design.names, entry_months=entry) for x in matrices
    ]
    kept = np.all([one.columns for one in found], axis=0)
    names = [name for name, k in zip(design.names, kept) if k]
    fitted = []
    for x, one in zip(matrices, found):
        elsewhere = x[:, one.columns & ~kept & is_level(x)]  # levels that other sets left out
        _, stratum = np.unique(
            np.column_stack([one.stratum, elsewhere]), axis=0, return_inverse=True
        )
        both = np.column_stack([x[:, kept], score])
        shared: dict[str, Any] = {"stratum": stratum.ravel(), "entry_months": entry}
        reduced = fit_cox(both[:, :-1], *outcome, names=names, **shared)
        full = fit_cox(both, *outcome, names=[*names, SCORE], **shared)
        fitted.append(
            _Fitted(
                full=full,
                reduced=reduced,
                x=both,
                time_months=outcome[0],
                event=outcome[1],
                **shared,
            )
        )
    return fitted, [*names, SCORE]


def _added_value(evidence: Evidence, answer: tuple[list[_Fitted], list[str]] | str) -> Json:
    if isinstance(answer, str):
        return not_estimable(answer)
    return or_not_estimable(lambda: _gain(evidence, answer))


def _gain(evidence: Evidence, answer: tuple[list[_Fitted], list[str]]) -> Json:
    fitted, _ = answer
    tests = [likelihood_ratio_test(one.full, one.reduced) for one in fitted]
    shared = {
        "hazard_ratio_per_sd": or_not_estimable(lambda: _hazard_ratio(evidence, answer, SCORE))
    }
    if len(fitted) == 1:
        test = tests[0]
        return {
            "statistic": test.chi2,
            "df": test.df,
            "denominator_df": None,
            "p_value_anticonservative": tested(
                evidence, lambda: halved(evidence, test.chi2, test.df)
            ),
            **shared,
        }
    full = np.mean([one.full.coefficients for one in fitted], axis=0)
    reduced = np.mean([one.reduced.coefficients for one in fitted], axis=0)
    held = [one.gain_at(full, reduced) for one in fitted]
    pooled = pool_likelihood_ratio([test.chi2 for test in tests], held, tests[0].df)
    below = pooled.denominator_df
    return {
        "statistic": pooled.f,
        "df": pooled.df,
        "denominator_df": below if math.isfinite(below) else None,
        "p_value_anticonservative": tested(
            evidence, lambda: pooled.p_value_of(pooled.f / evidence.widening**2)
        ),
        **shared,
    }


def _hazard_ratio(
    evidence: Evidence, answer: tuple[list[_Fitted], list[str]] | str, name: str
) -> Json:
    """Return a hazard ratio with its interval and p value; those of the score as cross-validation
    leaves them.
    """
    if isinstance(answer, str):
        return not_estimable(answer)
    fitted, names = answer
    if name not in names:
        return not_estimable(
            "the patients of this level, or of this imputed level, say nothing of it"
        )
    column = names.index(name)
    trained = name == SCORE
    fits = [widened(one.full, evidence) if trained else one.full for one in fitted]

    def p_of(p_value: float) -> float | None:
        return tested(evidence, lambda: p_value) if trained else p_value

    if len(fits) == 1:
        return {
            **hazard_ratio(fits[0], column).to_json(),
            "wald_p": p_of(wald_test(fits[0], column)),
        }
    pooled = pool_estimate(
        [fit.coefficients[column] for fit in fits],
        [fit.covariance[column, column] for fit in fits],
        df_complete=max(fits[0].events - len(names), 1),
    )
    ratio = _pooled_ratio(pooled, fits[0])
    return ratio if ratio["estimate"] is None else {**ratio, "wald_p": p_of(pooled.p_value)}


def _pooled_ratio(pooled: PooledEstimate, first: CoxFit) -> Json:
    low, high = pooled.interval()
    if not max(abs(low), abs(high)) <= LARGEST_LOG_RATIO:
        return not_estimable(
            f"the pooled log hazard ratio is {pooled.estimate:.3g} with a standard error of"
            f" {pooled.standard_error:.2g}: too few events tell the values apart"
        )
    return {
        "estimate": math.exp(pooled.estimate),
        "low": math.exp(low),
        "high": math.exp(high),
        "n": first.n,
        "events": first.events,
        "log_hazard_ratio": pooled.estimate,
        "standard_error": pooled.standard_error,
        "df": pooled.df,
        "missing_information": pooled.missing_information,
    }


def _clinical_c(evidence: Evidence, incomplete: Bools) -> Json:
    """Return the headline C of the clinical model, out of fold on the run's own splits, by each
    answer: within centres where there are several.
    """
    cohort, splits = evidence.cohort, evidence.splits
    if "clinical" not in evidence.baselines or not splits:
        none = not_estimable("these scores come without a clinical model on the same folds")
        return dict.fromkeys(ANSWERS, none)
    rows = {name: np.ones(len(incomplete), dtype=np.bool_) for name in ANSWERS}
    rows["complete_case"] = ~incomplete
    alone = replace(
        cohort, patients=tuple(p for p, gone in zip(cohort.patients, incomplete) if not gone)
    )
    scores: dict[str, Callable[[], FoldedScores]] = {
        "complete_case": lambda: folded_scores(clinical_folds(alone, splits)),
        "median": lambda: (
            evidence.folded.get("clinical") or folded_scores(clinical_folds(cohort, splits))
        ),
        "multiple_imputation": lambda: folded_scores(_imputed_folds(evidence, splits)),
    }

    def judged(name: str) -> Estimate:
        chosen = rows[name]
        if not chosen.any():
            raise CohortError(NOBODY)
        return fold_c_interval(
            scores[name](),
            cohort.time_months[chosen],
            cohort.event[chosen],
            stratum=at_rows(evidence.compared_within, chosen),
            entry_months=at_rows(cohort.entry_months, chosen),
        )

    return {name: or_not_estimable(partial(judged, name)) for name in ANSWERS}


def _imputed_folds(evidence: Evidence, splits: Sequence[Split]) -> list[FoldScores]:
    """Return how clinical models score everyone, by fold, each score the mean over imputed sets.

    A fold's imputation is learned from its training patients alone, and takes the outcomes of
    nobody else; 20 sets are shared out among the repeats.
    """
    cohort, columns = evidence.cohort, evidence.clinical
    time, event = cohort.time_months, cohort.event
    sets = math.ceil(FEWEST_SETS / len(splits))  # a mean over them needs no more

    def fit(train: Bools, seed: int) -> Array:
        known = np.full((len(train), 2), np.nan)
        known[train] = outcome_columns(
            time[train], event[train], entry_months=at_rows(cohort.entry_months, train)
        )
        imputer = fit_imputer(columns, train, known)
        fold = zlib.crc32(train.tobytes())
        drawn = (imputer.draw((SEED, seed, fold, k)) for k in range(sets))
        predictors = [clinical_predictor(cohort, filled, train) for filled in drawn]
        mean: Array = np.mean(predictors, axis=0)
        return mean

    return score_by_fold(cohort, splits, fit)
