"""Tile features brought to one location and scale over centres, for `train.harmonise: centre`:
what a scanner and a stain shift must not pass for tissue. No outcome is looked at.

Fitted on the training patients of a fold; every patient weighs the same, however many tiles there
are. A centre of whom nobody trained is fitted from its own slides, all of its patients in the
cohort: unlabelled, but no longer unseen (transductive). What is moved and scaled is an affine map a
centre, so that it composes with the projection of the fold, and contributions stay exact.

How much of a centre's difference is believed is decided by empirical Bayes: the differences of the
D features of a centre have a common prior around "no difference", and what patients of one centre
differ by says how far the centre's mean may be off. So a centre of one patient, who may differ for
a reason of their own, is moved by no more than patients do not differ anyway. Source: Johnson, Li &
Rabinovic, Biostatistics 8 (2007) 118-127 (ComBat), in which tiles would be the samples. Otherwise
than there, patients are the unit; the prior stands at no difference, because the sign of a feature
of a network means nothing, and its variance is less the sampling variance; location and scale are
shrunken by one linear rule (Buehlmann's credibility), which needs no iterations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pathoml.bags.reading import ROWS_AT_ONCE, feature_parts, mean_features
from pathoml.errors import CohortError
from pathoml.types import Array, Bag, is_known_centre

SMALLEST_VARIANCE = 1e-12  # of a feature; below it the feature is constant and stays as it is
# SD of a centre over that of all, at least: a feature that hardly varies there is not blown up more
LEAST_SPREAD = 0.1
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class BagMoments:
    """Of each of B bags: its centre, and mean and variance of its tiles' D features."""

    centre: npt.NDArray[np.str_]  # (B,)
    mean: Array  # (B, D)
    variance: Array  # (B, D) around the bag's own mean, divided by its number of tiles


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """What every centre is brought to, and how much patients of one centre differ anyway."""

    mean: Array  # (D,) over the training patients
    variance: Array  # (D,) of a tile around its centre's mean
    variance_of_means: Array  # (D,) of patients' means around their centre's
    # (D,) of patients' own squared distances from their centre's mean, in units of `variance`
    variance_of_spreads: Array


@dataclass(frozen=True, kw_only=True, eq=False)
class Harmonisation:
    """The affine map of each of C centres: feature * scale + offset."""

    reference: Reference
    centres: tuple[str, ...]
    scale: Floats  # (C, D) over 0
    offset: Floats  # (C, D)

    def for_centre(self, centre: str) -> tuple[Floats, Floats]:
        """Return scale and offset, (D,) each; 1 and 0 of patients whose centre is not known.

        Raises:
            CohortError: nothing was estimated for this centre.
        """
        if not is_known_centre(centre):
            return np.ones_like(self.reference.mean, np.float32), np.zeros_like(
                self.reference.mean, np.float32
            )
        if centre not in self.centres:
            raise CohortError(
                f"The features of centre {centre!r} were not harmonised: the models know"
                f" {', '.join(self.centres) or 'no centre'}. Run `pathoml train` again."
            )
        place = self.centres.index(centre)
        return self.scale[place], self.offset[place]

    def applied(self, means: Array, centres: Sequence[str] | npt.NDArray[np.str_]) -> Array:
        """Return (B, D) mean features of bags as they are when their tiles are harmonised."""
        scale, offset = self.of_bags(centres)
        return np.asarray(means * scale + offset)

    def of_bags(self, centres: Sequence[str] | npt.NDArray[np.str_]) -> tuple[Floats, Floats]:
        """Return scale and offset of bags by their centres, (B, D) each."""
        found = {name: self.for_centre(name) for name in dict.fromkeys(map(str, centres))}
        scale, offset = (np.stack([found[str(c)][k] for c in centres]) for k in (0, 1))
        return scale, offset

    def seen_through(self, projection: tuple[Tensor, Tensor], centre: str) -> tuple[Tensor, Tensor]:
        """Return the projection that does to raw features of a centre what `projection` does to
        harmonised ones.
        """
        mean, components = projection
        scale, offset = (torch.from_numpy(v).to(mean.device) for v in self.for_centre(centre))
        stretched = components * (scale if components.ndim == 1 else scale[:, None])
        return (mean - offset) / scale, stretched

    def with_centres(self, moments: BagMoments) -> Harmonisation:
        """Return the same with the centres among these bags that were not known, from all of their
        bags.
        """
        new = [c for c in np.unique(moments.centre).tolist() if c not in self.centres]
        maps = [
            _map_of(self.reference, moments.mean[mine], moments.variance[mine])
            for name in new
            if is_known_centre(name)
            for mine in [moments.centre == name]
        ]
        if not maps:
            return self
        return replace(
            self,
            centres=(*self.centres, *filter(is_known_centre, new)),
            scale=np.concatenate([self.scale, [scale for scale, _ in maps]]),
            offset=np.concatenate([self.offset, [offset for _, offset in maps]]),
        )


def bag_moments(bags: Sequence[Bag], centres: Sequence[str] | npt.NDArray[np.str_]) -> BagMoments:
    """Return mean and variance of each bag's tiles.

    Args:
        centres: (B,) of the patients.
    """
    means = mean_features(bags)  # (B, D)
    squares = np.zeros_like(means)
    for square, mean, bag in zip(squares, means.astype(np.float32), bags):
        for part in feature_parts(bag):
            for first in range(0, len(part), ROWS_AT_ONCE):
                away = part[first : first + ROWS_AT_ONCE].astype(np.float32) - mean  # (rows, D)
                square += np.square(away, out=away).sum(axis=0, dtype=np.float64)
    sizes = np.array([len(bag.features) for bag in bags])
    return BagMoments(
        centre=np.array(centres, dtype=str), mean=means, variance=squares / sizes[:, None]
    )


