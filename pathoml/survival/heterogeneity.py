"""Primary and metastasis of one patient: does the score shift between them, and do they agree more
than those of strangers?

The patient is the unit. The null of no shift turns the sign of a patient's difference at random;
the null of no agreement gives each primary the metastasis of another patient of the same centre.

Source: Good, Permutation, Parametric and Bootstrap Tests of Hypotheses (2005), chapters 3 and 8; p
values count the observed one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from pathoml.errors import CohortError
from pathoml.survival.estimate import Estimate
from pathoml.survival.outcome import checked_groups, checked_score

MIN_PAIRS = 6  # with 5 pairs the smallest two-sided sign-flip p value is 0.06


@dataclass(frozen=True, kw_only=True)
class PairedHeterogeneity:
    """Metastasis minus primary, and how near the two of one patient are."""

    shift: Estimate  # mean difference with its t interval; events is 0, no outcome is used
    shift_p: float
    # 1 - mean distance within a patient / mean distance to strangers' metastases; 0 = like
    # strangers
    agreement: float
    agreement_p: float


def paired_heterogeneity(
    primary: npt.ArrayLike,
    metastasis: npt.ArrayLike,
    centre: npt.ArrayLike,
    *,
    permutations: int = 2000,
    seed: int = 1,
) -> PairedHeterogeneity:
    """Compare both specimens of each patient.

    Args:
        primary: (P,) score of the primary tumour, the mean if there are several slides.
        metastasis: (P,) score of the same patient's metastases.
        centre: (P,) labels; strangers are of the same centre.
        permutations: draws of each null.

    Raises:
        CohortError: fewer than 6 patients have both, or nobody has a stranger of the same centre.
    """
    first = checked_score(primary, len(np.asarray(primary)), "primary")
    second = checked_score(metastasis, len(first), "metastasis")
    pairs = len(first)
    if pairs < MIN_PAIRS:
        raise CohortError(
            f"not estimable: {pairs} patients have a primary and a metastasis; it needs"
            f" {MIN_PAIRS}."
        )
    group = checked_groups(centre, pairs, "centre")
    rng = np.random.default_rng(seed)
    difference = second - first
    shift = float(difference.mean())
    reach = float(stats.t.ppf(0.975, pairs - 1) * difference.std(ddof=1) / np.sqrt(pairs))
    signs = rng.choice((-1.0, 1.0), size=(permutations, pairs))
    flipped = np.abs(signs @ difference) / pairs
    tolerance = 1e-12 * (1 + abs(shift))  # equal sums in another order of addition are ties
    within = float(np.abs(difference).mean())
    strangers = np.empty(permutations)
    for draw in range(permutations):
        order = np.arange(pairs)
        for value in np.unique(group):
            rows = np.flatnonzero(group == value)
            order[rows] = rng.permutation(rows)
        strangers[draw] = np.abs(second[order] - first).mean()
    if np.bincount(group).max() < 2 or strangers.mean() <= 0:
        raise CohortError(
            "not estimable: no two patients with both specimens are of the same centre, or all"
            " scores are equal."
        )
    return PairedHeterogeneity(
        shift=Estimate(estimate=shift, low=shift - reach, high=shift + reach, n=pairs, events=0),
        shift_p=(1 + int((flipped >= abs(shift) - tolerance).sum())) / (permutations + 1),
        agreement=1 - within / float(strangers.mean()),
        agreement_p=(1 + int((strangers <= within + tolerance).sum())) / (permutations + 1),
    )
