"""AnnData: a slide's tiles as observations, as squidpy and wsidata read them: obs scores,
obsm["spatial"], uns["spatial"], tile boxes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pathoml.config import Study
from pathoml.errors import ConfigError, StoreError
from pathoml.explanation.marks import NOT_CHECKED, map_marks
from pathoml.store.embeddings import read_embeddings
from pathoml.store.files import proved_path
from pathoml.store.foreign import is_whole_hdf5
from pathoml.store.maps import read_assignments, read_attention
from pathoml.study.current_run import current_run
from pathoml.study.layout import embeddings_folder
from pathoml.study.no_map import why_without_maps
from pathoml.types import Assignments, AttentionMap, Exchange


def export_to(study: Study, target: Path) -> Exchange:
    """Write SLIDE.h5ad for every slide that has a map: features in X, scores in obs, centres of
    tiles in obsm["spatial"].

    Raises:
        ConfigError: anndata is not installed.
        StoreError: there are no maps yet.
    """
    run = current_run(study)
    maps = run.maps()
    if not maps:
        raise StoreError(run.outdated.get("explain") or why_without_maps(study))
    files, failures, marks = [], {}, map_marks(study.run_folder)
    for path in maps:
        tile_map = read_attention(path)
        try:
            features = np.asarray(
                read_embeddings(embeddings_folder(study) / path.name).features, dtype=np.float32
            )
        except StoreError as error:
            failures[tile_map.slide_id] = str(error)
            continue
        found = run.assignments_of(path.stem)
        assigned = read_assignments(found) if found.exists() else None
        written = target / f"{tile_map.slide_id}.h5ad"
        with proved_path(written, is_whole_hdf5) as temporary:
            as_anndata(
                tile_map, features, assigned, mark=marks.get(tile_map.slide_id, NOT_CHECKED)
            ).write_h5ad(temporary)
        files.append(written)
    note = (
        'obsm["spatial"] holds centres of tiles in level-0 pixels, uncropped; obs x1 y1 x2 y2 their'
        " boxes."
    )
    return Exchange(files=tuple(files), failures=failures, notes=(note,))


def as_anndata(
    tile_map: AttentionMap, features: Any, assigned: Assignments | None = None, *, mark: str = ""
) -> Any:
    """Return the AnnData of one slide.

    Args:
        features: (N, D).
        assigned: what `discover` made of the tiles, if it did; membership goes to
            obsm["membership"].
        mark: what has to stand on the map; in uns["pathoml"].
    """
    try:
        import anndata
        import pandas as pd
    except ImportError:
        raise ConfigError(
            "Exporting h5ad needs anndata. Install it with `pip install pathoml[exports]`."
        ) from None
    xy, side = np.asarray(tile_map.xy_l0, dtype=np.int64), tile_map.tile_l0
    columns: dict[str, Any] = {
        "contribution": np.asarray(tile_map.contribution, dtype=np.float32),
        "attention": np.asarray(tile_map.attention, dtype=np.float32),
        "x1": xy[:, 0],
        "y1": xy[:, 1],
        "x2": xy[:, 0] + side,
        "y2": xy[:, 1] + side,
    }
    if tile_map.spread is not None:
        columns["contribution_spread"] = np.asarray(tile_map.spread, dtype=np.float32)
    if assigned is not None:
        columns["phenotype"] = pd.Categorical([str(p) for p in assigned.phenotype])
    obs = pd.DataFrame(columns, index=[f"{tile_map.slide_id}_{x}_{y}" for x, y in xy])
    scale = {
        "spot_diameter_fullres": float(side),
        "tissue_hires_scalef": 1.0,
        "microns_per_pixel": tile_map.level0_mpp,
    }
    uns = {
        "spatial": {
            tile_map.slide_id: {
                "images": {},
                "scalefactors": scale,
                "metadata": {"slide_id": tile_map.slide_id},
            }
        },
        "pathoml": {
            "log_risk": tile_map.log_risk,
            "patient_id": tile_map.patient_id,
            "method": tile_map.method,
            "tile_l0": side,
            "mark": mark,
        },
    }
    placed: dict[str, Any] = {"spatial": xy + side / 2}
    if assigned is not None and assigned.membership is not None:
        placed["membership"] = np.asarray(assigned.membership, dtype=np.float32)
    return anndata.AnnData(X=features, obs=obs, obsm=placed, uns=uns)
