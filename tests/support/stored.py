"""An artefact as the store writes it, small."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pathoml.store.embeddings import write_embeddings
from pathoml.types import Recipe, TileGrid

RECIPE = Recipe(step="tile", inputs={"mpp": 0.5})


def embed(path: Path, grid: TileGrid, features: np.ndarray) -> Path:
    write_embeddings(
        path, grid, features, encoder="uni", encoder_sha256="cd", precision="float32", recipe=RECIPE
    )
    return path
