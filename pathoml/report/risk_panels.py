"""Panels of one square a horizon, a risk on either axis and the line where both are equal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pathoml.report.figures import GREY, svg

PANELS = 4  # horizons drawn; the tables have all


def risk_panels(
    name: str,
    title: str,
    horizons: Sequence[str],
    *,
    labels: tuple[str, str],
    draw: Callable[[Axes, str], None],
) -> str:
    """Return the figure, "" where there is no horizon.

    Args:
        horizons: in months, as keys; the first PANELS are drawn.
        labels: of the x and the y axis.
        draw: what goes into the panel of a horizon.
    """
    shown = list(horizons)[:PANELS]
    if not shown:
        return ""

    def panels(figure: Figure) -> None:
        for axes, horizon in zip(np.atleast_1d(figure.subplots(1, len(shown), sharey=True)), shown):
            axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (4, 3)))
            draw(axes, horizon)
            axes.set(xlim=(0, 1), ylim=(0, 1), title=f"{horizon} months", xlabel=labels[0])
            axes.set_aspect("equal")
        figure.axes[0].set_ylabel(labels[1])

    return svg(name, title, (2.6 * len(shown) + 0.6, 3.1), draw=panels)
