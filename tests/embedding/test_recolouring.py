"""Stain normalised to a fixed reference or jittered: what is known of the colours comes out, and
two scanners come nearer in features.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch

from pathoml.config import StainConfig, TilesConfig
from pathoml.embedding.jobs import EmbedJob
from pathoml.embedding.loop import embed_slides
from pathoml.embedding.ready_encoder import ready_encoder
from pathoml.embedding.recolouring import HED, jitter, macenko, normalisation, recolour, reinhard
from pathoml.embedding.restaining import tile_seed
from pathoml.errors import SlideError
from pathoml.store.embeddings import read_embeddings
from pathoml.study.layout import stain_name
from pathoml.synthetic.slide import CENTRES, load_bank, store_roughness, store_texture, write_slide
from pathoml.synthetic.tissue import PHENOTYPES
from pathoml.tiling.jobs import TileJob
from pathoml.tiling.step import tile_one
from pathoml.types import Slide

VETA_STAINS = np.array(
    [[0.5626, 0.7201, 0.4062], [0.2159, 0.8012, 0.5581]]
)  # https://github.com/mitkovetta/staining-normalization
VETA_STRENGTHS = np.array([1.9705, 1.0308])
UNIT = HED / np.linalg.norm(HED, axis=1, keepdims=True)


@pytest.fixture
def amounts() -> np.ndarray:
    """Amounts of haematoxylin and eosin of (120, 120) pixels; some carry one stain only, a fifth is
    glass.
    """
    rng = np.random.default_rng(3)
    drawn = rng.gamma(2.0, 0.35, (120, 120, 2)) * (rng.random((120, 120, 2)) < 0.75)
    return drawn * (rng.random((120, 120, 1)) < 0.8)


def light(amounts: np.ndarray, stains: np.ndarray) -> np.ndarray:
    """Return (H, W, 3) the colours of amounts of stains, by Beer and Lambert on glass of 240."""
    return np.clip(240 * np.exp(-amounts @ stains) - 1, 0, 255).round().astype(np.uint8)


def strong(amounts: np.ndarray) -> np.ndarray:
    """Return the 99th percentile of each stain over the pixels that Macenko's threshold keeps."""
    stained = amounts[(amounts @ UNIT[:2] > 0.15).all(axis=-1)]
    return np.percentile(stained, 99, axis=0)


def lab_of(pixels: np.ndarray) -> np.ndarray:
    """Return (P, 3) l, alpha and beta as Reinhard et al. 2001 write them out."""
    r, g, b = pixels.astype(float).T + 1
    long, medium, short = (
        np.log(v)
        for v in (
            0.3811 * r + 0.5783 * g + 0.0402 * b,
            0.1967 * r + 0.7244 * g + 0.0782 * b,
            0.0241 * r + 0.1288 * g + 0.8444 * b,
        )
    )
    return np.stack(
        [
            (long + medium + short) / 3**0.5,
            (long + medium - 2 * short) / 6**0.5,
            (long - medium) / 2**0.5,
        ],
        axis=1,
    )


def test_macenko_gives_the_same_tissue_the_colours_that_it_has_in_the_reference_stain(amounts):
    scanned = light(amounts, UNIT[:2])
    expected = light(amounts * VETA_STRENGTHS / strong(amounts), VETA_STAINS)
    normalised = recolour(scanned, macenko(scanned.reshape(-1, 3)))
    assert np.abs(scanned.astype(int) - expected).mean() > 15
    assert (
        np.abs(normalised.astype(int) - expected).mean() < 6
    )  # the vectors are found within some degrees


def test_macenko_leaves_tissue_that_is_in_the_reference_stain_nearly_as_it_is(amounts):
    stains = VETA_STAINS / np.linalg.norm(VETA_STAINS, axis=1, keepdims=True)
    scanned = light(amounts * VETA_STRENGTHS / strong(amounts), stains)
    assert (
        np.abs(recolour(scanned, macenko(scanned.reshape(-1, 3))).astype(int) - scanned).mean() < 8
    )


def test_reinhard_gives_the_stained_pixels_the_mean_and_spread_of_the_reference(amounts):
    scanned = light(amounts * 0.5, UNIT[:2])  # pale enough that hardly anything is clipped
    normalised = recolour(scanned, reinhard(scanned.reshape(-1, 3))).reshape(-1, 3)
    lab = lab_of(normalised[(scanned.reshape(-1, 3) < 205).any(axis=1)])
    np.testing.assert_allclose(
        lab.mean(axis=0), [8.74108109, -0.12440419, 0.0444982], atol=0.03
    )  # HistomicsTK's published reference
    np.testing.assert_allclose(lab.std(axis=0), [0.6135447, 0.10989545, 0.0286032], rtol=0.2)


def test_one_stain_more_strongly_scanned_comes_out_the_same(amounts):
    for method in (macenko, reinhard):
        pale, dark = (light(factor * amounts, UNIT[:2]) for factor in (0.6, 1.2))
        before = np.abs(pale.astype(int) - dark).mean()
        after = np.abs(
            recolour(pale, method(pale.reshape(-1, 3))).astype(int)
            - recolour(dark, method(dark.reshape(-1, 3)))
        ).mean()
        assert after < before / 2, method


