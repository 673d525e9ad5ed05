"""What decides the tiles of a slide and the features of its tiles: each file of tiles and of
embeddings holds the hash of such a recipe, and what it was made of.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pathoml.config import StainConfig, TilesConfig
from pathoml.store.files import sha256_of_file
from pathoml.study.layout import AS_SCANNED
from pathoml.types import Recipe

TILING_VERSION = 7  # raise it when tiles of the same slide and configuration come out otherwise
EMBEDDING_VERSION = 2  # raise it when the same tiles and weights come out otherwise
STAIN_VERSION = 1  # and this one when the same stain does
PRECISIONS = {"fp32": "float32", "bf16": "bfloat16"}  # as files of embeddings have it
# what all slides of a study have in common in their tiles; the rest is of each slide
SHARED = ("tile_px", "mpp", "min_tissue", "upsample", "icc", "version")

STATED = ("glass", "density", "stain")  # of a slide, in slides.csv or for all in study.yaml


def stated_settings(tiles: TilesConfig, cells: Mapping[str, str]) -> dict[str, object]:
    """Return what people say of a slide's glass, tissue and stain, where they do.

    Args:
        cells: of the slide's row of slides.csv.
    """
    found = {name: cells.get(name) or getattr(tiles, name, None) for name in STATED}
    return {name: value for name, value in found.items() if value}


def tiling_recipe(
    tiles: TilesConfig,
    *,
    slide_sha256: str,
    row_mpp: float | None,
    study_mpp: float | None,
    tile_px: int,
    mpp: float,
    regions: Path | None,
    stated: Mapping[str, object] = MappingProxyType({}),
) -> Recipe:
    """Return everything that decides the tiles of a slide.

    Args:
        stated: what people say of its glass, tissue and stain, where they do.
    """
    inputs = {
        "slide": slide_sha256,
        "row_mpp": row_mpp,
        "study_mpp": study_mpp,
        "tile_px": tile_px,
        "mpp": mpp,
    }
    drawn = {"regions": sha256_of_file(regions)} if regions else {}
    colours = {"icc": True} if tiles.icc else {}  # as it was before there was a choice
    settings = tiles.model_dump(include={"min_tissue", "upsample"})
    return Recipe(
        step="tile",
        inputs={**inputs, **settings, **drawn, **colours, **stated, "version": TILING_VERSION},
    )


def embedding_recipe(
    exclude: Sequence[str],
    *,
    icc: bool,
    stain: StainConfig,
    encoder: str,
    weights: str,
    tiles_sha256: str,
) -> Recipe:
    """Return everything that decides the features of a slide.

    Args:
        exclude: flags of tiles that are left out.
        icc: colours are those of the slide's profile.
        weights: SHA-256 of the encoder's weights.
        tiles_sha256: of the content of the slide's tiles.
    """
    inputs = {
        "encoder": encoder,
        "weights": weights,
        "tiles": tiles_sha256,
        "exclude": sorted(exclude),
    }
    colours: dict[str, object] = {"icc": True} if icc else {}  # as it was before there was a choice
    if stain != AS_SCANNED:
        colours["stain"] = {**stain.model_dump(), "version": STAIN_VERSION}
    return Recipe(step="embed", inputs={**inputs, **colours, "version": EMBEDDING_VERSION})


def is_in_precision(wanted: str, stored: str) -> bool:
    """Return whether features are in the precision that study.yaml names, where it names one: a
    study that moves to another machine is not embedded again for it (decision 0002).

    >>> is_in_precision("auto", "bfloat16"), is_in_precision("fp32", "bfloat16")
    (True, False)
    >>> is_in_precision("bf16", "bfloat16, compiled")
    True
    """
    return wanted == "auto" or PRECISIONS[wanted] == stored.partition(",")[0]


def stored_recipe(text: str) -> dict[str, Any]:
    """Return the inputs of a recipe as a file holds them, {} where it holds none."""
    try:
        content = json.loads(text)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def shared_settings(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return what all slides of a study have in common of the recipe of one slide's tiles.

    >>> shared_settings({"slide": "a1", "tile_px": 224, "mpp": 0.5, "version": 7})
    {'tile_px': 224, 'mpp': 0.5, 'icc': False, 'version': 7}
    """
    whole = {"icc": False, **inputs}
    return {key: whole[key] for key in SHARED if key in whole} if inputs else {}
