"""Plain tensors: SLIDE.pt with (N, D) features, SLIDE.csv with x, y in level-0 pixels, and
tiles.json with the scale.

A SLIDE.pt may also be a dictionary with "features" and "coords". tiles.json says {"encoder": NAME,
"tile_px": 224, "tile_um": 112.0}: without it the tiles have no size, and they are refused.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pathoml.config import Study
from pathoml.errors import CohortError, ConfigError, StoreError
from pathoml.interop._features import ForeignFeatures, KnownSlide, import_features, study_embeddings
from pathoml.interop._tensors import as_array, read_tensors
from pathoml.store.files import atomic_path, read_json, write_bytes, write_json
from pathoml.store.tables import parse_number, read_table, write_table
from pathoml.types import Exchange

SCALE = "tiles.json"


def import_into(study: Study, source: Path) -> Exchange:
    """Import the SLIDE.pt files of a folder.

    Raises:
        ConfigError: tiles.json is missing or does not say encoder, tile_px and tile_um.
    """
    scale = read_json(source / SCALE) if (source / SCALE).exists() else {}
    if not {"encoder", "tile_px", "tile_um"} <= scale.keys():
        raise ConfigError(
            f'{source / SCALE} must say the scale, for example {{"encoder": "uni", "tile_px": 224, '
            f'"tile_um": 112.0}}: .pt files do not.'
        )

    def convert(path: Path, slide: KnownSlide) -> ForeignFeatures:
        features, coords = _read(path)
        return ForeignFeatures(
            xy_l0=coords,
            tile_l0=round(float(scale["tile_um"]) / slide.level0_mpp),
            tile_px=int(scale["tile_px"]),
            features=features,
            encoder=str(scale["encoder"]),
        )

    return import_features(
        study, "pt", ((path.stem, path) for path in sorted(source.glob("*.pt"))), convert=convert
    )


def export_to(study: Study, target: Path) -> Exchange:
    """Write the study's embeddings as SLIDE.pt, SLIDE.csv and tiles.json."""
    written: list[Path] = []
    scale: dict[str, Any] = {}
    for slide in study_embeddings(study):
        scale = {
            "encoder": slide.encoder,
            "tile_px": slide.grid.tile_px,
            "tile_um": slide.grid.tile_um,
        }
        made = io.BytesIO()
        torch.save(torch.from_numpy(slide.features), made)
        write_bytes(target / f"{slide.slide_id}.pt", made.getvalue())
        with atomic_path(target / f"{slide.slide_id}.csv") as temporary:
            write_table(temporary, ("x", "y"), slide.grid.xy_l0.tolist())
        written += [target / f"{slide.slide_id}.pt", target / f"{slide.slide_id}.csv"]
    write_json(target / SCALE, scale)
    return Exchange(files=(*written, target / SCALE))


def _read(path: Path) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    content = read_tensors(path, "a tensor, or features and coords")
    if isinstance(content, torch.Tensor):
        return as_array(content, path), _coords(path.with_suffix(".csv"))
    if isinstance(content, dict) and all(
        isinstance(content.get(k), torch.Tensor) for k in ("features", "coords")
    ):
        return as_array(content["features"], path), as_array(content["coords"], path)
    raise StoreError(
        f"{path} holds neither a tensor nor a dictionary with the tensors 'features' and 'coords'."
    )


def _coords(path: Path) -> npt.NDArray[np.int64]:
    if not path.exists():
        raise StoreError(
            f"{path} is missing: one line per tile with x, y of its top left corner in level-0"
            " pixels."
        )
    try:
        table = read_table(path)
        table.require(("x", "y"))
    except CohortError as error:
        raise StoreError(str(error)) from error
    values = [[parse_number(row[c]) for c in ("x", "y")] for row in table.rows]
    if any(v is None for row in values for v in row):
        raise StoreError(f"{path}: every line needs a number for x and y.")
    return np.round(np.array(values, np.float64)).astype(np.int64)
