"""Spots of spatial transcriptomics on a slide: which genes go with which phenotype, or with the
model's contributions.

Spots and tiles are joined by coordinates. Both vary smoothly over a slide, so that neighbouring
spots are no independent evidence: the p value is that of toroidal shifts of the spots, which keep
both patterns and break their alignment (Lotwick & Silverman, J R Stat Soc B 44 (1982) 406-413),
with the false discovery rate over all pairs of gene and feature.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree
from scipy.stats import rankdata

from pathoml.config import Study
from pathoml.discovery.recipe import spots_outputs, spots_recipe
from pathoml.errors import CohortError, ConfigError, StoreError
from pathoml.store.files import atomic_path
from pathoml.store.foreign import refuse_deadly_hdf5
from pathoml.store.inflated import refuse_inflated
from pathoml.store.maps import read_assignments, read_attention
from pathoml.store.publishing import publishing
from pathoml.store.tables import write_table
from pathoml.study.run_folder import RunFolder
from pathoml.survival.multiplicity import benjamini_hochberg
from pathoml.types import Array

PERMUTATIONS = 499
EXPRESSED = 0.10  # least share of spots in which a gene is counted
FEWEST_SPOTS = 30
COUNTS_A_SPOT = 1e4  # counts are scaled to, before log(1 + x)


@dataclass(frozen=True, kw_only=True)
class Association:
    """One gene and one feature on one slide."""

    gene: str
    feature: str  # "phenotype 3", or "contribution"
    rho: float  # Spearman's
    p_value: float
    q_value: float


@dataclass(frozen=True, kw_only=True)
class SpotResults:
    """What features/spots/SLIDE.csv holds, strongest first."""

    slide_id: str
    spots: int  # that lie on a tile
    of_spots: int
    genes: int  # expressed enough to be looked at
    associations: tuple[Association, ...]


def weigh_spots(study: Study, slide_id: str, path: Path) -> SpotResults:
    """Join the spots of an AnnData file to a slide's tiles and write features/spots/SLIDE.csv.

    Args:
        path: .h5ad with genes in X and centres of spots in obsm["spatial"], in level-0 pixels of
            the slide.

    Raises:
        ConfigError: anndata is not installed, or the file lacks coordinates.
        StoreError: the slide has neither map nor phenotypes yet.
        CohortError: the spots do not lie on the slide's tiles.
    """
    expression, names, spots_xy = read_spots(path)
    tiles_xy, tile_l0, features = _slide_features(study, slide_id)
    tile_of = nearest_tile(spots_xy, tiles_xy, tile_l0)
    on_tile = tile_of >= 0
    if on_tile.sum() < FEWEST_SPOTS:
        found = (
            f"{np.rint(spots_xy.min(axis=0)).astype(int).tolist()} to"
            f" {np.rint(spots_xy.max(axis=0)).astype(int).tolist()}"
        )
        raise CohortError(
            f"{path.name}: {int(on_tile.sum())} of {len(spots_xy)} spots lie on tiles of slide "
            f"{slide_id}; {FEWEST_SPOTS} are needed. obsm['spatial'] must hold level-0 pixels of "
            f"this slide (it holds {found})."
        )
    expressed = (expression[on_tile] > 0).mean(axis=0) >= EXPRESSED
    if not expressed.any():
        raise CohortError(
            f"{path.name}: no gene is counted in {EXPRESSED:.0%} of the spots on tiles."
        )
    of_tiles, centres = (
        np.stack(list(features.values()), axis=1),
        np.asarray(tiles_xy + tile_l0 / 2, np.float64),
    )
    rho, p_values = associate(
        expression[on_tile][:, expressed], spots_xy[on_tile], of_tiles, centres=centres
    )
    q_values = benjamini_hochberg(p_values.ravel()).reshape(p_values.shape)
    genes = [name for name, kept in zip(names, expressed) if kept]
    rows = [
        Association(
            gene=gene,
            feature=feature,
            rho=float(rho[g, f]),
            p_value=float(p_values[g, f]),
            q_value=float(q_values[g, f]),
        )
        for g, gene in enumerate(genes)
        for f, feature in enumerate(features)
    ]
    rows.sort(key=lambda a: (a.p_value, -abs(a.rho)))
    recipe, outputs = spots_recipe(study, slide_id, path), spots_outputs(slide_id)
    with publishing(study.run_folder, recipe, outputs) as out:
        target = RunFolder(out.folder).spots_of(slide_id)
        with atomic_path(target) as temporary:
            write_table(
                temporary,
                ("gene", "feature", "rho", "p_value", "q_value"),
                [list(vars(row).values()) for row in rows],
            )
    return SpotResults(
        slide_id=slide_id,
        spots=int(on_tile.sum()),
        of_spots=len(spots_xy),
        genes=len(genes),
        associations=tuple(rows),
    )


def read_spots(path: Path) -> tuple[Array, list[str], Array]:
    """Return (S, G) log expression, the genes' names and (S, 2) centres of the spots."""
    try:
        import anndata
    except ImportError:
        raise ConfigError(
            "Reading spots needs anndata. Install it with `pip install pathoml[exports]`."
        ) from None
    if not path.exists():
        raise ConfigError(f"{path} does not exist. Give the .h5ad file of the slide's spots.")
    refuse_deadly_hdf5(path)
    refuse_inflated(path)
    try:
        data = anndata.read_h5ad(path)
    except Exception as error:  # anndata raises errors of its own kinds for what is damaged
        raise ConfigError(
            f"{path.name} cannot be read as AnnData ({str(error)[:120]}). Give an .h5ad file."
        ) from error
    if "spatial" not in data.obsm or np.asarray(data.obsm["spatial"]).ndim != 2:
        raise ConfigError(
            f"{path.name} has no obsm['spatial'] with the centres of its spots, in level-0 pixels"
            " of the slide."
        )
    values = data.X.toarray() if hasattr(data.X, "toarray") else np.asarray(data.X)
    values = np.asarray(values, np.float64)
    if (values >= 0).all() and (values == np.rint(values)).all():  # counts
        values = np.log1p(values / np.maximum(values.sum(axis=1, keepdims=True), 1) * COUNTS_A_SPOT)
    return (
        values,
        [str(name) for name in data.var_names],
        np.asarray(data.obsm["spatial"], np.float64)[:, :2],
    )


