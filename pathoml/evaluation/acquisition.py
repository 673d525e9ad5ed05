"""How the slides were made, by centre: scanner, resolution, stain, tiles a patient, and the share
of tiles that were flagged.

A score can learn a scanner instead of a disease, so a reader must see how scanners and centres go
together. Nothing here reads pixels: tiles/GRID/quality.csv and slides.csv say it all; where
features were imported, what is stored beside them does.

Source: Tejani et al., Radiol Artif Intell 6 (2024) e240300 (CLAIM, item 13).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from pathoml.errors import PathomlError
from pathoml.evaluation.evidence import Evidence
from pathoml.evaluation.recipe import QUALITY
from pathoml.store.hdf5 import stored_attr
from pathoml.store.packs import is_stored
from pathoml.store.tables import parse_number, read_own_table
from pathoml.study.layout import embeddings_folder, tiles_folder, vector_of
from pathoml.types import FLAGS, Array, Json

STAINS = ("haematoxylin", "eosin")
UNKNOWN = "not stated"
NO_SLIDES = "the scores came without slides that were seen here"
STATED = ("scanner", "stain")  # columns of slides.csv
NOT_SAID = (
    "each slide is one vector that was made elsewhere: scanner, stain and resolution are not"
    " recorded here (slides.csv may have columns scanner and stain)"
)
METHOD = (
    "Resolution of level 0 as the slides state it, or as slides.csv does. Flagged: the share of all"
    " tiles of a centre. Stain: the median angle between a slide's stain vector and the cohort's"
    " median one."
)
Row = Mapping[str, str]


def acquisition_section(evidence: Evidence) -> Json:
    """Return for all slides, and by centre, how they were made; a note where no slide was seen."""
    cohort = evidence.cohort
    centre_of = {p.patient_id: p.centre for p in cohort.patients}
    slides = [slide for slide in cohort.slides if slide.patient_id in centre_of]
    known = _facts(evidence, [slide.slide_id for slide in slides])
    said = any(slide.extras.get(name, "").strip() for slide in slides for name in STATED)
    if known and not said and not any(known.values()):
        return {"note": NOT_SAID}
    if not known:
        return {"note": NO_SLIDES}
    usual = {stain: _usual(known.values(), stain) for stain in STAINS}
    facts = [
        {
            **known[slide.slide_id],
            "centre": centre_of[slide.patient_id],
            "scanner": slide.extras.get("scanner", "").strip()
            or known[slide.slide_id].get("scanner", ""),
            "stain": slide.extras.get("stain", "").strip(),
        }
        for slide in slides
        if slide.slide_id in known
    ]
    tiles = dict(zip(cohort.patient_ids, evidence.n_tiles.tolist()))
    return {
        "all": _summary(facts, list(tiles.values()), usual),
        "centres": {
            str(name): _summary(
                [row for row in facts if row["centre"] == name],
                [n for patient, n in tiles.items() if centre_of[patient] == name],
                usual,
            )
            for name in np.unique(cohort.centre)
        },
        "flags": [flag for flag in FLAGS if any(parse_number(row.get(flag, "")) for row in facts)],
        "method": METHOD,
    }


def _facts(evidence: Evidence, slide_ids: Sequence[str]) -> dict[str, Row]:
    """Return slide_id -> row of quality.csv, else the resolution stored with the embedding."""
    try:
        sheet = tiles_folder(evidence.study) / QUALITY
        if sheet.exists():
            rows = {row["slide_id"]: row for row in read_own_table(sheet).rows}
            return {s: rows[s] for s in slide_ids if s in rows}
        folder = embeddings_folder(evidence.study)
        if vector_of(folder.name):  # it has no resolution; slides.csv may say the rest
            return {s: {} for s in slide_ids if is_stored(folder / f"{s}.h5")}
    except PathomlError:  # no encoder is needed by scores from elsewhere
        return {}
    stored = {s: _resolution(folder, s) for s in slide_ids}
    return {s: {"level0_mpp": mpp} for s, mpp in stored.items() if mpp}


def _resolution(folder: Path, slide_id: str) -> str:
    return stored_attr(folder / f"{slide_id}.h5", "level0_mpp")


def _summary(
    rows: Sequence[Row], tiles: Sequence[float], usual: Mapping[str, Array | None]
) -> Json:
    mpp = [m for row in rows if (m := parse_number(row.get("level0_mpp", ""))) is not None]
    weights = np.array([parse_number(row.get("tiles", "")) or 0.0 for row in rows])
    return {
        "patients": len(tiles),
        "slides": len(rows),
        "scanners": _counted(row.get("scanner", "") for row in rows),
        "stains": _counted(row.get("stain", "") for row in rows),
        "level0_mpp": _quartiles(mpp),
        "tiles_per_patient": _quartiles(tiles),
        "flagged": {flag: _share(rows, flag, weights) for flag in FLAGS},
        "stain_degrees": {stain: _angle(rows, stain, usual[stain]) for stain in STAINS},
    }


def _counted(values: Iterable[str]) -> dict[str, int]:
    counts = Counter(value or UNKNOWN for value in values)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _quartiles(values: Sequence[float]) -> Json:
    found = np.quantile(values, (0, 0.25, 0.5, 0.75, 1)).tolist() if len(values) else [None] * 5
    return dict(zip(("lowest", "q1", "median", "q3", "highest"), found))


def _share(rows: Sequence[Row], flag: str, weights: Array) -> float | None:
    shares = [parse_number(row.get(flag, "")) for row in rows]
    there = np.array([share is not None for share in shares], dtype=bool)
    if not there.any() or weights[there].sum() == 0:
        return None
    values = np.array([share or 0.0 for share in shares])
    return float((values[there] * weights[there]).sum() / weights[there].sum())


def _vectors(rows: Iterable[Row], stain: str) -> Array:
    cells = [[parse_number(row.get(f"{stain}_{channel}", "")) for channel in "rgb"] for row in rows]
    vectors = np.array([v for v in cells if None not in v], dtype=np.float64).reshape(-1, 3)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: Array = vectors[lengths[:, 0] > 0] / lengths[lengths[:, 0] > 0]
    return unit


def _usual(rows: Iterable[Row], stain: str) -> Array | None:
    vectors = _vectors(rows, stain)
    if not len(vectors):
        return None
    middle: Array = np.median(vectors, axis=0)
    return middle / np.linalg.norm(middle)


def _angle(rows: Sequence[Row], stain: str, usual: Array | None) -> float | None:
    vectors = _vectors(rows, stain)
    if usual is None or not len(vectors):
        return None
    return float(np.median(np.degrees(np.arccos(np.clip(vectors @ usual, -1, 1)))))
