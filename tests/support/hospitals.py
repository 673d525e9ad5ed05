"""Cohorts of made-up features from several hospitals, in which harmonising must help, or must
hurt, or should change nothing.

"stain": in every hospital the tissue is the same, and its features are moved and scaled by much
more than tissue differs; hospitals differ in risk for another reason. "biology": features are the
same everywhere, and hospitals differ by their tissue, which is what the risk comes from. "alike":
hospitals differ by nothing.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from pathoml.types import Bag, Cohort, Patient, Slide

DIM = 24
Kind = Literal["stain", "biology", "alike"]
EFFECT = 4.0  # on the log hazard, of a share of bad tiles from 0 to 1
# log hazard of a hospital's patients, in turns, with "stain"
SELECTION = np.array([-1.5, 0.0, 1.5, 0.0])


def hospitals(
    kind: Kind, *, seed: int, patients: int = 80, count: int = 4
) -> tuple[Cohort, list[Bag]]:
    """Return a cohort of `count` hospitals and its bags; patient i is of hospital i % count."""
    rng = np.random.default_rng(seed)
    of = np.arange(patients) % count
    direction = rng.normal(size=DIM)
    shift, scale = np.zeros((count, DIM)), np.ones((count, 1))
    if kind == "biology":
        typical = np.linspace(0.15, 0.85, count)
        share = typical[of] + rng.uniform(-0.1, 0.1, patients)
    else:
        share = rng.uniform(0.05, 0.95, patients)
    risk = EFFECT * (share - 0.5)
    if kind == "stain":
        shift = rng.normal(size=(count, DIM)) * 8
        scale = np.exp(rng.normal(size=(count, 1)) * 0.6)
        risk = risk + SELECTION[of % len(SELECTION)]
    time = rng.exponential(np.exp(-risk)) * 20 + 0.1
    censored = rng.uniform(10, 80, patients)
    people, bags = [], []
    for i, centre in enumerate(of):
        n = int(rng.integers(20, 40))
        is_bad = rng.random(n) < share[i]
        tissue = rng.normal(size=(n, DIM)) * 0.7 + np.outer(is_bad, direction)
        people.append(
            Patient(
                patient_id=f"P{i}",
                centre=f"C{centre}",
                time_months=float(min(time[i], censored[i])),
                event=int(time[i] <= censored[i]),
                slide_ids=(f"S{i}",),
                covariates={"age": 60.0 + i % 7},
            )
        )
        bags.append(
            Bag(
                patient_id=f"P{i}",
                features=(tissue * scale[centre] + shift[centre]).astype(np.float16),
                slide_index=np.zeros(n, np.int64),
                slide_ids=(f"S{i}",),
                xy_l0=np.stack([np.arange(n) * 100, np.zeros(n)], axis=1).astype(np.int64),
                centre=f"C{centre}",
            )
        )
    slides = tuple(Slide(slide_id=f"S{i}", patient_id=f"P{i}", path=None) for i in range(patients))
    cohort = Cohort(
        patients=tuple(people), slides=slides, endpoint="PFS", time_zero="now", excluded=()
    )
    return cohort, bags
