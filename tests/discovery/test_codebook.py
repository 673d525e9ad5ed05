"""Phenotypes are kinds of tissue: learned without the outcome, and not the stains of centres."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.tissues import regions, tissues

from pathoml.discovery.codebook import _neighbourhoods, _offsets, learn_codebook, membership
from pathoml.discovery.neighbourhood import PersistentAxes, neighbour_pairs
from pathoml.errors import CohortError
from pathoml.synthetic.truth import roc_auc
from pathoml.types import Bag


def test_phenotypes_are_kinds_of_tissue_and_not_the_stains_of_centres() -> None:
    bags, tissue, centre = regions(1)
    codebook = learn_codebook(bags, centre, number=3)
    graded = np.concatenate(
        [membership(codebook.similarity(b.features, c)) for b, c in zip(bags, centre)]
    )
    best = [max(roc_auc(tissue == k, graded[:, j]) for j in range(3)) for k in range(3)]
    assert min(best) > 0.85
    where = np.repeat(centre, [len(b.features) for b in bags])
    shares = np.array(
        [[(graded[where == c].argmax(axis=1) == j).mean() for j in range(3)] for c in "ABC"]
    )
    assert shares.max() < 0.6  # no phenotype is a centre


def test_what_changes_from_tile_to_tile_does_not_seem_to_persist_after_averaging() -> None:
    """Means of neighbouring tiles share tiles; on small slides of fine tissue axes of noise were
    learned, and kinds of tissue blended.
    """
    rng = np.random.default_rng(1)
    place = np.stack(np.meshgrid(np.arange(12), np.arange(12)), axis=-1).reshape(-1, 2)
    bags = []
    for _ in range(20):
        kinds = (
            np.repeat(rng.normal(size=9), 16).reshape(3, 3, 4, 4).swapaxes(1, 2).ravel()
        )  # squares of four by four tiles
        features = np.stack([kinds, 2 * rng.normal(size=144)], axis=1).astype(np.float32)
        bags.append(
            replace(
                tissues(3, patients=1)[0][0],
                features=features,
                slide_index=np.zeros(144, int),
                xy_l0=place * 224,
            )
        )
    zero = np.zeros(2, np.float32)
    rows = [np.arange(144)] * 20
    shared, axes = _neighbourhoods(
        bags, ["A"] * 20, rows, zero, {"A": zero}, np.eye(2, dtype=np.float32)
    )
    along = np.concatenate([bag.features for bag in bags]) @ axes
    assert along[:, 1].std() < 0.4 * along[:, 0].std()
    assert (
        np.concatenate(shared)[:, 1].std() < 0.6 * 2
    )  # the means themselves are smoothed, of course


def test_a_stain_that_is_left_on_would_have_been_the_phenotype() -> None:
    bags, _, centre = regions(1)
    codebook = learn_codebook(bags, number=3)  # what centres are is not told
    own = np.concatenate([codebook.similarity(b.features).argmax(axis=1) for b in bags])
    where = np.repeat(centre, [len(b.features) for b in bags])
    shares = np.array([[(own[where == c] == j).mean() for j in range(3)] for c in "ABC"])
    assert shares.max() > 0.9  # of one centre's tiles, whose tissues are those of the others


def test_what_is_taken_off_a_centre_is_the_best_linear_prediction_of_its_offset() -> None:
    """By hand: patients' means 0, 2 | 10, 12, 14 in one axis; within 1 + 1 + 4 + 0 + 4 over 3, and
    so on.
    """
    values = [0.0, 2.0, 10.0, 12.0, 14.0]
    bags = [
        replace(bag, features=np.full((80, 2), v, np.float16))
        for bag, v in zip(tissues(3, patients=5)[0], values)
    ]
    mean, offsets = _offsets(bags, [*"AABBB"])
    within, between = 10 / 3, 2 * (1 - 7.6) ** 2 + 3 * (12 - 7.6) ** 2  # per axis; two axes alike
    variance = (between - within) / (5 - 13 / 5)
    assert mean == pytest.approx([7.6, 7.6])
    assert offsets["A"] == pytest.approx(
        [(1 - 7.6) * variance / (variance + within / 2)] * 2, rel=1e-6
    )
    assert offsets["B"] == pytest.approx(
        [(12 - 7.6) * variance / (variance + within / 3)] * 2, rel=1e-6
    )


@pytest.mark.parametrize("centre", ["AAAAA", "ABCDE", "ABABA"])
def test_nothing_is_taken_off_where_centres_do_not_differ_or_cannot_be_told_from_patients(
    centre: str,
) -> None:
    values = [1.0, 1.0, 5.0, 5.0, 3.0]
    bags = [
        replace(bag, features=np.full((80, 2), v, np.float16))
        for bag, v in zip(tissues(3, patients=5)[0], values)
    ]
    assert all(not offset.any() for offset in _offsets(bags, [*centre])[1].values())


def test_places_that_are_unknown_leave_each_tile_its_own_neighbourhood() -> None:
    assert neighbour_pairs(np.zeros((50, 2), int)).shape == (0, 2)
    assert neighbour_pairs(np.zeros((1, 2), int)).shape == (0, 2)
    axes, persistence = PersistentAxes(3).axes()
    assert axes.tolist() == np.eye(3).tolist()
    assert persistence.tolist() == [1, 1, 1]


def test_membership_is_the_lead_over_the_nearest_rival_and_positive_in_the_own_only() -> None:
    near = np.array([[0.75, 0.5, -0.25], [0.25, 0.25, 0.0], [-0.5, 0.5, 0.375]], np.float32)
    assert membership(near).tolist() == [
        [0.25, -0.25, -1.0],
        [0.0, 0.0, -0.25],
        [-1.0, 0.125, -0.125],
    ]


def test_the_codebook_knows_no_outcome_and_no_order_of_patients_names() -> None:
    bags, _, _ = tissues(2, patients=12)
    assert np.array_equal(
        learn_codebook(bags, number=3).centres, learn_codebook(bags, number=3).centres
    )


def of_few_tiles(patients: int, tiles: int) -> list[Bag]:
    return [
        replace(
            bag,
            features=bag.features[:tiles],
            slide_index=bag.slide_index[:tiles],
            xy_l0=bag.xy_l0[:tiles],
        )
        for bag in tissues(3, patients=patients)[0]
    ]


@pytest.mark.parametrize("tiles", [1, 2])
def test_patients_of_one_or_two_tiles_have_phenotypes_too(tiles):
    found = learn_codebook(of_few_tiles(12, tiles))
    assert len(found.centres) < 12 * tiles
    assert ((found.stability >= 0) & (found.stability <= 1)).all()


def test_fewer_tiles_than_phenotypes_are_a_sentence():
    with pytest.raises(CohortError, match="2 tiles, too few"):
        learn_codebook(of_few_tiles(2, 1))
    with pytest.raises(CohortError, match="into 30 phenotypes"):
        learn_codebook(of_few_tiles(12, 2), number=30)
