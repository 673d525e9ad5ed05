"""The figures of the report: inline SVG without dates, scripts or links, in colours that everyone
can tell apart.

Text stays text, so that it can be searched, copied and read aloud. Ids get the figure's name in
front: several figures share a page.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

VERMILION, BLUE, GREY, INK = (
    "#D55E00",
    "#0072B2",
    "#6b6b6b",
    "#222222",
)  # Okabe & Ito: told apart by everyone
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "pathoml",
    "svg.fonttype": "none",
    "text.parse_math": False,  # a centre may be called "$1$"
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}
NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
# fractional parts of its multiples spread points evenly: jitter without a random number
GOLDEN = 0.618033988749895
MARKERS = {"image": "s", "centre": "o", "comparator": "D"}
COLOURS = {"image": BLUE, "centre": "#56B4E9", "comparator": GREY}
CENSOR_TICK_POINTS = 6.0
MONTH_STEPS = (1, 2, 3, 6, 12, 24, 60, 120)  # between the ticks of a time axis
MOST_TICKS = 9
FEWEST_AT_RISK = 10  # of a group; with fewer its Kaplan-Meier curve ends


@dataclass(frozen=True, kw_only=True)
class ForestRow:
    """One C with its interval; what is not estimable keeps its row."""

    label: str
    kind: str  # image, centre or comparator
    estimate: float | None
    low: float | None
    high: float | None
    text: str  # for the table
    n: float | None = None
    events: float | None = None


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A Kaplan-Meier curve as metrics.json holds it."""

    times: Sequence[float]
    survival: Sequence[float]
    low: Sequence[float | None]
    high: Sequence[float | None]
    at_risk: Sequence[int]
    events: Sequence[int]
    smallest: int = 0  # numbers at risk under this are not printed

    @property
    def shown(self) -> int:
        """How many of the times are drawn: up to the last with ten at risk; all where there never
        were ten.

        >>> few = {"survival": [], "low": [], "high": [], "events": []}
        >>> Curve(times=[1, 2, 3], at_risk=[12, 10, 4], **few).shown
        2
        """
        enough = np.flatnonzero(np.asarray(self.at_risk) >= FEWEST_AT_RISK)
        return int(enough[-1]) + 1 if len(enough) else len(self.times)

    def at_risk_text(self, months: float) -> str:
        """Return the number at risk as it may be printed."""
        count = self.at_risk_at(months)
        return f"<{self.smallest}" if 0 < count < self.smallest else str(count)

    def at_risk_at(self, months: float) -> int:
        """Return how many are followed just before the given month."""
        index = int(np.searchsorted(self.times, months, side="left"))
        return int(self.at_risk[index]) if index < len(self.times) else 0


def where_curves_end(curves: Mapping[str, Curve]) -> str:
    """Return the sentence of the caption on where Kaplan-Meier curves end."""
    few = [n for n, c in curves.items() if not (np.asarray(c.at_risk) >= FEWEST_AT_RISK).any()]
    ended = len(few) < len(curves)
    said = [f"Each curve ends where fewer than {FEWEST_AT_RISK} of its group are at risk."] * ended
    if few:
        said.append(
            f"Never {FEWEST_AT_RISK} at risk, and drawn to its end: {' and '.join(sorted(few))}."
        )
    return " ".join(said)


