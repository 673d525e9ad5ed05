"""The forest plot of hospitals: C and observed over expected events of each, their mean, and where
the next would lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from pathoml.report.figures import BLUE, GREY, INK, VERMILION, short, svg
from pathoml.report.wording import estimate, is_number
from pathoml.types import Json

PANELS = (("harrell_c", "C"), ("observed_to_expected", "events seen / foretold"))
RATIO_TICKS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
MOST_DRAWN = 40  # hospitals; the table has all


def hospital_rows(section: Json) -> list[dict[str, Any]]:
    """Return a row for each hospital of metrics.json's `between_centres`, and the mean last."""
    rows = [
        {
            "label": name,
            "n": own.get("n"),
            "events": own.get("events"),
            "expected": own.get("expected"),
            **{key: estimate(own.get(key)) for key, _ in PANELS},
        }
        for name, own in sorted((section.get("centres") or {}).items())
    ]
    pooled = {key: section.get(key) or {} for key, _ in PANELS}
    if rows:
        rows.append(
            {
                "label": "Mean of hospitals",
                "n": pooled["harrell_c"].get("n"),
                "events": pooled["harrell_c"].get("events"),
                "expected": None,
                **{key: estimate(content) for key, content in pooled.items()},
            }
        )
        rows.append(
            {
                "label": "The next hospital (95 % prediction)",
                "n": None,
                "events": None,
                "expected": None,
                **{key: _ahead(content) for key, content in pooled.items()},
            }
        )
    return rows


def hospital_figure(section: Json) -> str:
    """Draw each hospital's C and observed over expected events with their intervals; below them a
    diamond for the mean and a bar for the next hospital. "" where there are no hospitals.
    """
    centres = dict(sorted((section.get("centres") or {}).items())[:MOST_DRAWN])
    if not centres:
        return ""

    def draw(figure: Figure) -> None:
        panels = figure.subplots(1, len(PANELS), sharey=True)
        names = [*centres, "mean", "next hospital"]
        for axes, (key, label) in zip(panels, PANELS):
            for y, own in enumerate(centres.values()):
                _interval(axes, len(names) - 1 - y, own.get(key) or {})
            _mean(axes, section.get(key) or {})
            none = 0.5 if key == "harrell_c" else 1.0
            axes.axvline(none, color=INK, linewidth=1, linestyle=(0, (4, 3)))
            axes.set_xlabel(label)
            axes.tick_params(axis="y", length=0)
            axes.spines["left"].set_visible(False)
            axes.grid(axis="x", color="#e4e4e4", linewidth=0.7)
            axes.set_axisbelow(True)
        panels[0].set_xlim(_limits(panels[0], 0.35, 0.85))
        _ratio_axis(panels[1])
        panels[0].set_yticks(range(len(names)), [short(name, 28) for name in names[::-1]])
        panels[0].set_ylim(-0.6, len(names) - 0.4)

    size = (7.4, 1.2 + 0.3 * (len(centres) + 2))
    return svg("hospitals", "C and calibration of every hospital, and of the next", size, draw=draw)


def _ahead(content: Json) -> str:
    low, high = content.get("prediction_low"), content.get("prediction_high")
    if is_number(low) and is_number(high):
        return f"{low:.2f} to {high:.2f}"
    return "not estimable"


def _interval(axes: Axes, y: int, content: Json) -> None:
    if not is_number(content.get("estimate")):
        return
    if is_number(content.get("low")) and is_number(content.get("high")):
        axes.plot([content["low"], content["high"]], [y, y], color="#56B4E9", linewidth=1.8)
    axes.plot([content["estimate"]], [y], "o", color="#56B4E9", markersize=6)


def _mean(axes: Axes, content: Json) -> None:
    """Draw the mean as a diamond over its interval, and below it the prediction interval."""
    if not is_number(content.get("estimate")):
        return
    middle, low, high = (content[key] for key in ("estimate", "low", "high"))
    axes.fill([low, middle, high, middle], [1, 1.3, 1, 0.7], color=BLUE, linewidth=0)
    ahead: Sequence[Any] = (content.get("prediction_low"), content.get("prediction_high"))
    if all(is_number(end) for end in ahead):
        axes.plot(ahead, [0, 0], color=VERMILION, linewidth=4, solid_capstyle="butt")
    else:
        axes.text(middle, 0, "not estimable", va="center", fontsize=8, color=GREY, style="italic")


def _limits(axes: Axes, low: float, high: float) -> tuple[float, float]:
    left, right = axes.get_xlim()
    return max(0.0, min(left, low)), min(1.0, max(right, high))


def _ratio_axis(axes: Axes) -> None:
    axes.set_xscale("log")
    left, right = np.clip(axes.get_xlim(), 1 / 16, 16)
    axes.set_xlim(min(left, 0.45), max(right, 2.2))
    axes.xaxis.set_major_locator(
        FixedLocator([t for t in RATIO_TICKS if min(left, 0.45) <= t <= max(right, 2.2)])
    )
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