def nearest_tile(
    spots_xy: Array, tiles_xy: npt.NDArray[np.int64], tile_l0: int
) -> npt.NDArray[np.int64]:
    """Return (S,) the tile in which each spot's centre lies, -1 where it lies in none.

    >>> spots = np.array([[5.0, 5.0], [19.0, 1.0], [40.0, 40.0]])
    >>> nearest_tile(spots, np.array([[0, 0], [10, 0]]), 10).tolist()
    [0, 1, -1]
    """
    _, tile = cKDTree(tiles_xy + tile_l0 / 2).query(spots_xy, p=np.inf)
    away = spots_xy - tiles_xy[tile]
    return np.where(((away >= 0) & (away < tile_l0)).all(axis=1), tile, -1).astype(np.int64)


def associate(
    expression: Array,
    spots_xy: Array,
    features: Array,
    *,
    centres: Array,
    permutations: int = PERMUTATIONS,
    seed: int = 1,
) -> tuple[Array, Array]:
    """Return Spearman's rho (G, F) and its two-sided p under toroidal shifts.

    Args:
        expression: (S, G).
        features: (N, F) of the tiles; a spot takes those of its nearest tile.
        centres: (N, 2) of the tiles.
    """
    rng, tree = np.random.default_rng(seed), cKDTree(centres)
    low, size = spots_xy.min(axis=0), np.maximum(np.ptp(spots_xy, axis=0), 1e-9)
    genes = _standard_ranks(expression)

    def rho(places: Array) -> Array:
        return np.asarray(
            genes.T @ _standard_ranks(features[tree.query(places, p=np.inf)[1]]) / len(places)
        )

    observed = rho(spots_xy)
    extreme = np.zeros(observed.shape)
    for _ in range(permutations):
        moved = (spots_xy - low + rng.random(2) * size) % size + low
        extreme += np.abs(rho(moved)) >= np.abs(observed) - 1e-12
    return observed, (1 + extreme) / (permutations + 1)


def _standard_ranks(values: Array) -> Array:
    """Return ranks with mean 0 and variance 1, column by column; a constant column becomes 0."""
    ranks = rankdata(values, axis=0)
    ranks = ranks - ranks.mean(axis=0)
    return np.asarray(ranks / np.maximum(ranks.std(axis=0), 1e-12))


def _slide_features(
    study: Study, slide_id: str
) -> tuple[npt.NDArray[np.int64], int, dict[str, Array]]:
    """Return the corners of a slide's tiles, their side, and what is known of each: membership in
    phenotypes, contribution.
    """
    features: dict[str, Array] = {}
    assigned = RunFolder(study.run_folder).assignments_of(slide_id)
    mapped = RunFolder(study.run_folder).map_of(slide_id)
    xy, tile_l0 = None, 0
    if assigned.exists():
        found = read_assignments(assigned)
        xy, tile_l0 = np.asarray(found.xy_l0), found.tile_l0
        features |= {
            f"phenotype {k}": (found.phenotype == k).astype(np.float64)
            for k in np.unique(found.phenotype).tolist()
        }
    if mapped.exists():
        tile_map = read_attention(mapped)
        if xy is None or np.array_equal(xy, tile_map.xy_l0):
            xy, tile_l0 = np.asarray(tile_map.xy_l0), tile_map.tile_l0
            features["contribution"] = tile_map.contribution.astype(np.float64)
    if xy is None:
        raise StoreError(
            f"Slide {slide_id} has neither a map nor phenotypes in {study.run_folder}. Run `pathoml"
            " run` first."
        )
    return xy.astype(np.int64), tile_l0, features
