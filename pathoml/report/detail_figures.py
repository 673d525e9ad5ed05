"""The figures behind the first page: calibration, decision curves, subgroups, the effect of
treatment along the score, form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from pathoml.report.figures import BLUE, GREY, INK, VERMILION, short, svg
from pathoml.report.risk_panels import PANELS, risk_panels
from pathoml.types import Json

LOOKS: dict[str, tuple[str, Any, str]] = {  # colour, dashes, words: never colour alone
    "treat_all": (GREY, (0, (1, 1)), "treat everybody"),
    "clinical": ("#E69F00", (0, (5, 2)), "clinical"),
    "image": (BLUE, "solid", "image score"),
    "clinical_and_image": (VERMILION, (0, (6, 1, 1, 1)), "clinical + image"),
}
RATIO_TICKS = (0.125, 0.25, 0.5, 1, 2, 4, 8)
BANDED = ("clinical_and_image", "image")  # the first that there is: three bands hide one another


def calibration_figure(calibration: Json, model: str, horizons: Sequence[str]) -> str:
    """Draw observed against predicted risk at each horizon: the smooth curve, and groups with 95 %
    intervals.
    """
    own = calibration.get(model) or {}

    def draw(axes: Axes, horizon: str) -> None:
        content = own[horizon]
        curve = content.get("curve") or {}
        if curve.get("predicted") and curve.get("observed"):
            axes.plot(*_both(curve["predicted"], curve["observed"]), color=BLUE, linewidth=1.6)
        for group in content["groups"]:
            if group.get("estimate") is None:
                continue
            at = group["predicted"]
            if group.get("low") is not None and group.get("high") is not None:
                axes.plot([at] * 2, [group["low"], group["high"]], color=INK, linewidth=1.2)
            axes.plot([at], [group["estimate"]], "o", color=INK, markersize=5)

    return risk_panels(
        f"calibration-{model}",
        f"Calibration: {LOOKS[model][2]}",
        [h for h in horizons if _has_something(own.get(h) or {})],
        labels=("predicted risk", "observed risk"),
        draw=draw,
    )


def _has_something(content: Json) -> bool:
    """Return whether there are groups, or, as with delayed entry, a curve alone."""
    return bool(content.get("groups") or (content.get("curve") or {}).get("observed"))


def decision_figure(decision: Json, horizons: Sequence[str]) -> str:
    """Draw net benefit against the threshold at each horizon, and the fullest model's band."""
    shown = [h for h in horizons if (decision.get(h) or {}).get("threshold")][:PANELS]
    if not shown:
        return ""

    def draw(figure: Figure) -> None:
        for axes, horizon in zip(np.atleast_1d(figure.subplots(1, len(shown), sharey=True)), shown):
            content = decision[horizon]
            best = next((name for name in BANDED if content.get(name)), "")
            axes.axhline(0, color=INK, linewidth=1, label="treat nobody")
            for name, (colour, dashes, label) in LOOKS.items():
                if content.get(name):
                    band = (content.get("intervals") or {}).get(name)
                    if name == best and band:
                        axes.fill_between(
                            content["threshold"],
                            *(_floats(band[end]) for end in ("low", "high")),
                            color=colour,
                            alpha=0.15,
                            linewidth=0,
                        )
                    axes.plot(
                        *_both(content["threshold"], content[name]),
                        color=colour,
                        linestyle=dashes,
                        linewidth=1.6,
                        label=label,
                    )
            axes.set(
                title=f"{horizon} months", xlabel="risk from which one would treat", xlim=(0, 1)
            )
            top = max(v for name in LOOKS for v in content.get(name) or [0.0] if v is not None)
            axes.set_ylim(-0.1, max(0.1, top) * 1.1)
        figure.axes[0].set_ylabel("net benefit")
        figure.axes[-1].legend(frameon=False, fontsize=8, loc="upper right")

    return svg("decision", "Decision curves", (2.6 * len(shown) + 0.8, 3.0), draw=draw)


