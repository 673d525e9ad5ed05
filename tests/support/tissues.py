"""Bags of made-up tissues, and patients whose outcome follows a score or nothing."""

from __future__ import annotations

import numpy as np

from pathoml.types import Bag, Cohort, Patient, Slide


def tissues(seed: int, patients: int = 40) -> tuple[list[Bag], np.ndarray, np.ndarray]:
    """Return bags of three tissues in 24 dimensions, the tissue of each tile, and each patient's
    share of tissue 0.
    """
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(3, 24)) * 3
    bags, tissue, shares = [], [], []
    for patient in range(patients):
        share = rng.dirichlet([1.0, 1.0, 1.0])
        own = rng.choice(3, 80, p=share)
        features = (directions[own] + rng.normal(size=(80, 24))).astype(np.float16)
        bags.append(
            Bag(
                patient_id=f"P{patient}",
                features=features,
                slide_index=np.zeros(80, int),
                slide_ids=(f"S{patient}",),
                xy_l0=np.zeros((80, 2), int),
            )
        )
        tissue.append(own)
        shares.append((own == 0).mean())
    return bags, np.concatenate(tissue), np.array(shares)


def regions(
    seed: int, patients: int = 24, side: int = 16
) -> tuple[list[Bag], np.ndarray, list[str]]:
    """Return bags of three tissues in bands of a slide, the tissue of each tile, and centres whose
    stains lie further apart than tissues.

    A tile's own variation is as large as the difference of two tissues, and larger still along one
    axis that says nothing of tissue.
    """
    rng = np.random.default_rng(seed)
    directions, stains = rng.normal(size=(3, 24)), 2.5 * rng.normal(size=(3, 24))
    x, y = np.meshgrid(np.arange(side), np.arange(side))
    bags, tissue = [], []
    for patient in range(patients):
        edges = np.sort(rng.uniform(0, side, 2))
        own = np.digitize((x + rng.uniform(-1, 1) * y).ravel() % side, edges)
        noise = rng.normal(size=(side * side, 24)) * np.where(np.arange(24) == 0, 6.0, 1.2)
        features = (directions[own] + stains[patient % 3] + noise).astype(np.float16)
        xy = np.stack([x.ravel(), y.ravel()], axis=1) * 224
        bags.append(
            Bag(
                patient_id=f"P{patient}",
                features=features,
                slide_index=np.zeros(len(own), int),
                slide_ids=(f"S{patient}",),
                xy_l0=xy,
            )
        )
        tissue.append(own)
    return bags, np.concatenate(tissue), ["ABC"[patient % 3] for patient in range(patients)]


def cohort_of(log_risk: np.ndarray, seed: int) -> Cohort:
    rng = np.random.default_rng(seed)
    time = rng.exponential(np.exp(-log_risk)) * 12 + 0.1
    cut = rng.uniform(5, 40, len(time))
    patients = tuple(
        Patient(
            patient_id=f"P{b}",
            centre="AB"[b % 2],
            time_months=float(min(time[b], cut[b])),
            event=int(time[b] <= cut[b]),
            slide_ids=(f"S{b}",),
            covariates={},
        )
        for b in range(len(time))
    )
    slides = tuple(
        Slide(slide_id=f"S{b}", patient_id=f"P{b}", path=None, specimen="primary")
        for b in range(len(time))
    )
    return Cohort(patients=patients, slides=slides, endpoint="e", time_zero="t", excluded=())