def test_jitter_moves_each_concentration_by_no_more_than_sigma_of_it_and_sigma(amounts):
    three = np.dstack([amounts[:10, :10], np.full((10, 10, 1), 0.1)])
    scanned, sigma = light(three, UNIT), 0.2
    for seed in range(20):
        jittered = recolour(scanned, jitter(sigma, seed))
        seen = np.log(240 / (jittered.astype(float) + 1)) @ np.linalg.inv(UNIT)
        known = np.log(240 / (scanned.astype(float) + 1)) @ np.linalg.inv(UNIT)
        bright = (jittered > 60).all(axis=-1) & (jittered < 250).all(
            axis=-1
        )  # where a grey level is little of a concentration
        assert (np.abs(seen - known) < sigma * (np.abs(known) + 1) + 0.05)[bright].all()
        assert bright.sum() > 10


def test_jitter_is_a_stain_of_its_own_for_each_seed_and_none_without_sigma(amounts):
    tile = light(amounts, UNIT[:2])
    assert (recolour(tile, jitter(0.0, 7)) == tile).all()
    first, again, other = (recolour(tile, jitter(0.1, seed)) for seed in (7, 7, 8))
    assert (first == again).all()
    assert (first != other).any()


def test_a_tiles_seed_is_that_of_its_place_in_its_file():
    assert tile_seed("ab", (1, 2)) == tile_seed("ab", (1, 2))
    assert (
        len({tile_seed(sha, xy) for sha in ("ab", "cd") for xy in ((1, 2), (2, 1), (12, 0))}) == 6
    )


@pytest.mark.parametrize("method", ["macenko", "reinhard"])
def test_glass_cannot_be_normalised_and_the_message_names_the_slide_and_the_key(method):
    with pytest.raises(
        SlideError, match=r"Slide S7 is too pale to be normalised.*stain\.normalise to null"
    ):
        normalisation(method, np.full((5000, 3), 241, np.uint8), "S7")


@pytest.fixture(scope="module")
def scanned(tmp_path_factory) -> list[tuple[str, Path]]:
    """Two pieces of tissue, each in the stain and file of three centres: (centre, slide)."""
    folder = tmp_path_factory.mktemp("centres")
    store_roughness(folder / "roughness.npy", seed=[3, 4])
    for k, phenotype in enumerate(PHENOTYPES):
        store_texture(folder / f"{phenotype}_0.npy", phenotype=phenotype, seed=[3, 5, k, 0])
    bank, shares, slides = load_bank(folder), np.full(len(PHENOTYPES), 1 / len(PHENOTYPES)), []
    for centre in CENTRES:
        for seed in (5, 6):
            path = folder / f"{centre.name}{seed}.{centre.container}"
            write_slide(
                path,
                folder / "truth.npz",
                seed=[seed],
                shares=shares,
                bank=bank,
                centre=centre,
                side_um=420,
            )
            slides.append((centre.name, path))
    return slides


def embedded(
    slides: list[tuple[str, Path]], folder: Path, stain: StainConfig, *, workers: int = 2
) -> dict[str, np.ndarray]:
    """Return {slide_id: features} by the embedded encoder."""
    jobs = []
    for _, path in slides:
        tiles, slide = folder / "tiles", Slide(slide_id=path.stem, patient_id=path.stem, path=path)
        if not (tiles / f"{path.stem}.h5").exists():
            tile_one(
                TileJob(
                    slide=slide,
                    study_mpp=None,
                    tile_px=224,
                    mpp=0.5,
                    tiles=TilesConfig(),
                    folder=tiles,
                )
            )
        paths = {
            "tiles_path": tiles / f"{path.stem}.h5",
            "embeddings_path": folder / (stain_name(stain) or "plain") / f"{path.stem}.h5",
        }
        jobs.append(EmbedJob(slide_id=path.stem, slide_path=path, exclude=(), stain=stain, **paths))
    encoder = ready_encoder("efficientnet_lite0", torch.device("cpu"), batch_size=8)
    report = embed_slides(jobs, encoder, workers=workers, on_tiles=lambda *_: None)
    assert report.failures == {}
    return {
        job.slide_id: np.array(read_embeddings(job.embeddings_path).features, np.float64)
        for job in jobs
    }


def test_normalisation_brings_two_scanners_nearer_in_features(scanned, tmp_path):
    names = sorted({name for name, _ in scanned})
    between, spread = {}, {}
    for method in (None, "macenko", "reinhard"):
        features = embedded(scanned, tmp_path, StainConfig(normalise=method))
        means = {
            n: np.concatenate([features[p.stem] for name, p in scanned if name == n]).mean(axis=0)
            for n in names
        }
        between[method] = np.mean(
            [np.linalg.norm(means[a] - means[b]) for a, b in combinations(names, 2)]
        )
        spread[method] = np.mean(
            [features[p.stem].std(axis=0).mean() for _, p in scanned]
        )  # of tiles, which must stay
    for method in ("macenko", "reinhard"):
        assert between[method] / spread[method] < 0.85 * between[None] / spread[None]
