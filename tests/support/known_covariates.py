"""Cohorts of mean embeddings with covariates that foretell the event, in four ways."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from support.learning import planted_cohort

from pathoml.types import Cohort

WIDTH = 40
KINDS = ("shown", "proxy", "both", "apart")


def known_cohort(kind: str, seed: int, *, patients: int = 160) -> tuple[Cohort, np.ndarray]:
    """Return patients with three covariates and (B, D) mean embeddings of their tissue.

    Args:
        kind: shown = the covariates work through the tissue, which the embedding shows; proxy = the
            embedding shows the covariates, which work by themselves, and something weaker that
            works too; both = a part of either; apart = the embedding shows other things than the
            covariates.
        seed: of the cohort.
    """
    rng = np.random.default_rng([seed, 7])
    n = patients
    covariates = rng.normal(size=(n, 3))
    known = covariates @ [1.0, 0.6, 0.0] / np.sqrt(1.36)
    tissue, new = 0.8 * known + 0.6 * rng.normal(size=n), rng.normal(size=n)
    hazard = {
        "shown": 0.8 * tissue,
        "proxy": 1.2 * known + 0.5 * new,
        "both": 0.5 * known + 0.4 * tissue + 0.4 * new,
        "apart": 0.6 * known + 0.6 * new,
    }[kind]
    if kind == "apart":
        tissue = rng.normal(size=n)
    loadings = np.random.default_rng(1).normal(size=(6, WIDTH))
    latent = np.column_stack([tissue, new, rng.normal(size=(n, 4))])
    died, left = rng.weibull(1.1, n) * 20 * np.exp(-hazard / 1.1), rng.uniform(4, 70, n)
    cohort, _, _ = planted_cohort(n)
    people = tuple(
        replace(
            p,
            time_months=float(min(died[k], left[k])) + 0.01,
            event=int(died[k] <= left[k]),
            covariates={f"known {j}": float(v) for j, v in enumerate(covariates[k])},
        )
        for k, p in enumerate(cohort.patients)
    )
    return replace(cohort, patients=people), latent @ loadings + rng.normal(size=(n, WIDTH))