def subgroup_figure(rows: Sequence[Json]) -> str:
    """Draw the hazard ratio per SD of the score in each subgroup and in everybody else."""
    lines = [
        (f"{prefix}{row.get('expression', '')}", row.get(key) or {})
        for row in rows
        for key, prefix in (("score", ""), ("complement", "not "))
    ]
    lines = [(label, e) for label, e in lines if e.get("estimate")]
    if not lines:
        return ""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for y, (label, estimate) in enumerate(reversed(lines)):
            hollow = label.startswith("not ")
            if estimate.get("low") and estimate.get("high"):
                axes.plot([estimate["low"], estimate["high"]], [y, y], color=BLUE, linewidth=1.8)
            axes.plot(
                [estimate["estimate"]],
                [y],
                "s",
                color=BLUE,
                markerfacecolor="white" if hollow else BLUE,
                markersize=6,
            )
        axes.set_yticks(range(len(lines)), [short(label) for label, _ in reversed(lines)])
        axes.set_ylim(-0.6, len(lines) - 0.4)
        axes.axvline(1, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        _ratio_axis(axes, "x")
        axes.set_xlabel("hazard ratio per SD of the score")

    return svg("subgroups", "Hazard ratio in subgroups", (6.4, 0.8 + 0.3 * len(lines)), draw=draw)


def ratio_curve_figure(curve: Json, name: str, xlabel: str, *, ylabel: str) -> str:
    """Draw a hazard ratio along the score with its band."""
    if not curve.get("score") or not curve.get("hazard_ratio"):
        return ""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        score, ratio, low, high = (
            np.array([np.nan if v is None else v for v in curve[k]], float)
            for k in ("score", "hazard_ratio", "low", "high")
        )
        axes.fill_between(score, low, high, color=BLUE, alpha=0.15, linewidth=0)
        axes.plot(score, ratio, color=BLUE, linewidth=2)
        axes.axhline(1, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        _ratio_axis(axes, "y")
        axes.set(xlabel=xlabel, ylabel=ylabel)

    return svg(name, ylabel, (5.6, 3.0), draw=draw)


def incidence_figure(incidence: Json) -> str:
    """Draw the cumulative incidence of the event and of the competing event."""
    known = {k: v for k, v in incidence.items() if v.get("times")}
    if not known:
        return ""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for name, colour, dashes in (
            ("event", VERMILION, "solid"),
            ("competing", BLUE, (0, (5, 2))),
        ):
            if name in known:
                times, share = (
                    np.append(0.0, known[name]["times"]),
                    np.append(0.0, known[name]["incidence"]),
                )
                axes.step(
                    times,
                    share,
                    where="post",
                    color=colour,
                    linestyle=dashes,
                    linewidth=2,
                    label=f"{name} event".replace("event event", "event"),
                )
        axes.set(ylim=(0, 1), xlabel="months", ylabel="cumulative incidence")
        axes.legend(frameon=False, loc="upper left")

    return svg("incidence", "Cumulative incidence (Aalen-Johansen)", (5.6, 3.0), draw=draw)


def _floats(values: Sequence[float | None]) -> list[float]:
    return [np.nan if v is None else v for v in values]


def _both(x: Sequence[float | None], y: Sequence[float | None]) -> tuple[list[float], list[float]]:
    pairs = [(a, b) for a, b in zip(x, y) if a is not None and b is not None]
    return [a for a, _ in pairs], [b for _, b in pairs]


def _ratio_axis(axes: Axes, which: str) -> None:
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    low, high = max(min(low, 0.45), 1 / 16), min(max(high, 2.2), 16)
    (axes.set_xlim if which == "x" else axes.set_ylim)(low, high)
    axis.set_major_locator(FixedLocator([t for t in RATIO_TICKS if low <= t <= high]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
