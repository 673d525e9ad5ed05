"""How far one patient's risk moves: original against resampled predictions, drawn and in a
sentence.

Source: the plots of Riley & Collins, Biom J 65 (2023) 2200302, with each patient's range in place
of a cloud of points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from pathoml.report.figures import BLUE
from pathoml.report.risk_panels import risk_panels
from pathoml.store.files import read_json
from pathoml.store.tables import parse_number, read_own_table
from pathoml.study.run_folder import RunFolder
from pathoml.types import Array, Json

Ranges = Mapping[str, tuple[Array, ...]]  # horizon -> original, low, median, high; (B,) each


def instability_context(folder: RunFolder, metrics: Json) -> dict[str, Any]:
    """Return what instability.html.j2 shows; empty where `evaluate` wrote none."""
    found = read_json(folder.instability) if folder.instability.is_file() else {}
    table = folder.instability_table
    ranges = _ranges(read_own_table(table).rows, found) if table.is_file() else {}
    seeds = (metrics.get("seeds") or {}).get("harrell_c") or []
    by_partition = (found.get("partitions") or {}).get("harrell_c") or []
    return {
        "instability": found,
        "instability_svg": Markup(instability_figure(ranges)),
        "calibration_instability_svg": Markup(calibration_instability_figure(found)),
        "c_alone": [
            (name, values)
            for name, values in (("partition", by_partition), ("seed", seeds))
            if len(values) > 1
        ],
        "unsteady": unsteady(found),
    }


def unsteady(found: Json) -> str:
    r"""Return the sentence that a clinician may take away; "" without resampled risks.

    >>> typical = {"original": 0.31, "low": 0.18, "high": 0.47}
    >>> unsteady({"risk": {"24": {"typical": typical}}}).split(". ")[0]
    'A typical patient is given a risk of 31\xa0% by 24 months'
    """
    risks = found.get("risk") or {}
    if not risks:
        return ""
    horizon = list(risks)[(len(risks) - 1) // 2]
    percent = {  # with a space that does not break
        name: f"{100 * value:.0f}\u00a0%" for name, value in risks[horizon]["typical"].items()
    }
    return (
        f"A typical patient is given a risk of {percent['original']} by {horizon} months. Had other"
        " patients of the same hospitals been there to learn from, it would have been between"
        f" {percent['low']} and {percent['high']}, 19 times out of 20."
    )


def _ranges(rows: Sequence[Mapping[str, str]], found: Json) -> Ranges:
    def column(name: str) -> Array:
        return np.array([parse_number(row[name]) for row in rows], dtype=np.float64)

    ends = ("", "_low", "_median", "_high")
    return {
        horizon: tuple(column(f"risk_{horizon}{end}") for end in ends)
        for horizon in found.get("risk") or {}
    }


def instability_figure(ranges: Ranges) -> str:
    """Draw each patient's resampled risks, median and 95 % range, against the original one."""

    def draw(axes: Axes, horizon: str) -> None:
        original, low, median, high = ranges[horizon]
        axes.vlines(original, low, high, color=BLUE, alpha=0.35, linewidth=1)
        axes.plot(original, median, "o", color=BLUE, markersize=2)

    return risk_panels(
        "instability",
        "Each patient's risk in resamples",
        list(ranges),
        labels=("risk as given", "risk in resamples"),
        draw=draw,
    )


def calibration_instability_figure(found: Json) -> str:
    """Draw the calibration curve as it is, and where those of resamples lie."""
    curves = {h: c for h, c in (found.get("calibration") or {}).items() if c.get("low")}

    def draw(axes: Axes, horizon: str) -> None:
        of = {name: np.array(values, dtype=float) for name, values in curves[horizon].items()}
        axes.fill_between(
            of["predicted"], of["low"], of["high"], color=BLUE, alpha=0.2, linewidth=0
        )
        axes.plot(of["predicted"], of["original"], color=BLUE, linewidth=1.6)

    return risk_panels(
        "calibration-instability",
        "Calibration in resamples",
        list(curves),
        labels=("predicted risk", "observed risk"),
        draw=draw,
    )
