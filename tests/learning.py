"""Small cohorts of made-up features for the tests of learning: a share of "bad" tiles drives the hazard."""

from __future__ import annotations

import numpy as np

from pathoml.types import Bag, Cohort, Patient, Slide

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
    return Cohort(patients=tuple(people), slides=tuple(slides), endpoint="PFS", time_zero="now", excluded=()), bags, bad
