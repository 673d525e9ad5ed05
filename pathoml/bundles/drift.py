"""Whether a new slide looks like those a model was trained on: green, amber or red, one row per
slide and quantity.

A number is green inside the central 95 % of the training slides, amber inside their whole range
widened by half of that, else red. A name (scanner, stain) is green if it was trained on, amber if
the slide does not say, red if it is new.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pathoml.bags.reading import slides_of
from pathoml.types import Bag, Cohort, Embeddings, Slide, TileGrid

CENTRAL = (0.025, 0.975)  # quantiles of the training slides between which a value is green
WIDENED = 0.5  # of the central range: how far beyond the training range a value is still amber
MPP_TOLERANCE = 0.02  # relative: two scanners of one make differ by as much
NAMES = ("scanner", "stain")
NUMBERS = ("level0_mpp", "tile_count", "embedding_distance", "score")
COLUMNS = ("slide_id", "patient_id", "quantity", "value", "light", "trained_on")


def reference_ranges(
    cohort: Cohort, bags: Sequence[Bag], *, scores: npt.NDArray[np.float64]
) -> dict[str, Any]:
    """Return what new slides are compared with: ranges of numbers, known names, and the centre and
    spread of slide embeddings.
    """
    slides = {grid.slide_id: (grid, features) for bag in bags for grid, features in slides_of(bag)}
    mine = [s for s in cohort.slides if s.slide_id in slides]
    means = np.stack([slides[s.slide_id][1].mean(axis=0, dtype=np.float64) for s in mine])  # (S, D)
    embedding = {"mean": means.mean(0).tolist(), "sd": np.maximum(means.std(0), 1e-6).tolist()}
    of_patient = {bag.patient_id: float(s) for bag, s in zip(bags, scores)}
    rows = [
        numbers_of(*slides[s.slide_id], embedding, score=of_patient[s.patient_id]) for s in mine
    ]
    return {
        "embedding": embedding,
        "numbers": {name: _range([row[name] for row in rows]) for name in NUMBERS},
        "names": {name: sorted({s.extras.get(name, "") for s in mine} - {""}) for name in NAMES},
    }


def numbers_of(
    grid: TileGrid,
    features: npt.NDArray[np.float16],
    embedding: Mapping[str, Any],
    *,
    score: float,
) -> dict[str, float]:
    """Return the numbers of a slide that can drift.

    The distance is the root mean square over features of (slide mean - training mean) / training
    SD.
    """
    z = (features.mean(axis=0, dtype=np.float64) - np.array(embedding["mean"])) / np.array(
        embedding["sd"]
    )  # (D,)
    return {
        "level0_mpp": grid.level0_mpp,
        "tile_count": float(np.log2(max(1, len(features)))),
        "embedding_distance": float(np.sqrt((z**2).mean())),
        "score": score,
    }


def drift_rows(
    reference: Mapping[str, Any], slide: Slide, embeddings: Embeddings, *, score: float
) -> list[tuple[object, ...]]:
    """Return the rows of drift.csv for one slide."""
    rows: list[tuple[object, ...]] = []
    for name, value in numbers_of(
        embeddings.grid, embeddings.features, reference["embedding"], score=score
    ).items():
        limits = reference["numbers"][name]
        shown = 2**value if name == "tile_count" else value
        ends = [2 ** limits[k] if name == "tile_count" else limits[k] for k in ("low", "high")]
        known = f"{ends[0]:.4g} to {ends[1]:.4g}"
        rows.append(
            (
                slide.slide_id,
                slide.patient_id,
                name,
                float(f"{shown:.6g}"),
                light_of_number(name, value, limits),
                known,
            )
        )
    for name in NAMES:
        known_names, value_text = reference["names"][name], slide.extras.get(name, "")
        light = (
            "amber"
            if not value_text or not known_names
            else "green"
            if value_text in known_names
            else "red"
        )
        rows.append(
            (
                slide.slide_id,
                slide.patient_id,
                name,
                value_text,
                light,
                ", ".join(known_names) or "not said",
            )
        )
    return rows


def light_of_number(name: str, value: float, limits: Mapping[str, float]) -> str:
    """Return green, amber or red.

    >>> limits = {"low": 0.0, "high": 1.0, "least": -0.1, "most": 1.2}
    >>> [light_of_number("score", v, limits) for v in (0.5, 1.5, 1.8, float("nan"))]
    ['green', 'amber', 'red', 'red']
    """
    slack = MPP_TOLERANCE * abs(limits["high"]) if name == "level0_mpp" else 0.0
    if limits["low"] - slack <= value <= limits["high"] + slack:
        return "green"
    wide = WIDENED * (limits["high"] - limits["low"]) + slack
    return "amber" if limits["least"] - wide <= value <= limits["most"] + wide else "red"


def _range(values: Sequence[float]) -> dict[str, float]:
    low, high = np.quantile(values, CENTRAL)
    return {
        "low": float(low),
        "high": float(high),
        "least": float(min(values)),
        "most": float(max(values)),
    }
