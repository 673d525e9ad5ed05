"""Subgroups by expressions that state their operators ("age <= 60 and n_lesions >= 4"), and the
test of a different effect in them.

An effect in a subgroup is no evidence that it differs from that outside: the interaction test is. A
patient with a missing value is neither in the subgroup nor in its complement.

Source: Assmann et al., Lancet 355 (2000) 1064-1069. Checked against R coxph in
tests/survival/test_agreement_with_r.py.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pathoml.errors import CohortError, nearest
from pathoml.survival.cox import LikelihoodRatio, fit_cox, hazard_ratio, likelihood_ratio_test
from pathoml.survival.estimate import Estimate
from pathoml.survival.outcome import at_rows, checked_entry, checked_outcome, checked_score
from pathoml.types import Array

COMPARISON = re.compile(r"^\s*(?P<column>.+?)\s*(?P<operator><=|>=|==|!=|<|>)\s*(?P<value>.+?)\s*$")
OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One comparison of a column with a number or a text."""

    column: str
    operator: str
    value: float | str


@dataclass(frozen=True, kw_only=True)
class SubgroupEffect:
    """Hazard ratio per unit of a variable inside and outside the subgroup, and the test that they
    differ.
    """

    inside: Estimate
    outside: Estimate
    test: LikelihoodRatio


def parse_expression(text: str) -> tuple[Condition, ...]:
    """Return the conditions of an expression; all of them must hold.

    Raises:
        CohortError: no operator, an operator twice, or text compared by size.

    >>> parse_expression("age <= 60 and subtype == 'LMS'")[1]
    Condition(column='subtype', operator='==', value='LMS')
    """
    conditions = []
    for part in re.split(r"\s+and\s+", text.strip()):
        match = COMPARISON.match(part)
        if match is None or any(sign in match["value"] for sign in "<>="):
            raise CohortError(
                f"Subgroup {text!r}: {part!r} does not state one comparison. Write it as 'age <= "
                f"60', with one of {', '.join(OPERATORS)}."
            )
        quoted = re.fullmatch(r"'(.*)'|\"(.*)\"", match["value"])
        value: float | str = (quoted[1] or quoted[2] or "") if quoted else match["value"]
        if not quoted:
            try:
                value = float(str(value))
            except ValueError:
                if match["operator"] not in ("==", "!="):
                    raise CohortError(
                        f"Subgroup {text!r}: {value!r} is not a number, so it compares with == or "
                        "!= only."
                    ) from None
        conditions.append(
            Condition(column=match["column"], operator=match["operator"], value=value)
        )
    return tuple(conditions)


def membership(text: str, columns: Mapping[str, Sequence[object]]) -> Array:
    """Return who is in the subgroup, (B,): 1 in, 0 out, NaN where a value that decides is missing.

    Args:
        text: the expression.
        columns: column to one value a patient: numbers, text, or None.

    Raises:
        CohortError: a column that is not there, or text where a number is compared.

    In the third row 3 < 4 decides, whatever the age:

    >>> membership("age <= 60 and n >= 4", {"age": [50, 70, None], "n": [4, 4, 3]})
    array([1., 0., 0.])
    """
    rows = len(next(iter(columns.values()), ()))
    result = np.ones(rows)
    for condition in parse_expression(text):
        if condition.column not in columns:
            raise CohortError(
                f"Subgroup {text!r}: no column {condition.column!r} in the"
                f" table.{nearest(condition.column, list(columns))}"
            )
        held = np.array(
            [_holds(text, condition, value) for value in columns[condition.column]],
            dtype=np.float64,
        )
        # a condition that fails decides, even where another is unknown
        result = np.where((result == 0) | (held == 0), 0.0, result * held)
    return result


def _holds(text: str, condition: Condition, value: object) -> float:
    if value is None or value == "" or value != value:
        return float("nan")
    compare = OPERATORS[condition.operator]
    if isinstance(condition.value, str):
        text_value = (
            f"{value:g}" if isinstance(value, float) else str(value).strip()
        )  # a stage 3 that was read as 3.0
        return float(compare(text_value, condition.value))
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise CohortError(
            f"Subgroup {text!r}: column {condition.column!r} holds {value!r}, which is not a "
            "number; quote the value to compare text."
        ) from None
    return float(compare(number, condition.value))


def subgroup_effect(
    variable: npt.ArrayLike,
    member: npt.ArrayLike,
    time_months: npt.ArrayLike,
    *,
    event: npt.ArrayLike,
    adjust: npt.ArrayLike | None = None,
    entry_months: npt.ArrayLike | None = None,
) -> SubgroupEffect:
    """Return the variable's hazard ratio inside and outside the subgroup, and the likelihood-ratio
    test of their difference.

    Args:
        variable: (B,) the score, or a treatment.
        member: (B,) 1 in, 0 out, NaN unknown and left out.
        time_months: (B,) months to the event or the last visit.
        event: (B,) bool or 0/1.
        adjust: (B, p) covariates of the interaction model; None: none.
        entry_months: (B,) when observation began; None: at time zero for all.

    Raises:
        CohortError: no event in one of the groups, or a variable that is constant there.
    """
    time, seen = checked_outcome(time_months, event)
    x, group = checked_score(variable, len(time), "variable"), np.asarray(member, dtype=np.float64)
    inside, outside = group == 1, group == 0
    known = inside | outside
    entry = checked_entry(entry_months, time)
    ratios = []
    for name, rows in (("in", inside), ("outside", outside)):
        if not seen[rows].any():
            raise CohortError(
                f"not estimable: no event among the {int(rows.sum())} patients {name} the subgroup."
            )
        alone = fit_cox(
            x[rows, None],
            time[rows],
            seen[rows],
            entry_months=at_rows(entry, rows),
            names=["the variable"],
        )
        ratios.append(hazard_ratio(alone, 0))
    others = np.empty((len(time), 0)) if adjust is None else np.asarray(adjust, dtype=np.float64)
    main = np.column_stack([others, x, group])[known]
    outcome, late = (time[known], seen[known]), at_rows(entry, known)
    names = [f"adjusted for {k}" for k in range(others.shape[1])]
    names += ["the variable", "the subgroup", "the variable x the subgroup"]
    product = (x * group)[known]
    full = fit_cox(np.column_stack([main, product]), *outcome, entry_months=late, names=names)
    return SubgroupEffect(
        inside=ratios[0],
        outside=ratios[1],
        test=likelihood_ratio_test(
            full, fit_cox(main, *outcome, entry_months=late, names=names[:-1])
        ),
    )
