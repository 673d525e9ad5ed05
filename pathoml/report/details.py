"""What the second part of the page needs of metrics.json and the run folder: figures drawn, tables
in order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from markupsafe import Markup

from pathoml.config import Study
from pathoml.report import detail_figures as figures
from pathoml.report import wording
from pathoml.report.absolute_risks import added_benefit, risk_slopes, worse_than_no_model
from pathoml.report.clinical_tables import clinical_tables
from pathoml.report.guidelines import guideline_tables
from pathoml.report.hospitals import hospital_figure, hospital_rows
from pathoml.report.instability import instability_context
from pathoml.report.nomogram import nomogram_figure
from pathoml.report.what_ran import WhatRan
from pathoml.store.files import read_json
from pathoml.store.tables import read_own_table
from pathoml.study.current_run import current_run
from pathoml.types import Json

BEST_FIRST = ("clinical_and_image", "image", "clinical")  # whose calibration is drawn
MODELS = ("no_model", "clinical", "image", "clinical_and_image")
MOST_PHENOTYPES = 20


def detail_sections(
    study: Study, metrics: Json, permutation: Json, *, ran: WhatRan | None = None
) -> dict[str, Any]:
    """Return the context of details.html.j2; what a run does not have is empty."""
    calibration, effect = (
        metrics.get("calibration") or {},
        metrics.get("treatment_interaction") or {},
    )
    horizons = [f"{h:g}" for h in metrics.get("horizons_months") or []]
    best = next((name for name in BEST_FIRST if calibration.get(name)), "image")
    models = [m for m in MODELS if any(m in row for row in (metrics.get("brier") or {}).values())]
    competing = metrics.get("competing_risks") or {}
    folder = current_run(study)
    tiled = ran is None or not ran.vector_of  # else phenotypes are those of earlier models
    readers = _readers(folder.labels) if tiled else []
    faithfulness = read_json(folder.faithfulness) if folder.faithfulness.exists() else {}
    drawn = {
        "calibration_svg": figures.calibration_figure(calibration, best, horizons),
        "nomogram_svg": nomogram_figure(metrics.get("prognostic_score") or {}),
        "decision_svg": figures.decision_figure(metrics.get("decision_curve") or {}, horizons),
        "subgroup_svg": figures.subgroup_figure(metrics.get("subgroups") or []),
        "spline_svg": figures.ratio_curve_figure(
            (metrics.get("spline") or {}).get("curve") or {},
            "spline",
            "score, SD",
            ylabel="hazard ratio",
        ),
        "effect_svg": figures.ratio_curve_figure(
            effect.get("effect_curve") or {},
            "effect",
            "score, SD",
            ylabel="hazard ratio of treatment",
        ),
        "hospital_svg": hospital_figure(metrics.get("between_centres") or {}),
        "incidence_svg": figures.incidence_figure(competing.get("cumulative_incidence") or {}),
    }
    return {
        **{name: Markup(text) for name, text in drawn.items()},
        **instability_context(folder, metrics),
        "horizons": horizons,
        "calibration": calibration,
        "best_model": best,
        "brier_models": models,
        "horizon_rows": [(h, _horizon_cells(metrics, best, models, h)) for h in horizons],
        "competing": competing,
        "phenotypes": _phenotypes(folder.phenotypes, readers) if tiled else [],
        "readers": readers,
        "adjustment": _adjustment(folder.codebook),
        "faithfulness": faithfulness,
        "faithful_slides": sum(
            bool(s.get("faithful")) for s in (faithfulness.get("slides") or {}).values()
        ),
        **clinical_tables(metrics),
        "worse_than_no_model": worse_than_no_model(metrics),
        "added_benefit": added_benefit(metrics),
        "risk_slopes": risk_slopes(metrics),
        "guidelines": guideline_tables(metrics, permutation, study.config, ran=ran),
        "smallest_cell": study.config.report.smallest_cell,
        "hospital_rows": hospital_rows(metrics.get("between_centres") or {}),
        "missing_answers": ("complete_case", "median", "multiple_imputation"),
    }


def _horizon_cells(
    metrics: Json, best: str, models: Sequence[str], horizon: str
) -> list[tuple[str, int]]:
    """Return (text, columns) of a row of the table of absolute risks; neighbours that say the same
    are one cell.
    """
    own = ((metrics.get("calibration") or {}).get(best) or {}).get(horizon) or {}
    brier = (metrics.get("brier") or {}).get(horizon) or {}
    texts = [
        wording.estimate((metrics.get("time_dependent_auc") or {}).get(horizon)),
        wording.number(own.get("expected")),
        wording.estimate(own.get("observed") or own),
        *(wording.estimate(brier.get(name), 3) for name in models),
    ]
    return [(text, len(list(same))) for text, same in groupby(texts)]


def count_filters(smallest: int) -> dict[str, Callable[[Any], Any]]:
    """Return the filters `count` (a number, or "<5") and `hidden` (whether it is one of those).

    >>> shown = count_filters(5)
    >>> shown["count"](3), shown["count"](0), shown["count"](12), shown["hidden"](3)
    ('<5', '0', '12', True)
    """

    def hidden(value: Any) -> bool:
        return isinstance(value, int | float) and 0 < value < smallest

    def count(value: Any) -> str:
        return (
            f"<{smallest}"
            if hidden(value)
            else f"{value:.0f}"
            if isinstance(value, int | float)
            else "not available"
        )

    return {"count": count, "hidden": hidden}


def _adjustment(path: Path) -> str:
    return str(read_json(path).get("adjustment") or "") if path.exists() else ""


def _readers(path: Path) -> list[dict[str, Any]]:
    """Return a row for each phenotype that people have read: names, agreement, and the Cox model of
    their score.
    """
    if not path.exists():
        return []
    rows = []
    for phenotype, read in read_json(path)["phenotypes"].items():
        pairs = [pair["weighted"] for pair in read["pairs"].values()]
        rows.append(
            {
                "phenotype": phenotype,
                "names": ", ".join(read["names"]),
                "agreement": read["fleiss"] or (pairs[0] if pairs else None),
                "kind": "Fleiss" if read["fleiss"] else "weighted",
                "hazard_ratio_sd": read["hazard_ratio_sd"],
                "p_value": read["p_value"],
                "q_value": read.get("q_value"),
            }
        )
    return rows


def _phenotypes(path: Path, readers: Sequence[Mapping[str, Any]]) -> list[Mapping[str, str]]:
    if not path.exists():
        return []
    names = (
        "phenotype",
        "name",
        "share_mean",
        "contribution_mean",
        "n_patients",
        "n_centres",
        "hazard_ratio_sd",
        "low",
        "high",
        "p_value",
        "q_value",
        "suspect",
        "interaction_ratio",
        "interaction_p",
    )
    named = {row["phenotype"]: row["names"] for row in readers}
    rows = read_own_table(path).rows[:MOST_PHENOTYPES]
    return [
        {
            **{n: _short(row.get(n, "")) for n in names},
            "name": row.get("name") or named.get(row["phenotype"], ""),
        }
        for row in rows
    ]


def _short(cell: str) -> str:
    try:
        return f"{float(cell):.3g}" if "." in cell else cell
    except ValueError:
        return cell
