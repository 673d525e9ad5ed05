"""The prognostic score as a drawing: a scale of points for each variable, the total, and the risk
at each horizon below it.

Source: Harrell, Regression Modeling Strategies, 2nd ed. (2015), section 4.10 (R rms::nomogram).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pathoml.report.figures import BLUE, GREY, INK, VERMILION, short, svg
from pathoml.types import Json

RISKS = (0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
MOST_POINTS = 100.0
TICK, LABEL = 0.12, 0.2  # of a row's height
NEAREST = 4.0  # of a hundred points: labels that are nearer take turns above and below
INCHES_A_ROW = 0.46


def nomogram_figure(score: Json) -> str:
    """Draw the nomogram of `metrics.json`, prognostic_score; "" if it has none.

    Read upwards from a patient's value to the points; the sum of the points, on the scale of
    totals, stands above the risks.
    """
    variables: dict[str, list[tuple[float, str]]] = {}
    for row in score.get("points") or []:
        variables.setdefault(str(row["variable"]), []).append(
            (float(row["points"]), str(row["value"]))
        )
    survival = score.get("baseline_survival") or {}
    if not variables or not survival or not score.get("totals"):
        return ""
    most = _nice(sum(max(points for points, _ in marks) for marks in variables.values()))
    rows: list[tuple[str, list[tuple[float, str]], float, str]] = [
        ("points", _even(MOST_POINTS), MOST_POINTS, INK)
    ]
    rows += [(short(name), marks, MOST_POINTS, BLUE) for name, marks in variables.items()]
    rows.append(("total points", _even(most), most, INK))
    for horizon, free in survival.items():
        marks = [
            (total, f"{risk:.0%}")
            for risk, total in risk_marks(float(free), float(score["log_hazard_per_point"]), most)
        ]
        if marks:
            rows.append((f"risk by {horizon} months", marks, most, VERMILION))

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.set(xlim=(-0.02, 1.02), ylim=(len(rows) - 0.35, -0.65), xticks=[])
        axes.set_yticks(range(len(rows)), [label for label, *_ in rows])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        for level, (_, marks, longest, colour) in enumerate(rows):
            _scale(axes, level, [(at / longest, text) for at, text in sorted(marks)], colour)

    return svg(
        "nomogram",
        "Nomogram: points of each value, and the risk of the total",
        (7.4, INCHES_A_ROW * len(rows)),
        draw=draw,
    )


def risk_marks(
    free_at_zero: float, log_hazard_per_point: float, most: float
) -> list[tuple[float, float]]:
    """Return (risk, total points) of the round risks that lie on the scale of totals.

    >>> [(risk, round(total, 1)) for risk, total in risk_marks(0.9, 0.05, 50.0)]
    [(0.1, 0.0), (0.2, 15.0), (0.3, 24.4), (0.5, 37.7), (0.7, 48.7)]
    """
    if not 0 < free_at_zero < 1:
        return []
    totals = [
        (risk, float(np.log(np.log(1 - risk) / np.log(free_at_zero)) / log_hazard_per_point))
        for risk in RISKS
    ]
    return [(risk, total) for risk, total in totals if 0 <= total <= most]


def _scale(axes: Axes, level: int, marks: Sequence[tuple[float, str]], colour: str) -> None:
    axes.plot([marks[0][0], marks[-1][0]], [level, level], color=colour, linewidth=1.2)
    is_below = True
    before = -1.0
    for at, text in marks:
        is_below = not is_below if at - before < NEAREST / 100 * max(2, len(text)) / 2 else True
        before = at
        side = 1 if is_below else -1
        axes.plot([at, at], [level, level + side * TICK], color=colour, linewidth=1)
        axes.text(
            at,
            level + side * LABEL,
            short(text),
            ha="center",
            va="top" if is_below else "bottom",
            fontsize=7.5,
            color=GREY,
        )


def _even(longest: float) -> list[tuple[float, str]]:
    return [(float(at), f"{at:.0f}") for at in np.linspace(0, longest, 11)]


def _nice(longest: float) -> float:
    """Return the next round number above, so that the scale of totals has round tenths.

    >>> _nice(143.0), _nice(100.0)
    (150.0, 100.0)
    """
    return float(np.ceil(longest / 50) * 50)
