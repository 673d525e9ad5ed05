"""Where a run's tiles and embeddings lie, as the run itself says: the viewer loads no encoder, and
with it no torch, to find a file.
"""

from __future__ import annotations

from pathlib import Path

from pathoml.config import Study
from pathoml.errors import StoreError
from pathoml.store.files import read_json
from pathoml.store.hdf5 import stored_attr
from pathoml.study.layout import grid_name


def run_tiles_folder(study: Study) -> Path | None:
    """Return tiles/GRID of the run's models; before training the grid of study.yaml, else the
    newest; None if nothing was tiled.
    """
    tiles, index = study.folder / "tiles", study.run_folder / "models" / "models.json"
    stated = read_json(index) if index.is_file() else {}
    tile_px, mpp = (
        stated.get("tile_px", study.config.tiles.tile_px),
        stated.get("mpp", study.config.tiles.mpp),
    )
    if tile_px and mpp and (tiles / grid_name(int(tile_px), float(mpp))).is_dir():
        return tiles / grid_name(int(tile_px), float(mpp))
    context = study.config.tiles.context_mpp
    around = (
        grid_name(0, context).removeprefix("0px") if context else "none"
    )  # the coarser of two magnifications is not what is mapped
    grids = [p for p in tiles.glob("*px_*mpp") if p.is_dir() and not p.name.endswith(around)]
    return max(grids, key=lambda p: p.stat().st_mtime) if grids else None


def run_embeddings(study: Study, slide_id: str) -> Path | None:
    """Return the file of a slide's embeddings that the run was trained on, known by its content;
    None if the slide had none then.

    Raises:
        StoreError: the run was trained on other embeddings than those that are there now.
    """
    provenance = study.run_folder / "provenance.json"
    steps = read_json(provenance).get("steps", {}) if provenance.is_file() else {}
    trained_on = steps.get("train", {}).get("inputs", {}).get("embeddings", {}).get(slide_id, "")
    if not trained_on:
        return None
    for path in (
        folder / f"{slide_id}.h5"
        for folder in (study.folder / "embeddings").glob("*")
        if folder.is_dir()
    ):
        if stored_attr(path, "content_sha256") == trained_on:
            return path
    raise StoreError(
        f"The embeddings of slide {slide_id} changed since the run was trained. Run `pathoml run`."
    )
