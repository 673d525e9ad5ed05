"""Small cohorts of made-up features for the tests of learning: a share of "bad" tiles drives the
hazard.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from pathoml.config import Study, load_study
from pathoml.store.embeddings import write_embeddings
from pathoml.study.layout import embeddings_folder
from pathoml.types import Bag, Cohort, Patient, Recipe, Slide, TileGrid

DIM = 24


def planted_cohort(
    patients: int = 40, *, seed: int = 0, effect: float = 3.0, centres: int = 2
) -> tuple[Cohort, list[Bag], list[np.ndarray]]:
    """Return a cohort, its bags (two slides for every third patient), and which tiles are bad."""
    rng = np.random.default_rng(seed)
    share = rng.uniform(0.05, 0.95, patients)
    time = rng.exponential(np.exp(-effect * (share - 0.5))) * 20 + 0.1
    censor = rng.uniform(5, 60, patients)
    direction = rng.normal(size=DIM)
    people, slides, bags, bad = [], [], [], []
    for i in range(patients):
        n = int(rng.integers(12, 30))
        is_bad = rng.random(n) < share[i]
        features = rng.normal(size=(n, DIM)) * 0.7 + np.outer(is_bad, direction)
        ids = (f"S{i}a", f"S{i}b") if i % 3 == 0 else (f"S{i}a",)
        slide_index = np.arange(n) % len(ids)
        people.append(
            Patient(
                patient_id=f"P{i}",
                centre=f"C{i % centres}",
                time_months=float(min(time[i], censor[i])),
                event=int(time[i] <= censor[i]),
                slide_ids=ids,
                covariates={"age": float(rng.normal(60, 10))},
            )
        )
        slides += [Slide(slide_id=s, patient_id=f"P{i}", path=None) for s in ids]
        bags.append(
            Bag(
                patient_id=f"P{i}",
                features=features.astype(np.float16),
                slide_index=slide_index,
                slide_ids=ids,
                xy_l0=np.stack([np.arange(n) * 100, np.zeros(n)], axis=1).astype(np.int64),
            )
        )
        bad.append(is_bad)
    return (
        Cohort(
            patients=tuple(people),
            slides=tuple(slides),
            endpoint="PFS",
            time_zero="now",
            excluded=(),
        ),
        bags,
        bad,
    )


def bag_of(features: np.ndarray, patient_id: str = "P") -> Bag:
    """Return a bag of these (N, D) tiles, of one slide, side by side."""
    return Bag(
        patient_id=patient_id,
        features=features.astype(np.float16),
        slide_index=np.zeros(len(features), np.int64),
        slide_ids=(f"{patient_id}-1",),
        xy_l0=np.stack([np.arange(len(features)) * 100] * 2, axis=1).astype(np.int64),
    )


STUDY_YAML = """endpoint: {name: progression, time_zero: ablation, time: months, event: seen}
cohort: {covariates: [age]}
splits: {folds: 3, repeats: 2}
train:
  {head: abmil, epochs: 12, tiles_per_patient: 16, projection: 8, hidden: 8, seeds: 2,
   learning_rate: 0.01}
significance: {permutations: 9, bootstraps: 200}
"""


def write_study(
    folder: Path,
    cohort: Cohort,
    bags: list[Bag],
    *,
    mpp: float = 1.0,
    encoder_sha256: str = "e" * 64,
) -> Study:
    """Write a study whose slides are embedded, as an import leaves it; slides have no path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.yaml").write_text(STUDY_YAML + f"tiles: {{tile_px: 224, mpp: {mpp}}}\n")
    rows = [
        f"{p.patient_id},{p.centre},{p.time_months},{p.event},{p.covariates['age']}"
        for p in cohort.patients
    ]
    (folder / "patients.csv").write_text(
        "\n".join(["patient_id,centre,months,seen,age", *rows]) + "\n"
    )
    slides = [
        f"{s.slide_id},{s.patient_id},,{'AT2' if i % 2 else 'NanoZoomer'}"
        for i, s in enumerate(cohort.slides)
    ]
    (folder / "slides.csv").write_text(
        "\n".join(["slide_id,patient_id,path,scanner", *slides]) + "\n"
    )
    study = load_study(folder)
    for bag in bags:
        for index, slide_id in enumerate(bag.slide_ids):
            mine = bag.slide_index == index
            n = int(mine.sum())
            grid = TileGrid(
                slide_id=slide_id,
                xy_l0=np.stack([np.arange(n) * 900, np.zeros(n)], axis=1).astype(np.int64),
                tile_l0=896,
                tile_px=224,
                mpp=mpp,
                level0_mpp=0.25,
                size_l0=(900 * n + 900, 1000),
                tissue_fraction=np.ones(n, np.float32),
                flags=np.zeros(n, np.uint8),
                slide_sha256=hashlib.sha256(bag.features[mine].tobytes()).hexdigest(),
            )
            write_embeddings(
                embeddings_folder(study) / f"{slide_id}.h5",
                grid,
                bag.features[mine],
                encoder="efficientnet_lite0",
                encoder_sha256=encoder_sha256,
                precision="float32",
                recipe=Recipe(step="embed", inputs={}),
            )
    return study
