"""Location and scale of features are brought together over centres, as far as patients do not
differ as much anyway.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.hospitals import hospitals

from pathoml.bags.harmonisation import (
    LEAST_SPREAD,
    BagMoments,
    bag_moments,
    fit_harmonisation,
    said_of_centres,
)
from pathoml.bags.projection import fit_projections
from pathoml.bags.reading import Rows
from pathoml.bags.tile_bank import SCALED_BYTES, StackedProjection, TileBank
from pathoml.errors import CohortError

CPU = torch.device("cpu")


def moments(centre: str, mean: list[float], variance: list[float]) -> BagMoments:
    """Return the moments of bags of one feature, a letter of `centre` each."""
    return BagMoments(
        centre=np.array(list(centre)),
        mean=np.array(mean, float)[:, None],
        variance=np.array(variance, float)[:, None],
    )


def everybody(found: BagMoments) -> np.ndarray:
    return np.arange(len(found.mean))


def test_moments_are_those_of_all_tiles_of_all_slides() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.normal(3, 2, size=(n, 5)).astype(np.float16) for n in (4, 9)]
    bag = replace(hospitals("stain", seed=0, patients=4)[1][0], features=Rows(parts))  # type: ignore[arg-type]
    found = bag_moments([bag], ["A"])
    tiles = np.concatenate(parts).astype(float)
    assert found.mean[0] == pytest.approx(tiles.mean(0), abs=1e-6)
    assert found.variance[0] == pytest.approx(tiles.var(0), rel=1e-5)


def test_a_shift_is_believed_as_far_as_patients_do_not_differ_anyway() -> None:
    # A at 1, B at 11, both from 6. Patients are 1 from their centre: (1 + 1 + 1 + 1) / (4 - 2) = 2;
    # a tile varies by 1 + 2 = 3. A's shift is -5 / sqrt(3), of which the mean of two patients may
    # be off by 2 / 3 / 2 = 1 / 3. Prior 25 / 3 - 1 / 3 = 8; believed 8 / (8 + 1 / 3) = 0.96; moved
    # by 0.96 * 5 = 4.8. Both spreads are (2 * 1 + 2 + 2) / 2 = 6 / 2 = 3, that of all: unscaled.
    found = moments("AABB", [0, 2, 10, 12], [1, 1, 1, 1])
    fitted = fit_harmonisation(found, everybody(found))
    assert fitted.centres == ("A", "B")
    assert fitted.scale[:, 0] == pytest.approx([1, 1])
    assert fitted.offset[:, 0] == pytest.approx([4.8, -4.8])


def test_a_scale_is_brought_to_that_of_all_centres() -> None:
    # patients' means are 0 and 2 in both: 2 between patients; tiles vary by 1 in A, 4 in B: 2.5 + 2
    # = 4.5 in all, (1 + 1 + 2 + 2) / 2 = 3 in A and (4 + 4 + 2 + 2) / 2 = 6 in B. Patients of a
    # centre do not differ in their spread, so all of it is believed.
    found = moments("AABB", [0, 2, 0, 2], [1, 1, 4, 4])
    fitted = fit_harmonisation(found, everybody(found))
    scale = np.sqrt([4.5 / 3, 4.5 / 6])
    assert fitted.scale[:, 0] == pytest.approx(scale)
    assert fitted.offset[:, 0] == pytest.approx(1 - scale)  # around 1, where both are


def test_a_centre_of_one_patient_who_differs_as_patients_do_is_left_alone() -> None:
    # sqrt(2) is the SD of patients within the centres above
    found = moments("AABBC", [0, 2, 10, 12, 6 + 2**0.5], [1, 1, 1, 1, 1])
    scale, offset = fit_harmonisation(found, np.arange(4)).for_centre("C")
    assert scale == pytest.approx([1])
    assert offset == pytest.approx([0], abs=1e-6)


def test_a_centre_of_one_patient_far_from_everybody_is_brought_near() -> None:
    found = moments("AABBC", [0, 2, 10, 12, 106], [1, 1, 1, 1, 1])
    scale, offset = fit_harmonisation(found, np.arange(4)).for_centre("C")
    assert 106 * scale + offset == pytest.approx([6], abs=0.1)


def test_centres_of_one_patient_each_cannot_be_told_from_their_patients() -> None:
    found = moments("ABCD", [0, 2, 10, 12], [1, 1, 1, 1])
    fitted = fit_harmonisation(found, everybody(found))
    assert np.abs(fitted.offset).max() < 2  # of 6, the farthest


def test_many_patients_bring_centres_to_plain_z_scores() -> None:
    rng = np.random.default_rng(3)
    centre = np.repeat(["A", "B"], 2000)
    mean = rng.normal(size=(4000, 6)) + np.where(centre == "A", 0, 5)[:, None]
    variance = np.where(centre == "A", 1, 9)[:, None] * rng.uniform(0.9, 1.1, (4000, 6))
    found = BagMoments(centre=centre, mean=mean, variance=variance)
    fitted = fit_harmonisation(found, everybody(found))
    scale, offset = fitted.of_bags(centre)
    for name in ("A", "B"):
        mine = centre == name
        assert fitted.applied(mean, centre)[mine].mean(0) == pytest.approx(mean.mean(0), abs=0.01)
        spread = (variance[mine].mean(0) + mean[mine].var(0)) * scale[mine][0] ** 2
        assert spread == pytest.approx(fitted.reference.variance, rel=0.01)
    assert offset.shape == (4000, 6)


def test_vectors_of_patients_are_harmonised_like_bags_of_one_tile() -> None:
    # no tile varies within a patient: 2 between patients is all, and A and B are 5 / sqrt(2) away;
    # their means may be off by 2 / 2 / 2 = 1 / 2: believed (12.5 - 0.5) / 12.5 = 0.96 of 5
    found = moments("AABB", [0, 2, 10, 12], [0, 0, 0, 0])
    fitted = fit_harmonisation(found, everybody(found))
    assert fitted.offset[:, 0] == pytest.approx([4.8, -4.8])
    assert fitted.scale[:, 0] == pytest.approx([1, 1])


def test_every_patient_weighs_the_same_however_many_tiles() -> None:
    _, bags = hospitals("stain", seed=1, patients=16)
    centres = [str(bag.centre) for bag in bags]
    several = [
        replace(bag, features=np.tile(bag.features, (1 + i % 3, 1))) for i, bag in enumerate(bags)
    ]
    one, other = (
        fit_harmonisation(bag_moments(some, centres), np.arange(12)) for some in (bags, several)
    )
    assert one.offset == pytest.approx(other.offset, abs=1e-4)
    assert one.scale == pytest.approx(other.scale, abs=1e-4)


def test_the_sign_of_a_feature_means_nothing() -> None:
    _, bags = hospitals("stain", seed=2, patients=16)
    centres = [str(bag.centre) for bag in bags]
    found = bag_moments(bags, centres)
    sign = np.where(np.arange(found.mean.shape[1]) % 2, -1.0, 1.0)
    one = fit_harmonisation(found, np.arange(12))
    other = fit_harmonisation(replace(found, mean=found.mean * sign), np.arange(12))
    assert other.scale == pytest.approx(one.scale)
    assert other.offset == pytest.approx(one.offset * sign)


def test_scored_patients_of_a_centre_that_trained_are_not_looked_at() -> None:
    _, bags = hospitals("stain", seed=3, patients=24)
    found = bag_moments(bags, [str(bag.centre) for bag in bags])
    training = np.arange(16)
    other = replace(found, mean=found.mean + np.where(np.arange(24) < 16, 0, 50)[:, None])
    one, two = (fit_harmonisation(some, training) for some in (found, other))
    assert np.array_equal(one.offset, two.offset)
    assert np.array_equal(one.scale, two.scale)


def test_a_centre_that_nobody_trained_from_is_fitted_by_all_of_its_own_slides() -> None:
    _, bags = hospitals("stain", seed=3, patients=40)
    found = bag_moments(bags, [str(bag.centre) for bag in bags])
    training = np.flatnonzero(found.centre != "C2")
    fitted = fit_harmonisation(found, training)
    mine = found.centre == "C2"
    left = fitted.applied(found.mean, found.centre)[mine].mean(0) - fitted.reference.mean
    before = found.mean[mine].mean(0) - fitted.reference.mean
    assert np.abs(left).max() < 0.05 * np.abs(before).max()
    known = fitted.centres.index("C0")
    again = fit_harmonisation(replace(found, mean=found.mean + mine[:, None] * 9.0), training)
    assert np.array_equal(again.offset[known], fitted.offset[known])


def test_a_patient_drawn_twice_is_two_patients() -> None:
    _, bags = hospitals("stain", seed=4, patients=12)
    centres = [str(bag.centre) for bag in bags]
    drawn = np.array([0, 0, 1, 2, 3, 4, 5, 5, 6, 7])
    one = fit_harmonisation(bag_moments(bags, centres), drawn)
    listed = bag_moments([bags[i] for i in drawn], [centres[i] for i in drawn])
    two = fit_harmonisation(listed, everybody(listed))
    assert one.centres == two.centres
    assert one.offset == pytest.approx(two.offset)


def test_one_centre_stays_as_it_is_to_the_last_bit() -> None:
    _, bags = hospitals("stain", seed=5, patients=8)
    found = bag_moments(bags, ["A"] * 8)
    fitted = fit_harmonisation(found, np.arange(6))
    assert (fitted.scale == 1).all()
    assert (fitted.offset == 0).all()


def test_patients_of_unknown_centre_stay_as_they_are_and_teach_nothing() -> None:
    _, bags = hospitals("stain", seed=6, patients=16)
    centres = [str(bag.centre) for bag in bags]
    hidden = [*centres[:12], "unknown", "unknown", "", "Unknown"]
    fitted = fit_harmonisation(bag_moments(bags, hidden), np.arange(16))
    without = fit_harmonisation(bag_moments(bags[:12], centres[:12]), np.arange(12))
    assert np.array_equal(fitted.offset, without.offset)
    for name in ("unknown", ""):
        scale, offset = fitted.for_centre(name)
        assert (scale == 1).all()
        assert (offset == 0).all()


def test_where_no_centre_is_known_everything_stays_as_it_is() -> None:
    _, bags = hospitals("stain", seed=6, patients=8)
    fitted = fit_harmonisation(bag_moments(bags, ["unknown"] * 8), np.arange(8))
    assert fitted.centres == ()
    assert (fitted.of_bags(["unknown"] * 8)[0] == 1).all()


def test_a_constant_feature_stays_and_one_that_hardly_varies_is_not_blown_up() -> None:
    means = np.column_stack([np.full(60, 7.0), np.tile([0, 0.01, 0.02], 20)])
    spread = np.column_stack([np.zeros(60), np.repeat([0.0, 4.0], 30)])
    found = BagMoments(centre=np.repeat(["A", "B"], 30), mean=means, variance=spread)
    fitted = fit_harmonisation(found, everybody(found))
    assert fitted.scale[:, 0] == pytest.approx([1, 1])
    assert fitted.offset[:, 0] == pytest.approx([0, 0])
    assert np.isfinite(fitted.offset).all()
    assert fitted.scale[0, 1] == pytest.approx(1 / LEAST_SPREAD)


def test_a_centre_that_the_models_do_not_know_is_refused_by_name() -> None:
    found = moments("AABB", [0, 2, 10, 12], [1, 1, 1, 1])
    with pytest.raises(CohortError, match="'Chur' were not harmonised: the models know A, B"):
        fit_harmonisation(found, everybody(found)).for_centre("Chur")


@pytest.mark.parametrize("dim", [5, None])
@pytest.mark.parametrize("stored", [SCALED_BYTES, 0])
def test_the_bank_holds_what_projecting_harmonised_tiles_gives(
    dim: int | None, stored: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pathoml.bags.tile_bank.SCALED_BYTES", stored)
    _, bags = hospitals("stain", seed=7, patients=16)
    centres = np.array([str(bag.centre) for bag in bags])
    trainings = [np.arange(12), np.flatnonzero(centres != "C1")]
    found = bag_moments(bags, centres)
    harmonisations = [fit_harmonisation(found, t) for t in trainings]
    seen = {"harmonisations": harmonisations, "centres": centres}
    projections = fit_projections(bags, trainings, dim, seed=0, device=CPU, **seen)
    bank = TileBank(bags, projections, CPU, **seen)
    for bag in (0, 1, 15):
        rows = torch.arange(int(bank.starts[bag]), int(bank.starts[bag + 1]))
        taken = bank.take([1, 0], rows.expand(2, 1, -1))[:, 0]  # (M, N, K)
        for m, f in enumerate((1, 0)):
            scale, offset = harmonisations[f].for_centre(str(centres[bag]))
            tiles = bags[bag].features.astype(np.float32) * scale + offset
            expected = StackedProjection([projections[f]])(torch.from_numpy(tiles))[0]
            assert torch.allclose(taken[m], expected, atol=1e-4)


@pytest.mark.parametrize("dim", [5, None])
def test_a_projection_is_fitted_to_harmonised_tiles(dim: int | None) -> None:
    _, bags = hospitals("stain", seed=8, patients=16)
    centres = np.array([str(bag.centre) for bag in bags])
    one = fit_harmonisation(bag_moments(bags, centres), np.arange(12))
    scale, offset = one.of_bags(centres)
    done = [
        replace(bag, features=bag.features.astype(np.float32) * s + o)
        for bag, s, o in zip(bags, scale, offset)
    ]
    [found] = fit_projections(
        bags, [np.arange(12)], dim, seed=0, device=CPU, harmonisations=[one], centres=centres
    )
    [expected] = fit_projections(done, [np.arange(12)], dim, seed=0, device=CPU)
    for a, b in zip(found, expected):
        assert torch.allclose(a, b, atol=1e-3)


def test_what_is_not_harmonised_is_said() -> None:
    assert said_of_centres(["A", "B", "unknown", ""]) == (
        "features are harmonised over 2 centres; 2 patients of unknown centre stay as they are"
    )
    assert "no patient's centre is known" in said_of_centres(["unknown", ""])
