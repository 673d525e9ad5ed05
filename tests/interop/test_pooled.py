"""Mean and covariance of a slide's tiles, as numpy reads them without pathoml."""

from __future__ import annotations

import numpy as np
import pytest
from support.learning import planted_cohort, write_study

from pathoml.cli import guarded, main
from pathoml.interop.pooled import export_to, pooled, random_directions


@pytest.fixture
def wide() -> np.ndarray:
    """9000 tiles of 400 correlated features, not centred; more than are read at once."""
    rng = np.random.default_rng(1)
    return (rng.normal(size=(9000, 20)) @ rng.normal(size=(20, 400)) / 4 + 3).astype(np.float16)


def test_mean_variance_and_covariance_are_those_that_numpy_computes_of_the_whole(wide):
    projection = random_directions(400)
    mean, variance, covariance = pooled(wide, projection)
    expected = np.cov(wide.astype(np.float64) @ projection, rowvar=False, bias=True)
    np.testing.assert_allclose(mean, wide.astype(np.float64).mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(variance, wide.astype(np.float64).var(axis=0), rtol=1e-5)
    np.testing.assert_allclose(covariance, expected[np.triu_indices(32)], rtol=1e-4, atol=1e-5)


def test_random_directions_keep_the_total_variance_on_average(wide):
    _, variance, covariance = pooled(wide, random_directions(400))
    diagonal = covariance[
        np.cumsum([0, *range(32, 1, -1)])
    ]  # an upper triangle's rows are 32, 31, ... long
    assert diagonal.sum() == pytest.approx(variance.sum(), rel=0.2)


def test_directions_are_the_same_for_every_slide_and_study():
    assert random_directions(100).shape == (100, 32)
    assert (random_directions(100) == random_directions(100)).all()


def test_few_features_keep_their_covariance_whole(wide):
    _, variance, covariance = pooled(wide[:, :5], random_directions(5))
    np.testing.assert_allclose(
        covariance,
        np.cov(wide[:, :5].astype(np.float64), rowvar=False, bias=True)[np.triu_indices(5)],
        rtol=1e-4,
    )
    assert len(covariance) == 15
    assert covariance[0] == pytest.approx(variance[0])


def test_the_verb_writes_a_file_a_slide_that_numpy_alone_reads_and_writes_the_same_bytes_again(
    tmp_path,
):
    cohort, bags, _ = planted_cohort(6)
    study = write_study(tmp_path / "study", cohort, bags)
    assert (
        guarded(
            lambda: main(
                ["export", str(study.folder), "--to", "pooled", "--out", str(tmp_path / "out")]
            )
        )
        == 0
    )
    files = sorted((tmp_path / "out").glob("*.npz"))
    assert [path.stem for path in files] == sorted(slide.slide_id for slide in cohort.slides)
    with np.load(files[0], allow_pickle=False) as content:
        shapes = {name: content[name].shape for name in content}
        mine = bags[0].features[bags[0].slide_index == 0]
        np.testing.assert_allclose(
            content["mean"], mine.astype(np.float64).mean(axis=0), rtol=1e-4, atol=1e-6
        )
        assert content["tiles"] == len(mine)
    assert shapes == {"tiles": (), "mean": (24,), "variance": (24,), "covariance": (300,)}
    assert np.load(tmp_path / "out" / "projection.npy", allow_pickle=False).shape == (24, 24)
    before = files[0].read_bytes()
    export_to(study, tmp_path / "out")
    assert files[0].read_bytes() == before


def test_a_slide_of_one_tile_has_no_spread_and_is_no_nan():
    mean, variance, covariance = pooled(np.ones((1, 3), np.float16), random_directions(3))
    assert (mean.tolist(), variance.tolist(), covariance.tolist()) == (
        [1, 1, 1],
        [0, 0, 0],
        [0] * 6,
    )