def fit_harmonisation(moments: BagMoments, training: npt.NDArray[np.integer]) -> Harmonisation:
    """Return what brings the tiles of every centre to one location and scale.

    Args:
        moments: of the bags of the whole cohort. Of a centre that has a training patient the
            others are not looked at.
        training: (n,) rows of the training patients; one that was drawn twice counts twice.
    """
    centre, mean, variance = (
        values[training] for values in (moments.centre, moments.mean, moments.variance)
    )
    known = np.array([is_known_centre(name) for name in centre], dtype=bool)
    if known.any():  # patients of no known centre tell nothing of centres
        centre, mean, variance = centre[known], mean[known], variance[known]
    names, group = np.unique(centre, return_inverse=True)
    located = np.stack([mean[group == c].mean(axis=0) for c in range(len(names))])  # (C, D)
    between = _variance_within(mean, group)  # (D,)
    spread = variance.mean(axis=0) + between  # (D,)
    own = (variance + np.square(mean - located[group])) / np.maximum(spread, SMALLEST_VARIANCE)
    reference = Reference(
        mean=mean.mean(axis=0),
        variance=spread,
        variance_of_means=between,
        variance_of_spreads=_variance_within(own, group),
    )
    kept = [name for name in names.tolist() if is_known_centre(name)]
    maps = [_map_of(reference, mean[centre == c], variance[centre == c]) for c in kept]
    nothing = np.empty((0, mean.shape[1]), np.float32)
    fitted = Harmonisation(
        reference=reference,
        centres=tuple(kept),
        scale=np.stack([scale for scale, _ in maps]) if maps else nothing,
        offset=np.stack([offset for _, offset in maps]) if maps else nothing,
    )
    return fitted.with_centres(moments)


def said_of_centres(centres: Sequence[str] | npt.NDArray[np.str_]) -> str:
    """Return a sentence for the log: what was harmonised, and what was not.

    >>> said_of_centres(["Bern", "Chur", "unknown"])
    'features are harmonised over 2 centres; 1 patient of unknown centre stays as it is'
    >>> said_of_centres(["Bern", "Bern"])[:64]
    'features are as they are: all patients are of one centre, and th'
    """
    known = [str(c) for c in centres if is_known_centre(str(c))]
    unknown, count = len(centres) - len(known), len(set(known))
    if count < 2:
        why = "all patients are of one centre" if count else "no patient's centre is known"
        return (
            f"features are as they are: {why}, and there is nothing to harmonise"
            " (train.harmonise); a locked bundle will still bring other centres to this one"
        )
    left = f"{unknown} patient{'s' if unknown > 1 else ''} of unknown centre"
    stays = "stay as they are" if unknown > 1 else "stays as it is"
    return f"features are harmonised over {count} centres" + (
        f"; {left} {stays}" if unknown else ""
    )


def _map_of(reference: Reference, mean: Array, variance: Array) -> tuple[Floats, Floats]:
    """Return scale and offset, (D,) each, of a centre by the (n, D) moments of its n patients."""
    patients = len(mean)
    spread = np.maximum(reference.variance, SMALLEST_VARIANCE)
    varies = reference.variance > SMALLEST_VARIANCE
    located = mean.mean(axis=0)  # (D,)
    # of n patients' means, n - 1 differ freely: what patients of other centres differ by stands for
    # the last one
    around = np.square(mean - located).sum(axis=0) + reference.variance_of_means
    ratio = (variance.sum(axis=0) + around) / patients / spread
    shift = _shrunken(
        (located - reference.mean) / np.sqrt(spread),
        reference.variance_of_means / spread / patients,
        varies,
    )  # (D,) in SD
    change = _shrunken(ratio - 1, reference.variance_of_spreads / patients, varies)  # of variance
    scale = 1 / np.sqrt(np.maximum(1 + change, LEAST_SPREAD**2))
    offset = reference.mean - scale * (reference.mean + np.sqrt(spread) * shift)
    offset = np.where(varies & ((scale != 1) | (shift != 0)), offset, 0.0)
    return scale.astype(np.float32), offset.astype(np.float32)


def _shrunken(difference: Array, error: Array, varies: npt.NDArray[np.bool_]) -> Array:
    """Return (D,) what is believed of the differences: as much as they are larger than their
    sampling variance lets expect, over all features.
    """
    if not varies.any():
        return np.zeros_like(difference)
    prior = max(float((np.square(difference) - error)[varies].mean()), 0.0)  # variance
    total = prior + error
    share = np.divide(prior, total, out=np.zeros_like(error), where=total > 0)
    return np.where(varies, share * difference, 0.0)


def _variance_within(values: Array, group: npt.NDArray[np.integer]) -> Array:
    """Return (D,) the variance of (n, D) values around the mean of their group; around that of all
    where every group has one value.
    """
    if group.max() + 1 == len(group):
        group = np.zeros_like(group)
    count = np.bincount(group)
    means = np.stack([values[group == g].mean(axis=0) for g in range(len(count))])
    free = max(len(group) - len(count), 1)
    return np.asarray(np.square(values - means[group]).sum(axis=0) / free)
