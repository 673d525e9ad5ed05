"""An artefact as the store writes it, small."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pathoml.store.embeddings import write_embeddings
from pathoml.types import Recipe, TileGrid

RECIPE = Recipe(step="tile", inputs={"mpp": 0.5})


def file_behind(array: np.ndarray) -> str:
    """Return the path of the file that the system maps where an array lies, "" where there is none,
    as /proc/self/maps says (proc(5)).
    """
    address = array.__array_interface__["data"][0]
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        start, _, stop = line.split()[0].partition("-")
        if int(start, 16) <= address < int(stop, 16):
            return line.split(maxsplit=5)[5] if len(line.split()) > 5 else ""
    return ""


def embed(path: Path, grid: TileGrid, features: np.ndarray) -> Path:
    write_embeddings(
        path, grid, features, encoder="uni", encoder_sha256="cd", precision="float32", recipe=RECIPE
    )
    return path
