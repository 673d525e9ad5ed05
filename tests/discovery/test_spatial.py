"""Where phenotypes lie on a slide, and which genes of spots go with them, against nulls that keep
the patterns.
"""

from __future__ import annotations

import csv

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr
from support.viewing import TILE, trained_study

from pathoml.cli import main
from pathoml.discovery.spatial import (
    adjacent_pairs,
    border_distance_um,
    like_neighbours,
    spatial_figures,
)
from pathoml.discovery.spots import associate
from pathoml.store.maps import read_assignments, write_assignments
from pathoml.store.tiles import read_tiles
from pathoml.types import Assignments, TissueMask


def lattice(side, tile=10):
    x, y = np.meshgrid(np.arange(side) * tile, np.arange(side) * tile)
    return np.stack([x.ravel(), y.ravel()], axis=1)


def test_like_neighbours_are_those_of_a_chequered_and_of_a_halved_square():
    xy = lattice(4)
    pairs = adjacent_pairs(xy, 10)
    assert len(pairs) == 24  # 2 * 4 * 3
    chequered = (xy.sum(axis=1) // 10) % 2
    assert like_neighbours(chequered, pairs, 2).tolist() == [0, 0]
    halved = (xy[:, 0] >= 20).astype(int)
    assert like_neighbours(halved, pairs, 2).tolist() == [
        10,
        10,
    ]  # 4 across and 6 down in each half


def test_a_blob_is_clustered_and_scattered_tiles_are_not():
    xy, rng = lattice(20), np.random.default_rng(1)
    blob = (np.hypot(*(xy - 60).T) < 55).astype(int)
    scattered = rng.permutation(blob)
    [_, clustered] = spatial_figures(blob, xy, 10, number=2, border_um=None)
    [_, chance] = spatial_figures(scattered, xy, 10, number=2, border_um=None)
    assert clustered.clustering > 2
    assert clustered.clustering_p == pytest.approx(1 / 200)
    assert chance.clustering == pytest.approx(1, abs=0.35)
    assert chance.clustering_p > 0.05
    assert (clustered.border_um, clustered.border_p) == (None, None)


def test_the_level_of_the_clustering_test_is_right():
    xy, rng = lattice(12), np.random.default_rng(2)
    p = [
        spatial_figures(
            (rng.random(144) < 0.3).astype(int),
            xy,
            10,
            number=2,
            border_um=None,
            permutations=99,
            seed=i,
        )[1].clustering_p
        for i in range(200)
    ]
    assert 0.01 <= np.mean(np.array(p) <= 0.05) <= 0.10  # 200 draws: 5 % +- 3.1


def test_few_tiles_say_nothing():
    xy = lattice(6)
    few = np.zeros(36, int)
    few[:9] = 1
    assert [f.clustering for f in spatial_figures(few, xy, 10, number=2, border_um=None)] == [
        None,
        None,
    ]


def test_the_distance_to_the_border_is_that_of_a_square_of_tissue():
    mask = np.zeros((60, 60), bool)
    mask[10:50, 10:50] = True
    tissue = TissueMask(slide_id="S", mask=mask, downsample=4.0, method="", flags={})
    xy = np.array([[116, 116], [40, 116], [0, 0]])  # the middle; the left border; glass
    middle, border, glass = border_distance_um(tissue, xy, 8, level0_mpp=0.5)
    assert middle == pytest.approx(20 * 4 * 0.5, abs=2.5)
    assert border == pytest.approx(1 * 4 * 0.5, abs=2.5)
    assert glass == 0


def test_a_phenotype_in_the_middle_is_far_from_the_border_and_one_anywhere_is_not():
    xy = lattice(20)
    border = np.minimum.reduce([xy[:, 0], xy[:, 1], 190 - xy[:, 0], 190 - xy[:, 1]]).astype(float)
    inner = (border >= 60).astype(int)
    [_, found] = spatial_figures(inner, xy, 10, number=2, border_um=border)
    assert found.border_um == pytest.approx(border[inner == 1].mean() - border.mean())
    assert found.border_p < 0.05
    stripes = (xy[:, 0] // 10 % 2).astype(int)
    assert spatial_figures(stripes, xy, 10, number=2, border_um=border)[1].border_p > 0.2


def smooth(rng, side, sigma=3.0):
    field = gaussian_filter(rng.normal(size=(side, side)), sigma, mode="wrap")
    return (field / field.std()).ravel()


def test_two_smooth_patterns_that_have_nothing_to_do_with_each_other_are_not_associated():
    side, rng = 24, np.random.default_rng(5)
    xy = lattice(side, 100).astype(float) + 50
    feature = smooth(rng, side)[:, None]
    genes = np.stack([smooth(rng, side) for _ in range(80)], axis=1)
    _, p = associate(genes, xy, feature, centres=xy, permutations=199)
    naive = np.array([spearmanr(g, feature[:, 0]).pvalue for g in genes.T])
    assert (naive < 0.05).mean() > 0.4, "neighbours are no independent evidence"
    assert (p < 0.05).mean() < 0.13  # 80 draws: 5 % + 3 SE


def test_rho_is_spearmans_and_a_gene_that_follows_the_phenotype_is_found():
    side, rng = 24, np.random.default_rng(6)
    xy = lattice(side, 100).astype(float) + 50
    member = (smooth(rng, side) > 0.8).astype(float)
    genes = np.stack([member + rng.normal(0, 1, side * side), smooth(rng, side)], axis=1)
    rho, p = associate(genes, xy, member[:, None], centres=xy, permutations=199)
    assert rho[0, 0] == pytest.approx(spearmanr(genes[:, 0], member).statistic)
    assert p[0, 0] <= 0.02  # a shift of hardly anything is among the null


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A trained study in which `discover` has given the left half of S0 phenotype 1."""
    study = trained_study(tmp_path_factory.mktemp("spots") / "study")
    grid, _ = read_tiles(study.folder / "tiles" / "128px_0.5mpp" / "S0.h5")
    half = (grid.xy_l0[:, 0] >= 6 * TILE).astype(np.int64)
    found = Assignments(slide_id="S0", xy_l0=grid.xy_l0, tile_l0=grid.tile_l0, phenotype=1 - half)
    write_assignments(study.run_folder / "features" / "assignments" / "S0.h5", found)
    assert (
        read_assignments(study.run_folder / "features" / "assignments" / "S0.h5").phenotype.sum()
        == 72
    )
    return study


def spots_file(path, *, shift=0.0):
    anndata = pytest.importorskip("anndata")
    rng = np.random.default_rng(0)
    xy = rng.uniform(0, 12 * TILE, (300, 2))
    left = xy[:, 0] < 6 * TILE
    others = rng.poisson(5, (40, 300))  # so that one gene is a small part of a spot's counts
    counts = np.stack(
        [rng.poisson(np.where(left, 9, 2)), rng.poisson(0.01, 300), *others], axis=1
    ).astype(np.float32)
    data = anndata.AnnData(X=counts)
    data.var_names = ["PLANTED", "RARE", "NOISE", *(f"OTHER{i}" for i in range(39))]
    data.obsm["spatial"] = xy + shift
    data.write_h5ad(path)
    return path


def discover(study, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(["discover", str(study.folder), *map(str, arguments)])
    return ended.value.code


def test_genes_of_spots_are_joined_to_phenotypes_and_written(study, tmp_path, capsys):
    assert discover(study, "--spots", spots_file(tmp_path / "spots.h5ad"), "--slide", "S0") == 0
    assert "41 genes of 300 spots on slide S0" in capsys.readouterr().out
    with (study.run_folder / "features" / "spots" / "S0.csv").open(encoding="utf-8") as file:
        rows = {(r["gene"], r["feature"]): r for r in csv.DictReader(file)}
    genes = {gene for gene, _ in rows}
    assert (len(genes), "RARE" in genes) == (41, False), (
        "a gene in hardly any spot is not looked at"
    )
    assert {feature for _, feature in rows} == {"phenotype 0", "phenotype 1", "contribution"}
    planted = rows["PLANTED", "phenotype 1"]
    assert float(planted["rho"]) > 0.5
    assert planted == max(rows.values(), key=lambda r: float(r["rho"]))
    assert float(planted["rho"]) == pytest.approx(-float(rows["PLANTED", "phenotype 0"]["rho"]))
    assert abs(float(rows["NOISE", "phenotype 1"]["rho"])) < 0.2


def test_spots_that_are_not_of_this_slide_are_refused_with_their_place(study, tmp_path, capsys):
    assert (
        discover(
            study, "--spots", spots_file(tmp_path / "far.h5ad", shift=50_000.0), "--slide", "S0"
        )
        == 2
    )
    assert "0 of 300 spots lie on tiles of slide S0" in capsys.readouterr().err
    assert discover(study, "--spots", spots_file(tmp_path / "s.h5ad")) == 2
    assert "--slide" in capsys.readouterr().err
    assert discover(study, "--spots", spots_file(tmp_path / "s.h5ad"), "--slide", "S99") == 2
    assert "S99 has neither a map nor phenotypes" in capsys.readouterr().err
    (tmp_path / "no.h5ad").write_bytes(b"nothing")
    assert discover(study, "--spots", tmp_path / "no.h5ad", "--slide", "S0") == 2
