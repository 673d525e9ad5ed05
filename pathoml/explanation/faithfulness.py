"""May a map be believed? Hot tiles are deleted, and models that neither drew the map nor saw the
patient say whether the risk falls.

A linear read-out agrees with itself, so a map is never judged by the models that made it: the
models of one repeat (or, with one repeat, of one seed; of a head that is solved, those of
judges.py) judge the map of the others, each in turn.
Tiles of the slide are deleted from the highest contribution down, from the lowest up, and in random
orders; the patient's attention is renormalised over what is left. The area between the curve of the
random orders and that of the highest first is positive when the map points at what raises the risk.

Source: Samek et al., IEEE TNNLS 28 (2017) 2660-2673 (perturbation curves); Hense et al., NeurIPS
2024, arXiv:2406.04280 (for multiple- instance learning). Judging by other models is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from pathoml.types import Array

Bools = npt.NDArray[np.bool_]
Judge = Callable[
    [Bools], Array
]  # tiles that are kept (N,) -> centred risk by each of the U models (U,)

STEPS = 20  # a slide's tiles go in 20 equal portions; the last one stays
RANDOM_ORDERS = 40
FEWEST_TILES = 10  # with fewer, orders hardly differ
# share of |contribution| from flagged tiles above which the map is of artefacts, and a warning says
# so
FLAGGED_WARNING = 0.10
INTERVAL = (2.5, 97.5)  # percentiles


@dataclass(frozen=True, kw_only=True)
class SlideFaithfulness:
    """How one slide's map did against random orders; areas are in units of log-risk, averaged over
    the share deleted.
    """

    # random minus highest first; positive = deleting hot tiles lowers the risk more than deleting
    # any
    area: float
    low: float
    high: float
    bottom_area: (
        float  # lowest first minus random; positive = deleting protective tiles raises the risk
    )
    # what the same values on the wrong tiles reach: near zero, or the measure means nothing
    shuffled_area: float
    n_tiles: int

    @property
    def faithful(self) -> bool:
        """Whether all but 2.5 % of the random orders do worse than the map."""
        return self.low > 0


def judge_slide(
    attention: Array,
    contribution: Array,
    group: npt.NDArray[np.integer],
    *,
    in_slide: Bools,
    seed: int,
    judge: Judge | None = None,
) -> SlideFaithfulness | None:
    """Delete one slide's tiles in the order of its map and at random, and compare the risks.

    Args:
        attention: (U, N) of the patient's whole bag by each model that did not see the patient;
            rows sum to 1.
        contribution: (U, N) centred contributions.
        group: (U,) models of one group judge together: the repeat, or the seed where there is one
            repeat.
        in_slide: (N,) the slide's tiles.
        judge: for heads whose attention does not simply renormalise: read the kept tiles again.

    Returns:
        None with one group only, when nobody else can judge, or with fewer than 10 tiles.
    """
    groups, n = np.unique(group), int(in_slide.sum())
    if len(groups) < 2 or n < FEWEST_TILES:
        return None
    rng = np.random.default_rng(seed)
    portion = np.arange(n) * STEPS // n  # (n,) of the tile at each place of an order
    shuffle = rng.permutation(n)
    random_portions = np.stack([portion[rng.permutation(n)] for _ in range(RANDOM_ORDERS)])
    if judge is None:
        random_risk = _closed_curves(
            attention, contribution, in_slide, random_portions
        )  # (R, U, STEPS - 1)
    else:
        random_risk = _read_curves(judge, in_slide, random_portions)
    gaps, bottoms, shuffles = [], [], []  # one a judging group
    for mine in groups:
        judges = np.flatnonzero(group == mine)
        shown = contribution[group != mine].mean(axis=0)[
            in_slide
        ]  # (n,) the map that these judges had no part in
        orders = [
            np.argsort(-shown, kind="stable"),
            np.argsort(shown, kind="stable"),
            np.argsort(-shown[shuffle], kind="stable"),
        ]
        portions = np.empty((3, n), dtype=np.int64)
        for row, order in enumerate(orders):
            portions[row, order] = portion
        if judge is None:
            curves = _closed_curves(
                attention[judges], contribution[judges], in_slide, portions
            ).mean(axis=(1, 2))  # (3,)
        else:
            curves = _read_curves(judge, in_slide, portions)[:, judges].mean(axis=(1, 2))
        by_chance = random_risk[:, judges].mean(axis=(1, 2))  # (R,)
        gaps.append(by_chance - curves[0])
        bottoms.append(curves[1] - by_chance.mean())
        shuffles.append(by_chance.mean() - curves[2])
    gap = np.mean(gaps, axis=0)  # (R,)
    low, high = np.percentile(gap, INTERVAL)
    return SlideFaithfulness(
        area=float(gap.mean()),
        low=float(low),
        high=float(high),
        bottom_area=float(np.mean(bottoms)),
        shuffled_area=float(np.mean(shuffles)),
        n_tiles=n,
    )


def _closed_curves(
    attention: Array, contribution: Array, in_slide: Bools, portions: npt.NDArray[np.integer]
) -> Array:
    """Return (R, U, STEPS - 1) risks after 1, 2 ... portions are gone: sum of contributions over
    sum of attention of what is left.
    """
    orders = len(portions)
    member = np.zeros((int(in_slide.sum()), orders * STEPS))
    member[np.arange(len(member))[:, None], np.arange(orders) * STEPS + portions.T] = (
        1.0  # (n, R * STEPS)
    )
    sums = [
        (values[:, in_slide] @ member).reshape(-1, orders, STEPS)
        for values in (attention, contribution)
    ]  # (U, R, STEPS)
    rest = [
        values[:, ~in_slide].sum(axis=1)[:, None, None] for values in (attention, contribution)
    ]  # (U, 1, 1)
    left = [
        np.cumsum(s[..., ::-1], axis=-1)[..., ::-1][..., 1:] + r for s, r in zip(sums, rest)
    ]  # from the end: no cancellation
    risk: Array = (left[1] / np.maximum(left[0], np.finfo(np.float64).tiny)).transpose(1, 0, 2)
    return risk


def _read_curves(judge: Judge, in_slide: Bools, portions: npt.NDArray[np.integer]) -> Array:
    curves = []
    for portion in portions:
        risks = []
        for step in range(1, STEPS):
            kept = np.ones(len(in_slide), dtype=bool)
            kept[np.flatnonzero(in_slide)[portion < step]] = False
            risks.append(judge(kept))
        curves.append(np.stack(risks, axis=1))  # (U, STEPS - 1)
    return np.stack(curves)


def rank_agreement(contribution: Array) -> float:
    """Return the mean Spearman correlation between all pairs of models over one slide's tiles; NaN
    with one model.

    Args:
        contribution: (U, n) of the slide's tiles.

    >>> round(rank_agreement(np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])), 6)
    1.0
    """
    if len(contribution) < 2 or contribution.shape[1] < 3:
        return float("nan")
    ranks = stats.rankdata(contribution, axis=1)
    ranks = ranks - ranks.mean(axis=1, keepdims=True)
    length = np.sqrt((ranks**2).sum(axis=1))
    usable = length > 0
    if usable.sum() < 2:
        return float("nan")
    correlation = (ranks[usable] @ ranks[usable].T) / np.outer(length[usable], length[usable])
    return float(correlation[np.triu_indices(int(usable.sum()), 1)].mean())


def share_from(flagged: Bools, contribution: Array) -> float:
    """Return the share of |contribution| that comes from flagged tiles.

    >>> share_from(np.array([True, False]), np.array([-1.0, 3.0]))
    0.25
    """
    total = float(np.abs(contribution).sum())
    return float(np.abs(contribution[flagged]).sum() / total) if total > 0 else 0.0


@dataclass(frozen=True, kw_only=True)
class CohortFaithfulness:
    """Over patients: the mean area with its bootstrap interval, and how often a high-risk slide's
    map beats random orders.
    """

    area: float
    low: float
    high: float
    patients: int
    high_risk_better: float  # share of slides of patients above the median risk with area > 0
    high_risk_better_shuffled: float
    high_risk_slides: int


def summarise(
    slides: Sequence[SlideFaithfulness], patients: Sequence[str], log_risk: Array, *, seed: int = 1
) -> CohortFaithfulness:
    """Summarise a cohort; the patient is the unit.

    Args:
        patients: (S,) whose slide it is.
        log_risk: (S,) of the slide's patient.
    """
    area = np.array([s.area for s in slides])
    shuffled = np.array([s.shuffled_area for s in slides])
    _, who = np.unique(np.array(patients), return_inverse=True)
    by_patient = np.bincount(who, weights=area) / np.bincount(who)
    risk_of = np.bincount(who, weights=log_risk) / np.bincount(who)
    high_risk = (risk_of > np.median(risk_of))[who]
    rng = np.random.default_rng(seed)
    means = by_patient[rng.integers(0, len(by_patient), size=(1000, len(by_patient)))].mean(axis=1)
    low, high = np.percentile(means, INTERVAL)
    return CohortFaithfulness(
        area=float(by_patient.mean()),
        low=float(low),
        high=float(high),
        patients=len(by_patient),
        high_risk_better=float((area[high_risk] > 0).mean()) if high_risk.any() else float("nan"),
        high_risk_better_shuffled=float((shuffled[high_risk] > 0).mean())
        if high_risk.any()
        else float("nan"),
        high_risk_slides=int(high_risk.sum()),
    )