def forest_figure(rows: Sequence[ForestRow]) -> str:
    """Draw C values with their intervals, one per line, beside that of no information at 0.5."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for y, row in enumerate(reversed(rows)):
            if row.estimate is None:
                axes.text(
                    0.5, y, " not estimable", va="center", fontsize=9, color=GREY, style="italic"
                )
                continue
            colour = COLOURS[row.kind]
            if row.low is not None and row.high is not None:
                axes.plot(
                    [row.low, row.high], [y, y], color=colour, linewidth=1.8, solid_capstyle="butt"
                )
            axes.plot(
                [row.estimate],
                [y],
                MARKERS[row.kind],
                color=colour,
                markersize=7 if row.kind == "image" else 6,
            )
        axes.axvline(0.5, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        axes.set_yticks(range(len(rows)), [short(r.label) for r in reversed(rows)])
        axes.set_ylim(-0.6, len(rows) - 0.4)
        numbers = [
            v
            for r in rows
            if r.estimate is not None
            for v in (r.estimate, r.low, r.high)
            if v is not None
        ]
        axes.set_xlim(min([0.35, *numbers]) - 0.02, max([0.8, *numbers]) + 0.02)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x", color="#e4e4e4", linewidth=0.7)
        axes.set_axisbelow(True)
        axes.set_xlabel("C (0.5 = a coin, 1 = perfect)")

    return svg(
        "forest", "Concordance with 95 % intervals", (5.4, 0.7 + 0.27 * len(rows)), draw=draw
    )


def distribution_figure(scores: Mapping[str, npt.NDArray[np.float64]]) -> str:
    """Draw each centre's scores as points on a box (median and quartiles).

    Args:
        scores: centre -> (B_centre,) score in SD.
    """

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        names = list(scores)[::-1]
        values = [scores[name] for name in names]
        line = {"color": INK, "linewidth": 1.0}
        axes.boxplot(
            values,
            positions=range(len(names)),
            orientation="horizontal",
            widths=0.55,
            showfliers=False,
            boxprops=line,
            whiskerprops=line,
            capprops=line,
            medianprops={"color": INK, "linewidth": 2.2},
        )
        for y, own in enumerate(values):
            jitter = (np.arange(len(own)) * GOLDEN % 1 - 0.5) * 0.4
            axes.plot(
                np.sort(own),
                y + jitter,
                "o",
                color=BLUE,
                alpha=0.55,
                markersize=4,
                markeredgewidth=0,
            )
        axes.axvline(0, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        axes.set_yticks(
            range(len(names)), [f"{short(name)} ({len(own)})" for name, own in zip(names, values)]
        )
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("score in SD (right = earlier event expected)")

    return svg("scores", "Image score by centre", (6.4, 0.9 + 0.48 * len(scores)), draw=draw)


def kaplan_meier_figure(
    curves: Mapping[str, Curve], endpoint: str, *, identifier: str = "survival"
) -> str:
    """Draw the groups' survival with intervals, censorings as ticks, and the numbers at risk below.

    Args:
        curves: "high" and "low", either may be absent.
        identifier: of the figure, where a page has several.
    """
    looks = {"high": (VERMILION, "solid", "high score"), "low": (BLUE, (0, (5, 2)), "low score")}

    def draw(figure: Figure) -> None:
        axes, table = figure.subplots(2, 1, sharex=True, height_ratios=[5, 1])
        end = max([float(c.times[c.shown - 1]) for c in curves.values() if c.shown], default=12.0)
        for name, curve in curves.items():
            colour, dashes, label = looks.get(name, (GREY, "dotted", name))
            last = curve.shown
            times = np.concatenate([[0.0], np.asarray(curve.times[:last], dtype=np.float64)])
            survival = np.concatenate([[1.0], np.asarray(curve.survival[:last], dtype=np.float64)])
            low, high = _padded(curve.low[:last], survival), _padded(curve.high[:last], survival)
            axes.fill_between(times, low, high, step="post", color=colour, alpha=0.15, linewidth=0)
            axes.step(
                times,
                survival,
                where="post",
                color=colour,
                linestyle=dashes,
                linewidth=2,
                label=label,
            )
            left = np.append(np.asarray(curve.at_risk)[1:], 0)
            # late entries fill up the numbers at risk: where nobody had the event, one was censored
            events = np.asarray(curve.events)
            censored = (np.asarray(curve.at_risk) - left - events > 0) | (events == 0)
            censored = censored[:last]
            axes.plot(
                times[1:][censored],
                survival[1:][censored],
                "|",
                color=colour,
                markersize=CENSOR_TICK_POINTS,
            )
        ticks = _month_ticks(end)
        axes.set_ylim(0, 1.02)
        axes.set_xlim(0, end * 1.01)
        axes.set_ylabel("free of event")
        axes.legend(frameon=False, loc="upper right")
        axes.tick_params(axis="x", labelbottom=True)
        axes.set_xticks(ticks)
        axes.set_xlabel(f"months; {short(endpoint, 60)}")
        for y, (name, curve) in enumerate(reversed(list(curves.items()))):
            for month in ticks:
                table.text(
                    month,
                    y,
                    curve.at_risk_text(month),
                    ha="center",
                    va="center",
                    fontsize=9,
                    color=looks.get(name, (INK,))[0],
                )
        table.set_yticks(
            range(len(curves)),
            [looks.get(name, ("", "", name))[2] for name in reversed(list(curves))],
            fontsize=9,
        )
        table.set_ylim(-0.6, len(curves) - 0.3)
        table.set_title("at risk", loc="left", fontsize=9)
        table.tick_params(
            axis="both", length=0, labelbottom=False, pad=14
        )  # the first number stands on the axis itself
        for spine in table.spines.values():
            spine.set_visible(False)

    return svg(
        identifier,
        "Kaplan-Meier curves of patients with a high and a low score",
        (5.8, 4.1),
        draw=draw,
    )


def permutation_figure(null: Sequence[float], observed: float, statistic: str, *, name: str) -> str:
    """Draw the statistic of the shuffled cohorts and the observed one."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.hist(
            np.asarray(null),
            bins=min(30, max(5, len(null) // 6)),
            color="#bdbdbd",
            edgecolor="white",
            linewidth=0.6,
        )
        axes.axvline(observed, color=VERMILION, linewidth=2.4)
        axes.annotate(
            f"observed {observed:.3f}",
            (observed, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            color=VERMILION,
            fontweight="bold",
        )
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel(short(statistic, 60))
        axes.set_ylabel("shuffled cohorts")

    return svg(name, f"{len(null)} shuffled cohorts and the observed value", (5.8, 2.7), draw=draw)


def _padded(
    bound: Sequence[float | None], survival: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the bound with 1 in front; where it does not exist, at survival 1 and 0, the curve
    itself.
    """
    own: list[Any] = [1.0, *(np.nan if v is None else v for v in bound)]
    values = np.asarray(own, dtype=np.float64)
    return np.where(np.isnan(values), survival, values)


def _month_ticks(end: float) -> list[float]:
    step = next((s for s in MONTH_STEPS if end / s < MOST_TICKS), MONTH_STEPS[-1])
    return [float(t) for t in np.arange(0, end + 1e-9, step)]


def short(text: str, longest: int = 34) -> str:
    """Return a label that fits beside a figure."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def svg(name: str, title: str, size: tuple[float, float], *, draw: Callable[[Figure], None]) -> str:
    """Return the figure as an <svg> element for a page: no prolog, no style sheet, no namespaces,
    its own ids.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="Glyph .* missing"
        )  # the reader's browser has the font, matplotlib need not
        matplotlib.rcdefaults()  # a person's own matplotlibrc does not change the report
        matplotlib.rcParams.update(STYLE)
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        figure.savefig(buffer, format="svg", metadata=NO_METADATA, transparent=True)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", text, count=1, flags=re.DOTALL)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r'(?<=[ ])id="', f'id="{name}-', text)
    text = text.replace("url(#", f"url(#{name}-").replace('xlink:href="#', f'href="#{name}-')
    view = re.search(r'viewBox="[^"]*"', text)
    opening = (
        f'<svg {view.group() if view else ""} role="img" aria-label="{escape(title)}"'
        ' class="figure">'
    )
    return re.sub(r"<svg[^>]*>", lambda _: opening, text, count=1)
